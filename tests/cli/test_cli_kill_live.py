"""perpbot kill with `mode: live` and no daemon: straight to the venue, and what is said is so in the venue's books."""

from __future__ import annotations

import json
import signal
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from cli_run import RunCommand
from live_venue import (
    AGENT,
    by_hand,
    entry,
    held,
    limit,
    position,
    resting,
    sent,
    stop,
    store,
    venue_with,
    write_settings,
)
from test_cli_kill import lock_holder as lock_holder  # the fixture

from perp_bot.core.errors import StoreError
from perp_bot.core.types import OrderState
from perp_bot.risk import kill_switch

pytestmark = pytest.mark.slow

BTC = {"coin": "BTC", "size": "0.01", "entry_px": 95_000, "leverage": 5}
ETH = {"coin": "ETH", "size": "-0.5", "entry_px": 3_300, "leverage": 5}


def test_kill_cancels_entries_at_the_venue_and_leaves_what_protects(perpbot: RunCommand, tmp_path: Path) -> None:
    """Exit code 0: latched, none rests by two reads; the position and its stop stay and are named."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, limit(venue, 0.9), stop(venue, 0.95))
        ran = perpbot("kill", "--json")
        assert [row["orderType"] for row in resting(venue)] == ["Stop Market"]
        assert held(venue) == {"BTC": Decimal("0.01")}
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["status"] == "killed"
    assert "no daemon runs; at the venue no entry order rests (1 cancelled)" in told["text"]
    assert "LONG 0.01 BTC (100% under a stop)" in told["text"]
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_kill_flatten_closes_at_the_venue_after_a_preview(perpbot: RunCommand, tmp_path: Path) -> None:
    """A yes on the terminal; flat, stops gone, and who books it is said."""
    with venue_with(BTC, ETH) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, limit(venue, 0.9), stop(venue, 0.95))
        ran = perpbot("kill", "--flatten", typed="y\n")
        assert (held(venue), resting(venue)) == ({}, [])
    assert ran.code == 0, ran.err
    assert "flatten would close at the venue" in ran.err
    assert "sell 0.01 BTC" in ran.err
    assert "buy 0.5 ETH" in ran.err
    assert "the account is flat, read twice at the venue, and its stops are gone" in ran.out
    assert "books it from the venue's fills at its next start" in ran.out
    assert not (tmp_path / "perp_bot.db").exists(), "the command line does not write the database"


@pytest.mark.parametrize(("typed", "why"), [("n\n", "you said no"), (None, "add --yes")])
def test_kill_flatten_unasked_closes_nothing(perpbot: RunCommand, tmp_path: Path, typed: str | None, why: str) -> None:
    """The kill and the cancels stand; what was asked for is not done, so the exit code is 1."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, limit(venue, 0.9), stop(venue, 0.95))
        ran = perpbot("kill", "--flatten", typed=typed)
        assert held(venue) == {"BTC": Decimal("0.01")}
        assert [row["orderType"] for row in resting(venue)] == ["Stop Market"]
    assert ran.code == 1
    assert "NOT flattened" in ran.out
    assert why in ran.out


def test_kill_flatten_of_one_coin_leaves_the_others(perpbot: RunCommand, tmp_path: Path) -> None:
    """--symbol limits what is closed; entries of all coins are cancelled, for the kill is one."""
    with venue_with(BTC, ETH) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, stop(venue, 1.05, coin="ETH", size="0.5", buy=True), limit(venue, 0.9, coin="ETH", size="0.1"))
        ran = perpbot("kill", "--flatten", "--symbol", "BTC", "--yes")
        assert held(venue) == {"ETH": Decimal("-0.5")}
        assert [row["orderType"] for row in resting(venue)] == ["Stop Market"]
    assert ran.code == 0, ran.err
    assert "BTC is flat" in ran.out


def test_kill_flatten_that_the_venue_refuses_is_a_failure(perpbot: RunCommand, tmp_path: Path) -> None:
    """Partly flat, with the venue's reason; the stop stays."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, stop(venue, 0.95))
        venue.set_faults(order_error={"text": "Order has invalid price."})
        ran = perpbot("kill", "--flatten", "--yes", "--json")
        assert held(venue) == {"BTC": Decimal("0.01")}
        assert len(resting(venue)) == 1
    assert ran.code == 1
    told = json.loads(ran.out)
    assert told["status"] == "partly_flat"
    assert "Order has invalid price." in told["text"]


def test_a_strategy_is_nothing_that_the_venue_knows(perpbot: RunCommand, tmp_path: Path) -> None:
    """Nothing is closed by a guess."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        ran = perpbot("kill", "--flatten", "--strategy", "mean_reversion", "--yes")
        assert held(venue) == {"BTC": Decimal("0.01")}
    assert ran.code == 1
    assert "the venue knows no strategies" in ran.out


