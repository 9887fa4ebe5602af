"""Faults that only a running clock shows: a silent venue, a wrong clock, gaps that REST fills; at speed 60."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig import LIVELY, Rig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.xdist_group("live")]

MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A daemon that decides 1m candles of one coin, one a second; the tests follow one another on it."""
    settings = {
        "signals": {**LIVELY, "zscore_entry_threshold": 0.4, "zscore_exit_threshold": 0.3, "bollinger_std": 0.4},
        "trading": {"symbols": ["ETH"]},
        "data": {"close_confirm_timeout_seconds": 0.5, "primary_timeframe": "1m", "timeframes": ["1m", "15m"]},
        "risk": {"cooldown_seconds": 60, "position_timeout_hours": 0.1, "session_drawdown_pct": 0.9},
    }
    with Rig(tmp_path_factory.mktemp("live"), speed=60.0, start="430", settings=settings) as rig:
        rig.spawn()
        rig.until("the daemon runs", rig.is_answering)
        await_entry_after(rig, 0)
        yield rig
        assert rig.stop() == 0


def closes(rig: Rig) -> list[int]:
    """Return the closes that were decided, oldest first."""
    return [close_ms for (close_ms,) in rig.rows("SELECT close_ms FROM decisions ORDER BY seq")]


def entered(rig: Rig, since_ms: int) -> list[int]:
    """Return the closes after `since_ms` at which an entry was sent."""
    return [
        ms for (ms,) in rig.rows("SELECT close_ms FROM decisions WHERE action = 'enter' AND close_ms > ?", since_ms)
    ]


def await_entry_after(rig: Rig, since_ms: int) -> None:
    """Wait until an entry is decided on a close after `since_ms`: entries are possible in this market."""
    rig.until("an entry", lambda: rig.paths.db.exists() and entered(rig, since_ms), 40.0)


def await_more(rig: Rig, count: int) -> None:
    """Wait until `count` more closes are decided."""
    wanted = len(closes(rig)) + count
    rig.until(f"{count} more decisions", lambda: len(closes(rig)) >= wanted, 30.0)


def test_a_lost_stream_is_filled_by_rest(live: Rig) -> None:
    """Closed while candles pass: the event tells how many REST filled, the counter counts, no candle is missing."""
    live.venue.set_faults(status_502={"on": ["ws"]})
    live.venue.close_sockets()
    live.await_status("DEGRADED")
    await_more(live, 3)  # the venue's clock and REST suffice to close candles
    live.venue.set_faults(clear=True)
    live.until("the reconnect is told", lambda: live.events("RECONNECT"), 40.0)
    live.await_status("RUNNING")
    (told,) = live.events("RECONNECT")
    assert told.startswith("reconnected after ")
    assert " candles filled by REST" in told
    assert int(told.split(" candles filled by REST")[0].split()[-1]) >= 3
    live.until("it is counted", lambda: live.state().counters.stream_reconnects == 1)
    await_more(live, 2)
    assert live.stored_gaps("1m") == []


def test_a_wrong_clock_stops_entries_until_it_is_right_again(live: Rig) -> None:
    """The venue's time jumps ahead by ten minutes: the daemon does not follow, entries stop, and it says why."""
    live.venue.set_faults(clock_skew_ms=600_000)
    live.venue.close_sockets()  # clocks are compared after a reconnect (and every 30 s)
    state = live.await_status("DEGRADED", 30.0)
    live.until(
        "the skew is told",
        lambda: any("clock skew: the venue's time is +" in reason for reason in live.state().status_reasons),
        30.0,
    )
    assert state.as_of_ms < live.venue.now_ms + 300_000, "the daemon did not follow"
    since_ms = closes(live)[-1]
    await_more(live, 5)
    assert entered(live, since_ms) == []

    live.venue.set_faults(clear=True)
    live.venue.close_sockets()
    live.await_status("RUNNING", 45.0)
    await_entry_after(live, closes(live)[-1])


def test_a_silent_venue_stops_entries_though_its_socket_is_open(live: Rig) -> None:
    """No frame comes, not even a pong: DEGRADED within 20 s, the socket is given up, and no entry is made.

    A socket that opens and stays mute is not counted as a reconnect; the first frame is.
    """
    before = live.state().counters.stream_reconnects
    live.venue.set_faults(silent=True)
    live.await_status("DEGRADED", 25.0)
    since_ms = closes(live)[-1]
    live.until(
        "the silent socket is given up",
        lambda: "nothing received for 2" in " ".join(live.state().status_reasons),
        30.0,
    )
    state = live.state()
    assert not state.stream_connected
    assert state.counters.stream_reconnects == before
    assert entered(live, since_ms) == []
    assert closes(live)[-1] > live.venue.now_ms - 5 * MINUTE_MS, "closes are still decided, by clock and REST"

    live.venue.set_faults(clear=True)
    live.await_status("RUNNING", 45.0)
    live.until("it is counted", lambda: live.state().counters.stream_reconnects == before + 1)
    await_entry_after(live, closes(live)[-1])
    assert live.stored_gaps("1m") == []
    assert live.state().account.accounting_error_max_usd < 0.01
