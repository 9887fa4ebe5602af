"""Indicator periods as the config names them."""

from __future__ import annotations

from perp_bot.config.model import Config, MacdConfig, SignalsConfig
from perp_bot.indicators.row import IndicatorParams


def params_of(config: Config) -> IndicatorParams:
    """Return the indicator set's periods of a config, for every strategy alike."""
    return params_from(config.signals, config.macd)


def params_from(signals: SignalsConfig, macd: MacdConfig | None = None) -> IndicatorParams:
    """Return the indicator set's periods; what has no key, or no section given, keeps its default."""
    macd = macd or MacdConfig()
    return IndicatorParams(
        zscore_lookback=signals.zscore_lookback,
        bollinger_period=signals.bollinger_period,
        bollinger_std=signals.bollinger_std,
        rsi_period=signals.rsi_period,
        adx_period=signals.adx_period,
        macd_fast=macd.fast,
        macd_slow=macd.slow,
        macd_signal=macd.signal,
        volume_period=macd.volume_bars,
    )
