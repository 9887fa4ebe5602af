"""Indicator periods as the config names them."""

from __future__ import annotations

from perp_bot.config.model import SignalsConfig
from perp_bot.indicators.row import IndicatorParams


def params_from(signals: SignalsConfig) -> IndicatorParams:
    """Return the indicator set's periods for the thresholds in `signals`; what has no key keeps its default."""
    return IndicatorParams(
        zscore_lookback=signals.zscore_lookback,
        bollinger_period=signals.bollinger_period,
        bollinger_std=signals.bollinger_std,
        rsi_period=signals.rsi_period,
        adx_period=signals.adx_period,
    )
