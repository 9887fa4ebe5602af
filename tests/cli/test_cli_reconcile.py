"""perpbot reconcile: what differs is shown with what would be done; --apply does that and nothing else."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from cli_run import RunCommand
from live_venue import by_hand, entry, held, limit, position, resting, sent, stop, store, venue_with, write_settings
from test_cli_kill import lock_holder as lock_holder  # the fixture

from perp_bot.core.types import OrderState

pytestmark = pytest.mark.slow

BTC = {"coin": "BTC", "size": "0.01", "entry_px": 95_000, "leverage": 3}
ETH = {"coin": "ETH", "size": "-0.5", "entry_px": 3_300, "leverage": 3}
FLATTEN = "execution: {unknown_positions: flatten}\n"


def test_books_that_agree_and_a_protected_position_are_well(perpbot: RunCommand, tmp_path: Path) -> None:
    """Exit code 0, one line."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        store(tmp_path, position(venue), baseline_ms=venue.now_ms)
        by_hand(venue, stop(venue, 0.95))
        ran = perpbot("reconcile")
    # The stop that the owner placed protects, and is told as an order that is not perpbot's.
    assert ran.code == 1
    assert ran.out.count("\n") == 1
    assert "foreign_order" in ran.out
    assert "left alone" in ran.out
    with venue_with() as venue:
        write_settings(venue, tmp_path)
        (tmp_path / "perp_bot.db").unlink()
        store(tmp_path, baseline_ms=venue.now_ms)
        ran = perpbot("reconcile")
    assert (ran.code, ran.out) == (0, "books and venue agree, and every position is protected\n")


def test_a_missing_stop_is_shown_first_and_then_placed_at_the_stored_price(perpbot: RunCommand, tmp_path: Path) -> None:
    """Showing changes nothing; --apply rests the stop, whole and reduce-only."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        row = position(venue)
        store(tmp_path, row, baseline_ms=venue.now_ms)
        shown = perpbot("reconcile")
        assert sent(venue) == []
        assert row.position is not None
        assert row.position.stop_px is not None
        wanted = f"place a reduce-only stop of LONG 0.01 BTC at {row.position.stop_px:.0f} (0% is covered)"
        assert (shown.code, f"--apply would {wanted}" in shown.out) == (1, True)
        ran = perpbot("reconcile", "--apply", "--yes")
        (order,) = resting(venue)
        assert Decimal(order["triggerPx"]) == Decimal(str(row.position.stop_px))
        assert (order["reduceOnly"], Decimal(order["sz"]), order["orderType"]) == (True, Decimal("0.01"), "Stop Market")
    assert ran.code == 0, ran.out + ran.err
    assert f"done: {wanted}" in ran.out


@pytest.mark.parametrize("policy", ["protect", "adopt"])
def test_a_position_that_nobody_here_opened_gets_the_capital_stop(
    perpbot: RunCommand, tmp_path: Path, policy: str
) -> None:
    """3 % of 670 USD at risk on 0.01 BTC: 2,010 USD a coin below the entry."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path, f"execution: {{unknown_positions: {policy}}}\n")
        ran = perpbot("reconcile", "--apply", "--yes")
        (order,) = resting(venue)
        assert Decimal(order["triggerPx"]) == Decimal(92_990)
    assert ran.code == 0, ran.out + ran.err
    assert "orphan: the venue holds 0.01 BTC, the books 0: nothing was traded here yet" in ran.out


