"""A session beside its backtest: matched by deciding candle, apart by named parts, split by a named event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from market_rig import QUARTER, START, Script, ScriptedStrategy, coin, config_with, flat, market_of

from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.parity import Parity, compare_trades
from perp_bot.backtest.plain import run_plain
from perp_bot.backtest.results import SimulatedTrade
from perp_bot.core.types import Action, ClosedTrade, DecisionRecord, GateReason, Side

SCRIPT = Script({2: Side.LONG, 8: Side.SHORT}, {5: False, 11: False})


def simulated(script: Script = SCRIPT) -> tuple[list[SimulatedTrade], list[DecisionRecord]]:
    """Return trades and decisions of a backtest."""
    market = market_of(coin([*flat(4), *flat(4, 101.0), *flat(6, 99.0)], rates=dict.fromkeys(range(4), 0.0001)))
    grid, journal = grid_of(market), list[DecisionRecord]()
    result = run_plain(config_with(), grid, ScriptedStrategy(script), 0, grid.bars, journal=journal)
    return list(result.trades.rows()), journal


def as_session(trade: SimulatedTrade, **changes: Any) -> ClosedTrade:
    """Return a stored trade that says what a simulated one says."""
    text = f"scripted:{trade.symbol}:15m:{trade.decided_ms}"

    def exact(value: float) -> Decimal:
        return Decimal(str(value))

    stored = ClosedTrade(
        "t", trade.symbol, Side(trade.side), exact(trade.size), exact(trade.entry_px), exact(trade.exit_px),
        trade.opened_ms, trade.closed_ms, exact(trade.gross_usd), exact(trade.fees_usd), exact(trade.funding_usd),
        exact(trade.net_usd), trade.exit_reason, "scripted", "paper", text, stopped=False,
    )  # fmt: skip
    return replace(stored, **changes)


def parity(session: Sequence[ClosedTrade], stored: Sequence[DecisionRecord] | None = None) -> Parity:
    trades, journal = simulated()
    return compare_trades(session, trades, journal if stored is None else stored, journal)


def test_the_same_trades_are_matched_and_nothing_remains() -> None:
    """Every part is 0."""
    trades, _ = simulated()
    assert len(trades) == 2
    found = parity([as_session(trade) for trade in trades])
    assert (len(found.matched), found.missed, found.extra) == (2, (), ())
    assert all(part == pytest.approx(0, abs=1e-9) for trade in found.matched for part in trade.parts.values())
    assert found.remainder_usd == pytest.approx(0, abs=1e-9)


def test_differences_of_prices_size_fees_and_funding_explain_the_net() -> None:
    """Another entry, exit, size, fee and funding at once: each by its own formula, nothing remains."""
    trades, _ = simulated()
    one = trades[0]
    size, entry, exit_ = Decimal("9.5"), Decimal("100.4"), Decimal("101.7")
    gross = size * (exit_ - entry)
    fees, funding = Decimal("0.71"), Decimal("-0.13")
    other = as_session(
        one, size=size, entry_px=entry, exit_px=exit_, gross_usd=gross, fees_usd=fees, funding_usd=funding,
        net_usd=gross - fees + funding,
    )  # fmt: skip
    (found,) = parity([other, as_session(trades[1])]).matched[:1]
    assert found.parts["fees"] == pytest.approx(-(0.71 - one.fees_usd))
    assert found.parts["funding"] == pytest.approx(-0.13 - one.funding_usd)
    assert found.parts["entry"] == pytest.approx(-one.size * (100.4 - one.entry_px))
    assert abs(found.parts["size"]) > 0.1
    assert found.remainder_usd == pytest.approx(0, abs=1e-9)


def test_a_net_shifted_by_a_cent_leaves_exactly_a_cent() -> None:
    """No part is a residual: what the rows do not explain is shown."""
    trades, _ = simulated()
    shifted = as_session(trades[0], net_usd=Decimal(str(trades[0].net_usd)) + Decimal("0.01"))
    found = parity([shifted, as_session(trades[1])])
    assert found.remainder_usd == pytest.approx(0.01, abs=1e-9)


def test_a_trade_that_only_the_backtest_made_names_what_kept_the_session_out() -> None:
    """The session was paused at the deciding close."""
    trades, journal = simulated()
    at = trades[1].decided_ms
    pause = (GateReason("paused", "everything is paused by the operator"),)
    stored = [replace(row, action=Action.BLOCKED, blocked_by=pause) if row.close_ms == at else row for row in journal]
    (lone,) = parity([as_session(trades[0])], stored).extra
    assert (lone.symbol, lone.decided_ms) == ("AAA", at)
    assert lone.split == (
        "2023-11-15T02:15:00Z AAA: the session was kept from short by paused, the backtest said enter short (scripted)"
    )


def test_a_trade_that_only_the_session_made_names_the_first_difference() -> None:
    """The earliest one, not the last: a close that the session did not decide on."""
    trades, journal = simulated()
    lone = as_session(trades[0], entry_decision_id=f"scripted:AAA:15m:{START + 8 * QUARTER}")
    stored = [row for row in journal if row.close_ms != START + 5 * QUARTER]
    (found,) = parity([as_session(trade) for trade in trades] + [lone], stored).missed
    assert found.split == "2023-11-15T01:15:00Z AAA: the session decided nothing here"


def test_another_way_out_is_a_split_of_what_follows() -> None:
    """A stop in the session where the backtest went on: a later lone trade names it."""
    trades, journal = simulated()
    stopped = as_session(trades[0], exit_reason="capital_stop", closed_ms=trades[0].closed_ms - QUARTER)
    (found,) = compare_trades([stopped], trades, journal, journal).extra
    assert "the session left by capital_stop at" in found.split
    assert "the backtest by done at" in found.split
