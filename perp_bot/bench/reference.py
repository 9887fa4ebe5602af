"""The reference of the agreement between engines: one symbol, one coin, long only, in plain Python, nothing clever.

Entry and exit signals belong to the close of a bar, and are never both true. A gap through the stop fills at the open,
a stop inside the bar at its price. A position that is open at the end is not a trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.errors import PerpBotError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

PX_TOLERANCE = 1e-7  # USD: of libraries that compute a stop from a share
PNL_TOLERANCE = 1e-6  # USD


class Trade(NamedTuple):
    """One round trip of one coin: bars counted from 0, prices in USD, PnL after the fees of both fills."""

    entry_bar: int
    exit_bar: int
    entry_px: float
    exit_px: float
    pnl_usd: float


def at_next_open(
    open_: Floats, low: Floats, enter: Flags, leave: Flags, stop_px: Floats, fee: float, *, like_vectorbt: bool = False
) -> list[Trade]:
    """Return the trades of orders that are filled at the open after the signal's bar.

    `stop_px[i]` is the stop of an entry that was decided at close i. An exit that is due at an open comes before a
    stop in that bar, and a stop works from the fill on. `like_vectorbt`: the stop comes first, and not in the bar of
    the entry.
    """
    trades: list[Trade] = []
    held_from, entry_px, stop, next_stop = -1, 0.0, 0.0, 0.0  # -1: flat
    wants_in = wants_out = False
    columns = zip(open_.tolist(), low.tolist(), enter.tolist(), leave.tolist(), stop_px.tolist(), strict=True)
    for bar, (opened, lowest, enters, leaves, stop_of_bar) in enumerate(columns):
        if wants_in:
            held_from, entry_px, stop = bar, opened, next_stop
        exit_px = None
        if held_from >= 0:
            is_stopped = lowest <= stop and not (like_vectorbt and bar == held_from)
            if is_stopped and (like_vectorbt or not wants_out):
                exit_px = min(opened, stop)
            elif wants_out:
                exit_px = opened
        if exit_px is not None:
            trades.append(_trade(held_from, bar, entry_px, exit_px, fee))
            held_from = -1
        wants_out = held_from >= 0 and leaves
        wants_in = held_from < 0 and enters
        next_stop = stop_of_bar
    return trades


def at_close(
    open_: Floats, low: Floats, close: Floats, enter: Flags, leave: Flags, stop_px: Floats, fee: float
) -> list[Trade]:
    """Return the trades of orders that are filled at the signal's own close; the stop works from the next bar on."""
    trades: list[Trade] = []
    held_from, entry_px, stop = -1, 0.0, 0.0
    prices = zip(open_.tolist(), low.tolist(), close.tolist(), stop_px.tolist(), strict=True)
    said = zip(enter.tolist(), leave.tolist(), strict=True)
    for bar, ((opened, lowest, closed, stop_of_bar), (enters, leaves)) in enumerate(zip(prices, said, strict=True)):
        if held_from >= 0:
            exit_px = min(opened, stop) if lowest <= stop else closed if leaves else None
            if exit_px is not None:
                trades.append(_trade(held_from, bar, entry_px, exit_px, fee))
                held_from = -1
        if held_from < 0 and enters:
            held_from, entry_px, stop = bar, closed, stop_of_bar
    return trades


def check_equal(name: str, expected: Sequence[Trade], found: Sequence[Sequence[float]] | Floats) -> str:
    """Return in words how well the trades of `name` agree with the expected ones.

    Raises:
        PerpBotError: they do not: another bar, a price or a PnL off by more than rounding, or another number of trades.
    """
    gap_usd = 0.0
    for number, (due, row) in enumerate(zip(expected, found, strict=False)):
        other = Trade(round(row[0]), round(row[1]), *(float(value) for value in row[2:]))
        gap_usd = max(gap_usd, abs(due.pnl_usd - other.pnl_usd))
        is_equal = (
            due[:2] == other[:2]
            and abs(due.entry_px - other.entry_px) <= PX_TOLERANCE
            and abs(due.exit_px - other.exit_px) <= PX_TOLERANCE
            and abs(due.pnl_usd - other.pnl_usd) <= PNL_TOLERANCE
        )
        if not is_equal:
            raise PerpBotError(f"{name} does not trade as the reference: trade {number} is {other}, due was {due}")
    if len(expected) != len(found):
        raise PerpBotError(f"{name} does not trade as the reference: {len(found):,} trades, due were {len(expected):,}")
    return f"{len(expected):,} trades equal, PnL within {gap_usd:.0e} USD"


def _trade(entry_bar: int, exit_bar: int, entry_px: float, exit_px: float, fee: float) -> Trade:
    return Trade(entry_bar, exit_bar, entry_px, exit_px, exit_px - entry_px - fee * (entry_px + exit_px))
