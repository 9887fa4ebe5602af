"""`perpbot compare` for people: what came of the decisions, and of the trades beside their backtest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perp_bot.backtest.parity import PARTS
from perp_bot.cli.output import put, say
from perp_bot.core.timeframes import iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perp_bot.backtest.redecide import Report
    from perp_bot.cli.comparing import Beside, Compared
    from perp_bot.core.types import ClosedTrade

_SHOWN = 20  # differences; the JSON has all


def show(found: Compared) -> None:
    """Print what was found; notes are talk."""
    _decisions(found.report)
    if not found.wants_backtest:
        _trades(found.trades)
    elif found.beside is not None:
        _beside(found.beside)
    else:
        say("interrupted: the backtest of these days was not finished, their trades are not compared")


def _decisions(report: Report) -> None:
    span = f"{iso(report.first_ms)} to {iso(report.last_ms)}"
    put(f"{report.identical} of {report.decisions} decisions reproduced, {span}")
    if report.is_partial:
        put(f"  interrupted: {report.decisions:,} of {report.asked:,} decisions were made again")
    for difference in report.differences[:_SHOWN]:
        put(f"  {difference.text}")
    if len(report.differences) > _SHOWN:
        put(f"  and {len(report.differences) - _SHOWN} more")
    for line in report.conditions.lines():
        put(f"  {line}")


def _trades(trades: Iterable[ClosedTrade]) -> None:
    for trade in trades:
        put(
            f"  {iso(trade.opened_ms)} {trade.side:5} {trade.size} {trade.symbol} {trade.entry_px:.8g} -> "
            f"{trade.exit_px:.8g} {trade.exit_reason}: net {trade.net_usd:+.2f} USD"
        )


def _beside(beside: Beside) -> None:
    parity = beside.parity
    counts = f"{len(parity.matched)} trades matched, {len(parity.missed)} missed, {len(parity.extra)} extra"
    put(f"backtest of {iso(beside.first_ms)} to {iso(beside.last_ms)} on the {beside.mode}: {counts}")
    for trade in parity.matched:
        told = [f"{name} {trade.parts[name]:+.4f}" for name in PARTS if abs(trade.parts.get(name, 0.0)) >= 0.00005]
        exits = "" if len(set(trade.exit_reasons)) == 1 else f", left by {' / '.join(trade.exit_reasons)}"
        parts = ", ".join(told) or "no difference"
        put(
            f"  {iso(trade.decided_ms)} {trade.side:5} {trade.symbol}: net {_usd(trade.net_usd)} USD apart: {parts}; "
            f"remainder {_usd(trade.remainder_usd)}{exits}"
        )
    for kind, trades in (("missed", parity.missed), ("extra", parity.extra)):
        for lone in trades:
            put(f"  {kind}: {iso(lone.decided_ms)} {lone.side} {lone.symbol} (net {lone.net_usd:+.2f} USD)")
            put(f"    split by: {lone.split}")
    if parity.matched:
        sums = {name: sum(trade.parts.get(name, 0.0) for trade in parity.matched) for name in PARTS}
        told = [f"{name} {amount:+.4f}" for name, amount in sums.items() if abs(amount) >= 0.00005]
        net = sum(trade.net_usd for trade in parity.matched)
        put(f"  all matched: net {net:+.4f} USD apart: {', '.join(told) or 'no difference'}")
    put(f"  largest remainder {_usd(parity.remainder_usd)} USD")
    for note in beside.notes:
        say(f"note: {note}")


def _usd(amount: float) -> str:
    """Return an amount to a hundredth of a cent; what rounds to nothing has no sign of loss."""
    return f"{round(amount, 4) + 0.0:+.4f}"
