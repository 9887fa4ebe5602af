"""The kill switch live, judged at the venue: entries go, stops stay, and only what is flat is called flat."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from live_rig import LiveRig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]

BOTH = {"trading": {"symbols": ["BTC", "ETH"]}}


def rig_of(folder: Path) -> LiveRig:
    """Return a rig that follows both coins."""
    return LiveRig(folder, settings=BOTH)


def owner_buys(rig: LiveRig) -> None:
    """Open a BTC long by hand, and wait until it is covered."""
    rig.owner_trades("BTC", "0.01")
    rig.until("the owner's position is covered", lambda: rig.is_protected() and not rig.position_error)


def hold_two(rig: LiveRig) -> None:
    """Go on until the venue holds our ETH short and the owner's BTC long, each covered."""
    rig.to_entry()
    rig.await_held("ETH")
    owner_buys(rig)
    assert set(rig.held) == {"BTC", "ETH"}
    rig.check()


def test_a_kill_cancels_the_resting_entry_and_keeps_the_stop(tmp_path: Path) -> None:
    """Nothing adds exposure any more, and what is held stays covered."""
    with rig_of(tmp_path) as rig:
        rig.to_entry()
        owner_buys(rig)
        assert [order["coin"] for order in rig.resting_entries] == ["ETH"]
        (stop,) = rig.stops

        killed = rig.perpbot("kill", "--reason", "test")

        assert killed.returncode == 0, killed.stderr
        rig.until("the entry is cancelled at the venue", lambda: rig.resting_entries == [])
        assert [order["oid"] for order in rig.stops] == [stop["oid"]]
        with rig.stale():
            rig.step("1m", 2)
            rig.step("15m")
        assert set(rig.held) == {"BTC"}
        rig.check()
        assert rig.stop() == 0


def test_kill_flatten_ends_flat_at_the_venue(tmp_path: Path) -> None:
    """Two positions, one not even ours: both closed, the stops gone, and only then it says flat."""
    with rig_of(tmp_path) as rig:
        hold_two(rig)
        began_s = time.monotonic()
        killed = rig.perpbot("kill", "--flatten", "--yes")
        rig.kills.append(time.monotonic() - began_s)
        assert killed.returncode == 0, killed.stdout + killed.stderr
        assert "flat" in killed.stdout
        assert rig.held == {}
        rig.until("the stops are gone", lambda: rig.resting == [])
        rig.check()
        assert rig.stop() == 0


@pytest.mark.parametrize("fault", ["status_502", "status_429", "html"])
def test_a_flatten_that_the_venue_does_not_carry_out_is_not_called_flat(fault: str, tmp_path: Path) -> None:
    """The venue answers nothing true: the latch holds, the stops stay, and the answer says what is still open.

    Once the venue answers again, the closing orders that follow one another close it.
    """
    with rig_of(tmp_path) as rig:
        hold_two(rig)
        rig.venue.set_faults(**{fault: True})
        killed = rig.perpbot("kill", "--flatten", "--yes")
        assert killed.returncode != 0, killed.stdout
        assert "is flat" not in killed.stdout + killed.stderr
        assert set(rig.held) == {"BTC", "ETH"}
        assert rig.is_protected()
        rig.venue.set_faults(clear=True)
        rig.until("it is closed once the venue answers", lambda: rig.held == {}, 30.0)
        rig.until("the stops are gone", lambda: rig.resting == [], 20.0)
        rig.check()
        assert rig.stop() == 0


def test_a_flatten_whose_answers_are_all_lost_says_what_is_true(tmp_path: Path) -> None:
    """The closing orders are carried out and not answered: flat when it was seen flat, and never a second close."""
    with rig_of(tmp_path) as rig:
        hold_two(rig)
        rig.venue.set_faults(lost_answer={"on": ["exchange"]})
        killed = rig.perpbot("kill", "--flatten", "--yes")
        assert rig.held == {}
        assert killed.returncode == 0 or "is flat" not in killed.stdout + killed.stderr
        rig.venue.set_faults(clear=True)
        rig.until("the stops are gone", lambda: rig.resting == [])
        rig.check()
        assert rig.stop() == 0