def test_a_venue_that_is_away_leaves_the_latch_and_says_so(perpbot: RunCommand, tmp_path: Path) -> None:
    """Exit code 3: latched, nothing at the venue is known."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
    ran = perpbot("kill")
    assert ran.code == 3
    assert "killed: latched at" in ran.out
    assert "entry orders NOT cancelled" in ran.out
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_lost_answers_do_not_keep_a_kill_from_the_venue(perpbot: RunCommand, tmp_path: Path) -> None:
    """The first reads fail: they are asked again."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, limit(venue, 0.9))
        venue.set_faults(status_502={"on": ["info"], "times": 4})
        ran = perpbot("kill")
        assert resting(venue) == []
    assert ran.code == 0, ran.out


def test_a_kill_that_cannot_be_latched_goes_to_the_venue_all_the_same(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: exit code 1 for the latch that is missing, and nothing is left that could fill."""

    def refuse(*_: object, **__: object) -> bool:
        raise StoreError("kill NOT latched: cannot create KILL: No space left on device")

    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, limit(venue, 0.9))
        monkeypatch.setattr(kill_switch, "latch", refuse)
        ran = perpbot("kill", "--flatten", "--yes")
        assert (held(venue), resting(venue)) == ({}, [])
    assert ran.code == 1
    assert "NOT latched" in ran.out
    assert "the account is flat" in ran.out


def test_no_key_leaves_the_latch_and_says_so(perpbot: RunCommand, tmp_path: Path) -> None:
    """Exit code 2, and the variable that is missing."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        (tmp_path / ".env").write_text("")
        ran = perpbot("kill")
    assert ran.code == 2
    assert "HL_WALLET_ADDRESS: not set" in ran.out
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_take_over_ends_the_hung_daemon_and_goes_to_the_venue(
    perpbot: RunCommand, tmp_path: Path, lock_holder: subprocess.Popen[str]
) -> None:
    """Latch, SIGKILL, lock free, then the account: flat."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        by_hand(venue, limit(venue, 0.9))
        hung = perpbot("kill", "--flatten", "--yes")
        assert hung.code == 1
        assert "if it hangs, add --take-over" in hung.out
        assert len(resting(venue)) == 1
        ran = perpbot("kill", "--take-over", "--flatten", "--yes")
        assert (held(venue), resting(venue)) == ({}, [])
    assert ran.code == 0, ran.out
    assert "was ended and its lock is free" in ran.out
    assert "the account is flat" in ran.out
    assert lock_holder.wait(10) == -signal.SIGKILL


def test_a_key_in_use_is_left_alone(perpbot: RunCommand, tmp_path: Path) -> None:
    """Another process signs with it (another database): said in one line, exit code 1, nothing sent."""
    import sys

    hold = (
        "import os, sys, time; from perp_bot.config.paths import signers_folder\n"
        "from perp_bot.execution.live.nonces import signer_lock\n"
        "lock = signer_lock(signers_folder(os.environ), sys.argv[1]); lock.acquire(); print('held', flush=True)\n"
        "time.sleep(60)"
    )
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        child = subprocess.Popen([sys.executable, "-c", hold, AGENT], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            ran = perpbot("kill", "--flatten", "--yes")
        finally:
            child.kill()
            child.wait(10)
            if child.stdout is not None:
                child.stdout.close()
        assert sent(venue) == []
    assert ran.code == 1
    assert f"(pid {child.pid}) signs with the key of {AGENT}" in ran.out
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_an_entry_that_a_dead_daemon_sent_is_waited_for(perpbot: RunCommand, tmp_path: Path) -> None:
    """It could be taken after two reads saw nothing: certain only once its validity is over."""
    with venue_with(BTC, speed=20.0) as venue:
        write_settings(venue, tmp_path)
        store(tmp_path, entry("BTC", "0x" + "ab" * 16, venue.now_ms, OrderState.UNKNOWN))
        ran = perpbot("kill")
        at_ms = venue.now_ms
    assert ran.code == 0, ran.out
    assert "may still be under way" in ran.err
    assert at_ms > 0


def test_an_entry_whose_end_cannot_be_waited_for_is_not_certain(perpbot: RunCommand, tmp_path: Path) -> None:
    """A stepped venue's time stands still: asked for, not known there, so it may still come."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        store(tmp_path, position(venue), entry("BTC", "0x" + "ab" * 16, venue.now_ms))
        ran = perpbot("kill")
    assert ran.code == 1
    assert "buy 0.01 BTC of the daemon that ended may still be under way" in ran.out