def test_refuse_leaves_it_alone_and_says_so(perpbot: RunCommand, tmp_path: Path) -> None:
    """The policy's word; not well, so exit code 1."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path, "execution: {unknown_positions: refuse}\n")
        ran = perpbot("reconcile", "--apply", "--yes")
        assert sent(venue) == []
    assert ran.code == 1
    assert "left as it is: LONG 0.01 BTC: 0% under a resting stop; perpbot did not open it" in ran.out


def test_flatten_closes_what_is_unknown_and_cancels_foreign_entries_alone(perpbot: RunCommand, tmp_path: Path) -> None:
    """Its own position stays and is protected; its own unanswered order is not foreign."""
    ours = "0x" + "ab" * 16
    with venue_with(BTC, ETH) as venue:
        write_settings(venue, tmp_path, FLATTEN)
        store(tmp_path, position(venue), entry("BTC", ours, 1, OrderState.UNKNOWN), baseline_ms=venue.now_ms)
        by_hand(venue, limit(venue, 0.9), {**limit(venue, 0.8), "c": ours})
        ran = perpbot("reconcile", "--apply", "--yes")
        assert held(venue) == {"BTC": Decimal("0.01")}
        kinds = [(row["coin"], row["orderType"], row["cloid"] == ours) for row in resting(venue)]
        assert kinds == [("BTC", "Limit", True), ("BTC", "Stop Market", False)]
    assert ran.code == 0, ran.out + ran.err
    assert "done: close SHORT 0.5 ETH, which perpbot did not open" in ran.out
    assert "done: cancel buy 0.01 BTC at" in ran.out


def test_without_the_policy_foreign_entries_are_left_alone(perpbot: RunCommand, tmp_path: Path) -> None:
    """Told, never touched."""
    with venue_with() as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, limit(venue, 0.9))
        ran = perpbot("reconcile", "--apply", "--yes", "--json")
        assert len(resting(venue)) == 1
    told = json.loads(ran.out)
    assert [(d["kind"], d["outlook"]) for d in told["differences"]] == [("foreign_order", "left alone")]
    assert (told["steps"], told["applied"], told["daemon_pid"]) == ([], [], None)


def test_fills_that_explain_a_difference_are_told(perpbot: RunCommand, tmp_path: Path) -> None:
    """The stop fired while no daemon ran: the books are behind, and the next start books it."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        store(tmp_path, position(venue), baseline_ms=venue.now_ms)
        venue.step(count=2)
        by_hand(venue, {**limit(venue, 0.98, buy=False), "r": True})
        assert held(venue) == {}
        ran = perpbot("reconcile")
    assert ran.code == 1
    assert "not booked yet:" in ran.out
    assert "sell 0.01 BTC" in ran.out
    assert "phantom: the books hold 0.01 BTC, the venue 0: a fill since explains it" in ran.out


def test_a_living_daemon_is_left_to_do_it(
    perpbot: RunCommand, tmp_path: Path, lock_holder: subprocess.Popen[str]
) -> None:
    """It is shown, and nothing is applied."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        ran = perpbot("reconcile", "--apply", "--yes")
        assert sent(venue) == []
    assert ran.code == 1
    assert f"nothing applied: a daemon lives (pid {lock_holder.pid})" in ran.err


@pytest.mark.parametrize(("typed", "code", "said"), [("n\n", 1, "you said no"), (None, 2, "add --yes")])
def test_nothing_is_applied_unasked(
    perpbot: RunCommand, tmp_path: Path, typed: str | None, code: int, said: str
) -> None:
    """A no, and nobody to ask."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        ran = perpbot("reconcile", "--apply", typed=typed)
        assert sent(venue) == []
    assert ran.code == code
    assert said in ran.err


def test_what_the_venue_refuses_is_not_done(perpbot: RunCommand, tmp_path: Path) -> None:
    """With its reason, exit code 1."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        venue.set_faults(order_error={"text": "Insufficient margin to place order."})
        ran = perpbot("reconcile", "--apply", "--yes")
        assert resting(venue) == []
    assert ran.code == 1
    assert "NOT done: place a reduce-only stop" in ran.out
    assert "Insufficient margin to place order." in ran.out


def test_a_stop_whose_answer_is_lost_is_done_once(perpbot: RunCommand, tmp_path: Path) -> None:
    """Settled by asking."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        venue.set_faults(lost_answer={"on": ["order"], "times": 1})
        ran = perpbot("reconcile", "--apply", "--yes")
        assert len(resting(venue)) == 1
    assert ran.code == 0, ran.out


def test_on_paper_there_is_nothing_to_reconcile(perpbot: RunCommand, tmp_path: Path) -> None:
    """Exit code 2 and why."""
    (tmp_path / "config.yaml").write_text("mode: paper\n")
    ran = perpbot("reconcile")
    assert ran.code == 2
    assert "says mode: paper" in ran.err


def test_a_database_of_another_market_is_refused(perpbot: RunCommand, tmp_path: Path) -> None:
    """What is looked for is not at this venue."""
    from perp_bot.data.db.rows import StateRow

    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        store(tmp_path, StateRow("venue_identity", "mainnet", 1))
        ran = perpbot("reconcile", "--apply", "--yes")
        assert sent(venue) == []
    assert ran.code == 1
    assert "belongs to mainnet" in ran.err
