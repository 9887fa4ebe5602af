"""`perpbot compare`: a session decided again, and beside the free backtest of the same days."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from perp_bot.cli.output import put, put_json, say
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, StoreError
from perp_bot.core.timeframes import DAY_MS, iso

if TYPE_CHECKING:
    from perp_bot.backtest.parity import Parity
    from perp_bot.config.model import Config

REMAINDER_USD = 0.005  # above it something is not explained


def compare(config: Config, days: float, source: str, *, as_json: bool) -> int:
    """Compare the last `days` of a session with their backtest; exit code 1 when a remainder is left."""
    from perp_bot.backtest.parity import compare_trades
    from perp_bot.data.db.reader import Reader

    if not config.data.db_path.exists():
        raise StoreError(f"{config.data.db_path} does not exist: no session to compare; run `perpbot trade` first")
    with Reader(config.data.db_path) as reader:
        newest = reader.decisions(1)
        if not newest:
            raise StoreError(f"{config.data.db_path} holds no decision yet: run `perpbot trade` first")
        since_ms = newest[0].close_ms - round(days * DAY_MS)
        stored = [row for row in reader.decisions(1_000_000_000, since_ms=since_ms + 1) if row.source == source]
        if not stored:
            raise StoreError(f"no decision of {source} in the last {days:g} days")
        first_ms, last_ms = stored[0].close_ms, stored[-1].close_ms
        session = [trade for trade in reader.trades(source) if trade.opened_ms >= first_ms]
        held = [trade for trade in reader.trades(source) if trade.opened_ms < first_ms < trade.closed_ms]
    result, journal = _simulated(config, stored[0].strategy, first_ms, last_ms)
    parity = compare_trades(session, list(result.trades.rows()), stored, journal)
    notes = list(result.notes)
    if held:
        notes.append(
            f"the session held {held[0].side} {held[0].symbol} when these days began; the backtest begins flat"
        )
    is_explained = abs(parity.remainder_usd) < REMAINDER_USD
    if as_json:
        put_json(_object(parity, first_ms, last_ms, notes, is_explained=is_explained))
    else:
        _print(parity, first_ms, last_ms, notes)
    return EXIT_OK if is_explained else EXIT_FAILURE


def _simulated(config: Config, strategy: str, first_ms: int, last_ms: int) -> tuple[Any, list[Any]]:
    """Return the backtest of the closes from `first_ms` to `last_ms`, and its decisions.

    Nobody resumes in it: what the operator did is in the session's own journal.
    """
    from perp_bot.backtest.engine import span_of
    from perp_bot.backtest.grid import grid_of
    from perp_bot.backtest.load import load_market
    from perp_bot.backtest.plain import run_plain
    from perp_bot.strategies import registry

    config = replace(config, backtest=replace(config.backtest, resume_hours=0.0))
    grid = grid_of(load_market(config, from_ms=first_ms - 1, to_ms=last_ms + DAY_MS))
    begin, end = span_of(grid, first_ms - 1, last_ms)
    journal: list[Any] = []
    result = run_plain(config, grid, registry.create(strategy, config), begin, end, journal=journal)
    return result, journal


def _object(parity: Parity, first_ms: int, last_ms: int, notes: list[str], *, is_explained: bool) -> dict[str, Any]:
    return {
        "from_ms": first_ms,
        "to_ms": last_ms,
        "matched": [asdict(trade) | {"remainder_usd": trade.remainder_usd} for trade in parity.matched],
        "missed": [asdict(trade) for trade in parity.missed],
        "extra": [asdict(trade) for trade in parity.extra],
        "remainder_usd": parity.remainder_usd,
        "is_explained": is_explained,
        "notes": notes,
    }


def _print(parity: Parity, first_ms: int, last_ms: int, notes: list[str]) -> None:
    from perp_bot.backtest.parity import PARTS

    counts = f"{len(parity.matched)} trades matched, {len(parity.missed)} missed, {len(parity.extra)} extra"
    put(f"backtest of {iso(first_ms)} to {iso(last_ms)}: {counts}")
    for trade in parity.matched:
        parts = ", ".join(f"{name} {trade.parts[name]:+.4f}" for name in PARTS)
        exits = "" if len(set(trade.exit_reasons)) == 1 else f", left by {' / '.join(trade.exit_reasons)}"
        put(
            f"  {iso(trade.decided_ms)} {trade.side:5} {trade.symbol}: net {trade.net_usd:+.4f} USD apart: {parts}; "
            f"remainder {trade.remainder_usd:+.4f}{exits}"
        )
    for kind, trades in (("missed", parity.missed), ("extra", parity.extra)):
        for lone in trades:
            put(f"  {kind}: {iso(lone.decided_ms)} {lone.side} {lone.symbol} (net {lone.net_usd:+.2f} USD)")
            put(f"    split by: {lone.split}")
    for note in notes:
        say(f"note: {note}")
