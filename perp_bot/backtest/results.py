"""What a backtest gives: trades and equity as columns, and everything that qualifies them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Times = NDArray[np.int64]


class SimulatedTrade(NamedTuple):
    """One simulated round trip, from flat to flat. Money in USD; fees and slippage positive = cost, funding positive =
    received; net = gross - fees + funding, slippage is inside gross."""

    symbol: str
    side: str  # "long" or "short"
    decided_ms: int  # close of the deciding candle
    opened_ms: int
    closed_ms: int
    size: float  # coins
    entry_px: float
    exit_px: float
    stop_px: float  # at the opening
    exit_reason: str
    entry_is_maker: bool
    gross_usd: float
    fees_usd: float
    funding_usd: float
    slippage_usd: float  # what the fills lost against the prices they were due at
    net_usd: float
    mae_usd: float  # worst open PnL on the way, at candle extremes, at most 0
    mfe_usd: float  # best open PnL on the way, at least 0
    missing_funding_hours: int
    last_stop_px: float = math.nan  # at the closing: where a strategy moved it to, else `stop_px`; NaN: not known


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Simulated round trips as columns of equal length, in the order of their closing."""

    symbols: tuple[str, ...]  # what `symbol` counts in
    reasons: tuple[str, ...]  # what `exit_reason` counts in
    symbol: NDArray[np.int32]
    side: NDArray[np.int8]  # +1 long, -1 short
    decided_ms: Times
    opened_ms: Times
    closed_ms: Times
    size: Column
    entry_px: Column
    exit_px: Column
    stop_px: Column
    exit_reason: NDArray[np.int8]
    entry_is_maker: NDArray[np.bool_]
    gross_usd: Column
    fees_usd: Column
    funding_usd: Column
    slippage_usd: Column
    net_usd: Column
    mae_usd: Column
    mfe_usd: Column
    missing_funding_hours: NDArray[np.int32]
    last_stop_px: Column

    def __len__(self) -> int:
        return len(self.symbol)

    def rows(self) -> Iterator[SimulatedTrade]:
        """Yield the trades one by one, as plain Python values."""
        names = list(SimulatedTrade._fields[2:])
        columns: list[list[Any]] = [getattr(self, name).tolist() for name in names]
        reason_place = names.index("exit_reason")
        for symbol, side, *values in zip(self.symbol.tolist(), self.side.tolist(), *columns, strict=True):
            values[reason_place] = self.reasons[values[reason_place]]
            yield SimulatedTrade(self.symbols[symbol], "long" if side > 0 else "short", *values)


@dataclass(frozen=True, slots=True, eq=False)
class BacktestResult:
    """One simulated account over one span.

    `close_ms` and the columns beside it have one value a boundary (a close of the primary timeframe), from the first
    decided one to the last: equity includes open PnL at the close, fees and funding.
    """

    strategy: str
    symbols: tuple[str, ...]
    timeframe: str
    start_equity_usd: float
    rows: int  # primary candles simulated, all symbols together
    trades: Trades
    close_ms: Times
    equity_usd: Column
    held_usd: Column  # notional of open positions at the close, USD, at least 0
    blocked: dict[str, int] = field(default_factory=dict)  # entries that a rule of the gate forbade, by rule
    open_positions: int = 0  # at the end: in the equity, not in `trades`
    missing_funding_hours: int = 0  # hours held without a known rate; above 0 every figure with funding is incomplete
    resumes: int = 0  # how often the simulated operator lifted a pause or halt
    trials: int = 1  # how many parameter sets were tried to arrive at this one
    notes: tuple[str, ...] = ()  # what qualifies the figures: data missing or generated, policies, one sentence each
    is_partial: bool = False  # interrupted: what came before is right, the rest is not there
    data_hash: str = ""
