"""A live daemon that was killed: the command line and the watchdog act for it, and its next start books it all."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rig import LIVELY, LIVELY_START, Rig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "execution" / "live"))  # live_venue

from live_venue import AGENT, USER, WATCHDOG, by_hand, held, limit, resting, write_settings

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(120)]


class LiveRig(Rig):
    """The same rig, trading live on the practice exchange."""

    mode = "live"
    flags = ("--live", "--yes")

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, start=LIVELY_START, settings={"signals": LIVELY}, **options)
        agents = [{"address": AGENT, "name": "bot"}, {"address": WATCHDOG, "name": "watchdog"}]
        self._venue_options["accounts"] = {"accounts": [{"address": USER, "usd": 10_000, "agents": agents}]}

    def write_config(self) -> None:
        write_settings(self.venue, self.folder)  # for the keys
        super().write_config()

    def step_until_held(self, count: int = 12) -> None:
        """Step by 15m closes until the venue has a position with a stop."""
        for _ in range(count):
            self.step("15m")
            self.step("1m")
            if held(self.venue) and any(row["orderType"] == "Stop Market" for row in resting(self.venue)):
                return
        raise AssertionError(f"no position in {count} closes: {self.talk[-2000:]}")


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveRig]:
    """A daemon with a position and its stop."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with LiveRig(tmp_path / "live") as rig:
        rig.start()
        rig.step_until_held()
        yield rig


def booked(rig: LiveRig) -> dict[str, Decimal]:
    """Return what the stored fills add up to, by coin."""
    totals: dict[str, Decimal] = {}
    for symbol, side, size in rig.rows("SELECT symbol, side, size FROM fills WHERE source = 'live'"):
        totals[symbol] = totals.get(symbol, Decimal(0)) + Decimal(size) * (1 if side == "buy" else -1)
    return {symbol: total for symbol, total in totals.items() if total}


def test_kill_flatten_without_the_daemon_is_flat_and_the_next_start_books_it(live: LiveRig) -> None:
    """SIGKILL; flat at the venue by the command line; reconcile says that they are behind; the start settles it."""
    assert booked(live) == held(live.venue)
    live.kill()
    before = live.rows("SELECT count(*) FROM fills")
    ran = live.perpbot("kill", "--flatten", "--yes", "--reason", "the daemon died")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (held(live.venue), resting(live.venue)) == ({}, [])
    assert live.rows("SELECT count(*) FROM fills") == before, "the command line does not write the database"
    shown = live.perpbot("reconcile")
    assert shown.returncode == 1
    assert "a fill since explains it; the daemon books it at its next start" in shown.stdout

    live.start()
    state = live.step("1m")
    assert (state.status, state.positions) == ("KILLED", ())
    assert booked(live) == {}
    assert live.stop() == 0
    assert live.perpbot("reconcile").returncode == 0


def test_take_over_of_a_hung_daemon_is_flat(live: LiveRig) -> None:
    """SIGSTOP: it holds both locks and answers nobody; ended, its key taken over, flat by the venue's own books."""
    assert live.process is not None
    live.process.send_signal(signal.SIGSTOP)
    try:
        hung = live.perpbot("kill", "--flatten", "--yes")
        assert hung.returncode == 1
        assert "if it hangs, add --take-over" in hung.stdout
        assert held(live.venue), "nothing is done behind the back of a process that lives"
        ran = live.perpbot("kill", "--take-over", "--flatten", "--yes", timeout_s=60)
    finally:
        live.process.send_signal(signal.SIGCONT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (held(live.venue), resting(live.venue)) == ({}, [])
    assert live.process.wait(10) == -signal.SIGKILL


def test_kill_beside_a_living_daemon_is_told_to_it(live: LiveRig) -> None:
    """The daemon acts, not the command line: the signer's lock is its own."""
    ran = live.perpbot("kill")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "at the venue" not in ran.stdout
    assert live.state().status == "KILLED"
    shown = live.perpbot("reconcile", "--apply", "--yes")
    assert "nothing applied: a daemon lives" in shown.stderr
    assert live.stop() == 0


def test_a_stop_that_the_watchdog_armed_is_taken_over_by_the_next_start(live: LiveRig) -> None:
    """The dead daemon's stop is gone by the owner's hand; armed at its price; afterwards the daemon protects again."""
    live.kill()
    (stop,) = [row for row in resting(live.venue) if row["orderType"] == "Stop Market"]
    asset = {"BTC": 0, "ETH": 1}[stop["coin"]]
    cancel = {"type": "cancel", "cancels": [{"a": asset, "o": stop["oid"]}]}
    live.venue.set_faults(act={"user": USER, "action": cancel})
    by_hand(live.venue, limit(live.venue, 0.8))
    dog = _watchdog(live)
    try:
        live_stops = _stops(live)
        assert [row["triggerPx"] for row in live_stops] == [stop["triggerPx"]]
        assert [row["coin"] for row in resting(live.venue)] == [stop["coin"]], "no entry rests"
    finally:
        dog.terminate()
        assert dog.wait(15) == 0
    live.start()
    state = live.step("1m")
    (position,) = state.positions
    assert (position.symbol, position.stop_px) == (stop["coin"], float(stop["triggerPx"]))
    mine = [row for row in _stops(live) if row["cloid"] != live_stops[0]["cloid"]]
    assert [Decimal(row["triggerPx"]) for row in mine] == [Decimal(stop["triggerPx"])]
    assert live.stop() == 0


def _stops(rig: LiveRig) -> list[dict[str, Any]]:
    return [row for row in resting(rig.venue) if row["orderType"] == "Stop Market"]


def _watchdog(rig: LiveRig) -> Any:
    """Run a watchdog until the account is safe."""
    import subprocess
    import time

    out = rig.folder / "watchdog.out"
    with out.open("wb") as output:
        dog = subprocess.Popen(
            rig.command("watchdog", "--after", "0.5"), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    deadline = time.monotonic() + 20
    while "the account is safe" not in out.read_text():
        assert dog.poll() is None, out.read_text()
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.05)
    return dog
