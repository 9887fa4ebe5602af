"""Faults of a venue whose clock runs: a silent socket, sockets cut again and again, latencies, a clock that is off."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from live_rig import LiveRig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(150), pytest.mark.xdist_group("live clock")]

SETTINGS = {
    "signals": {
        "zscore_entry_threshold": 0.4, "zscore_exit_threshold": 0.3, "zscore_stop_threshold": 9.0,
        "bollinger_std": 0.4, "rsi_overbought": 50.5, "rsi_oversold": 49.5, "adx_threshold": 100.0,
    },
    "trading": {"symbols": ["ETH"]},
    "data": {"close_confirm_timeout_seconds": 0.5, "primary_timeframe": "1m", "timeframes": ["1m", "15m"]},
    "risk": {"cooldown_seconds": 60, "position_timeout_hours": 0.1, "session_drawdown_pct": 0.9},
}  # fmt: skip
LATENCY = {"delay_ms": {"mean": 60, "p95": 200}, "late_answer_ms": {"mean": 60, "p95": 200}}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRig]:
    """A daemon that trades 1m candles of one coin, one a second; the tests follow one another on it."""
    with LiveRig(tmp_path_factory.mktemp("live"), speed=60.0, start="430", settings=SETTINGS, name="running") as rig:
        rig.spawn()
        rig.until("the daemon runs", rig.is_answering, 30.0)
        await_trips(rig, 1)
        yield rig
        assert rig.stop() == 0


def await_trips(rig: LiveRig, count: int, timeout_s: float = 60.0) -> None:
    """Wait until `count` more round trips are made at the venue."""
    wanted = rig.seen.round_trips + count
    rig.until(f"{count} round trips", lambda: rig.seen.round_trips >= wanted, timeout_s)


def test_round_trips_while_nothing_is_wrong(live: LiveRig) -> None:
    """The base of the others."""
    await_trips(live, 3)
    live.check()


def test_latencies_as_of_a_far_venue(live: LiveRig) -> None:
    """Requests land late and are answered late, each by a log-normal time."""
    live.venue.set_faults(**LATENCY)
    await_trips(live, 2)
    live.check()
    live.venue.set_faults(clear=True)
    live.check()


def test_sockets_cut_every_few_seconds(live: LiveRig) -> None:
    """Trades go on between the cuts; what the cuts lost is read again."""
    live.venue.set_faults(close_every_s=3)
    await_trips(live, 1)
    live.venue.set_faults(clear=True)
    live.await_status("RUNNING", 45.0)
    live.check()


def test_a_socket_that_is_open_and_says_nothing(live: LiveRig) -> None:
    """No entry from the moment that the silence is noticed; what is held stays covered, and trading resumes."""
    live.venue.set_faults(silent=True)
    live.await_status("DEGRADED", 25.0)
    with live.stale():
        began_s = time.monotonic()
        live.until("ten seconds of silence", lambda: time.monotonic() - began_s > 10.0, 12.0)
        live.check()
    live.venue.set_faults(clear=True)
    live.await_status("RUNNING", 45.0)
    await_trips(live, 1)
    live.check()


@pytest.mark.parametrize("minutes", [10, -10])
def test_a_clock_that_is_off_by_minutes(live: LiveRig, minutes: int) -> None:
    """No entry while it is off; when it is right again, trading resumes and the books agree."""
    live.venue.set_faults(clock_skew_ms=minutes * 60_000)
    live.venue.close_sockets()
    live.await_status("DEGRADED", 30.0)
    with live.stale():
        began_s = time.monotonic()
        live.until("some seconds of it", lambda: time.monotonic() - began_s > 5.0, 7.0)
        live.check()
    live.venue.set_faults(clear=True)
    live.venue.close_sockets()
    live.await_status("RUNNING", 45.0)
    await_trips(live, 1)
    live.check()


def test_latencies_with_lost_answers_and_messages(live: LiveRig) -> None:
    """All of it together, and no doubled order."""
    told = ["orderUpdates", "userFills", "userEvents"]
    live.venue.set_faults(
        **LATENCY,
        lost_answer={"on": ["order", "cancelByCloid"], "times": 6},
        drop={"amount": 0.4, "on": told},
        duplicate={"amount": 0.4, "on": told},
        reorder={"amount": 0.4, "on": told},
    )
    await_trips(live, 2)
    live.check()
    live.venue.set_faults(clear=True)
    await_trips(live, 1)
    live.check()
