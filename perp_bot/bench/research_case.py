"""The one strategy that ours and the peers are measured on, as a compiled kernel for ours and as signals for them.

Long when z(20) < -2, RSI(14) < 30 and ADX(14) < 25, out when z >= 0, a stop 3 % below, 24 hours at most; fee 4.5 and
slippage 2 basis points, folded to a fee of 6.5 because most peers know only that. It is ours in everything else: the
stop is 3 % of the deciding ask below the fill, on the tick above, and nothing is entered in the first 511 bars.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.account_layout import EXIT_LONG
from perp_bot.backtest.grid import Grid
from perp_bot.backtest.kernel_mean_reversion import MeanReversionKernel
from perp_bot.backtest.market import Candles
from perp_bot.backtest.results import Trades
from perp_bot.backtest.strategy_kernel import Column, Limits, Matrix
from perp_bot.bench import reference, research_data
from perp_bot.config.model import Config
from perp_bot.indicators import batch
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import decision_window

FEE = 0.00065
CAPITAL_USD = 1_000_000.0
STOP_SHARE = 0.03
_SHORT = 1  # of the sides of limits

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def peer_config() -> Config:
    """Return the settings under which ours knows no more than the peers: fixed costs, one coin, no gate closes."""
    plain = Config()
    return replace(
        plain,
        trading=replace(
            plain.trading, symbols=("BTC",), leverage=2, capital_usd=CAPITAL_USD, margin_usage_limit=0.5
        ),
        # No short, no stop by z, and a band that follows from z.
        signals=replace(plain.signals, rsi_overbought=100.0, zscore_stop_threshold=1e6, bollinger_std=1.0),
        risk=replace(
            plain.risk, max_loss_per_trade_pct=STOP_SHARE, daily_loss_limit_pct=1.0, session_drawdown_pct=1.0,
            max_drawdown_pct=1.0, cooldown_seconds=0, losing_weeks=1_000_000,
        ),
        execution=replace(plain.execution, order_type="taker"),
        data=replace(plain.data, primary_timeframe="1m", timeframes=("1m",)),
        backtest=replace(plain.backtest, taker_fee_rate=FEE, slippage_min_pct=0.0, slippage_max_pct=0.0),
    )  # fmt: skip


class ReversionKernel(MeanReversionKernel):
    """Mean reversion that leaves at the mean and goes long only."""

    def exits(self, grid: Grid, columns: dict[str, Matrix], thresholds: Column) -> NDArray[np.uint8]:
        """Return the bits of `z >= 0`."""
        return (columns["zscore"] >= 0.0).view(np.uint8) * np.uint8(EXIT_LONG)

    def limits(self, config: Config, values: Mapping[str, Column]) -> Limits:
        """Return the limits of longs; nothing is below those of shorts."""
        out = super().limits(config, values)
        out[:, _SHORT] = -np.inf
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What the strategy says at each close."""

    enter: Flags
    leave: Flags


def signals(candles: Candles) -> Signals:
    """Return the strategy's signals from ours indicators, none before warm-up."""
    z = batch.zscore(candles.close, 20)
    rsi = batch.rsi(candles.close, 14)
    adx = batch.adx(candles.high, candles.low, candles.close, 14)
    with np.errstate(invalid="ignore"):
        enter = (z < -2.0) & (rsi < 30.0) & (adx < 25.0)
        leave = z >= 0.0
    enter[: decision_window(IndicatorParams()) - 1] = False
    return Signals(enter, leave)


def stop_below(fill_px: Floats, close: Floats) -> Floats:
    """Return the stops of fills at whole USD: 3 % of the ask at the deciding close lower, rounded up to a whole USD.

    In hundredths of a USD 3 % is a whole number, so nothing is lost to rounding.
    """
    return np.asarray(fill_px - np.floor(ask(close) * 3.0 / 100.0 + 1e-9))


def bought_coins(close: Floats) -> Floats:
    """Return the size of an entry decided at each close: the capital at the ask, truncated to the lot."""
    return np.asarray(
        np.floor(CAPITAL_USD / ask(close) * 10.0**research_data.SZ_DECIMALS) / 10.0**research_data.SZ_DECIMALS
    )


def ask(close: Floats) -> Floats:
    """Return the ask that an order is sized at: one tick above the close, which is the bid."""
    return close + 1.0


def write_task(folder: Path, candles: Candles, given: Signals) -> None:
    """Write what a peer's worker reads: columns as .npy files, numbers as settings.json."""
    next_open = np.append(candles.open[1:], candles.close[-1])
    columns = {
        **{name: getattr(candles, name) for name in ("open_ms", "open", "high", "low", "close", "volume")},
        "enter": given.enter,
        "leave": given.leave,
        "stop_px": stop_below(next_open, candles.close),
        "stop_px_at_close": stop_below(candles.close, candles.close),
    }
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)
    (folder / "settings.json").write_text(json.dumps({"fee": FEE}), encoding="utf-8")


def rows_of(trades: Trades, first_ms: int, step_ms: int) -> list[reference.Trade]:
    """Return our trades as the reference gives its own: bars instead of times, the PnL of one coin."""
    rows = zip(
        ((trades.opened_ms - first_ms) // step_ms).tolist(),
        ((trades.closed_ms - first_ms) // step_ms).tolist(),
        trades.entry_px.tolist(),
        trades.exit_px.tolist(),
        (trades.net_usd / trades.size).tolist(),
        strict=True,
    )
    return [reference.Trade(*row) for row in rows]
