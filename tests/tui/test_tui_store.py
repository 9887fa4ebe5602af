"""The reducer and the connection's state machine, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest
from fake_daemon import T0_MS, a_snapshot

from perp_bot.ipc.state import Ages, EventNote
from perp_bot.tui.store import (
    Connection,
    Facts,
    FrameArrived,
    Heard,
    History,
    Link,
    LinkChanged,
    NoteArrived,
    Outcome,
    OutcomeState,
    Presence,
    Slept,
    ViewState,
    bot_status,
    connection,
    lens,
    protocol_mismatch,
    reduce,
)

FACTS = Facts("paper", "practice", "paper", "/s", "/d", "/l", "perpbot")


def fresh(*facts: Any) -> ViewState:
    """Return the view after `facts`, started at second 0."""
    view = ViewState(FACTS, started_s=0.0)
    for fact in facts:
        view = reduce(view, fact)
    return view


def a_frame(at_s: float, *, age_s: float = 0.0, **changes: Any) -> FrameArrived:
    """Return a frame received at `at_s`."""
    return FrameArrived(a_snapshot(**changes), age_s, at_s)


def a_presence(at_s: float, pid: int | None, latched: str | None = None) -> Presence:
    """Return what the lock says at `at_s`."""
    return Presence(at_s, pid, None, latched, None, T0_MS)


OPEN = LinkChanged(Link.OPEN, 1.0)


def test_before_anything_is_known_it_is_connecting() -> None:
    """CONNECTING names the socket and counts the seconds."""
    found = connection(fresh(LinkChanged(Link.CONNECTING, 0.0)), 3.0)
    assert (found.state, found.age_s) == (Connection.CONNECTING, 3.0)
    assert "/s" in found.text


@pytest.mark.parametrize(
    ("silent_s", "expected"),
    [(0.0, "LIVE"), (2.0, "LIVE"), (2.1, "LATE"), (5.0, "LATE"), (5.1, "STALE"), (6.0, "STALE"), (600.0, "STALE")],
)
def test_silence_turns_live_into_late_into_stale(silent_s: float, expected: str) -> None:
    """SIGSTOP of the daemon is STALE within 6 s: frames on time up to 2 s, late up to 5 s, then stale."""
    assert connection(fresh(OPEN, a_frame(1.0)), 1.0 + silent_s).state.value == expected


def test_a_hung_loop_behind_a_healthy_socket_is_unresponsive() -> None:
    """The heartbeat keeps coming with an age that grows: UNRESPONSIVE once the loop is older than 10 s."""
    ages = Ages(loop_s=0.4, stream_s=0.1, reconcile_s=None, db_write_s=None)
    assert connection(fresh(OPEN, a_frame(20.0, age_s=9.5, ages=ages)), 20.0).state is Connection.LIVE
    found = connection(fresh(OPEN, a_frame(20.0, age_s=9.7, ages=ages)), 20.0)
    assert (found.state, found.age_s) == (Connection.UNRESPONSIVE, pytest.approx(10.1))


def test_replies_without_state_frames_do_not_keep_values_fresh() -> None:
    """A daemon that answers but sends no state is silent as far as the values go."""
    view = fresh(OPEN, a_frame(1.0), Heard(9.0))
    assert connection(view, 9.1).state is Connection.STALE


def test_a_daemon_that_was_silent_too_long_is_stale_and_not_unresponsive() -> None:
    """Which half is dead is said only when it is known: a silent socket says nothing about the loop."""
    assert connection(fresh(OPEN, a_frame(1.0)), 30.0).state is Connection.STALE


def test_a_closed_connection_is_lost_with_its_reason_and_the_next_try() -> None:
    """LOST shows why and when it tries again."""
    view = fresh(OPEN, a_frame(1.0), LinkChanged(Link.CLOSED, 5.0, "the daemon closed the connection", 0.25))
    found = connection(view, 6.0)
    assert (found.state, found.age_s, found.text) == (Connection.LOST, 1.0, "the daemon closed the connection")
    assert view.retry_at_s == 5.25


def test_refused_with_a_free_lock_is_not_running() -> None:
    """NOT RUNNING needs the lock's word, read after the refusal."""
    refused = LinkChanged(Link.REFUSED, 5.0, "no socket at /s", 1.0)
    assert connection(fresh(refused, a_presence(4.0, None)), 6.0).state is Connection.LOST
    assert connection(fresh(refused, a_presence(5.5, None)), 6.0).state is Connection.NOT_RUNNING


def test_refused_with_a_held_lock_is_ipc_down_and_names_the_pid() -> None:
    """A process that lives without its socket is another thing than one that is gone."""
    found = connection(fresh(LinkChanged(Link.REFUSED, 5.0, "no socket at /s", 1.0), a_presence(5.5, 4242)), 6.0)
    assert found.state is Connection.IPC_DOWN
    assert "4242" in found.text


def test_a_retry_does_not_make_the_word_flicker() -> None:
    """While it tries again the last failure stays on screen, and its age runs on."""
    view = fresh(LinkChanged(Link.REFUSED, 5.0, "r", 1.0), a_presence(5.5, None), LinkChanged(Link.CONNECTING, 6.0))
    view = reduce(view, LinkChanged(Link.REFUSED, 6.1, "r", 2.0))
    found = connection(view, 7.0)
    assert (found.state, found.age_s) == (Connection.NOT_RUNNING, 2.0)


def test_another_protocol_is_incompatible_and_names_both_versions() -> None:
    """Both versions and what to upgrade are named."""
    assert protocol_mismatch(1) is None
    newer, older = protocol_mismatch(2), protocol_mismatch(None)
    assert newer is not None
    assert "protocol 2, this dashboard 1; upgrade this dashboard" in newer
    assert older is not None
    assert "upgrade the daemon" in older
    assert connection(fresh(LinkChanged(Link.INCOMPATIBLE, 1.0, newer)), 2.0).state is Connection.INCOMPATIBLE


def test_an_overtaken_frame_is_dropped_and_a_new_boot_replaces_everything() -> None:
    """Newest wins within a boot; another boot id starts over even with a lower number."""
    view = fresh(OPEN, a_frame(1.0, seq=8), a_frame(1.1, seq=7, status="PAUSED"))
    assert view.frame is not None
    assert view.frame.snapshot.status == "RUNNING"
    assert view.heard_s == 1.1
    view = reduce(view, a_frame(1.2, seq=1, boot_id="boot-2", status="STARTING"))
    assert view.frame is not None
    assert view.frame.snapshot.status == "STARTING"


def test_after_a_sleep_everything_is_stale_until_the_next_frame() -> None:
    """Suspend and resume: nothing from before may look alive."""
    view = fresh(OPEN, a_frame(1.0), Slept(1.1))
    assert connection(view, 1.2).state is Connection.STALE
    assert lens(view, 1.2).all_stale
    assert connection(reduce(view, a_frame(1.3, seq=2)), 1.4).state is Connection.LIVE


@pytest.mark.parametrize("link", [Link.CLOSED, Link.REFUSED, Link.INCOMPATIBLE, Link.DENIED])
def test_without_a_connection_no_value_looks_alive(link: Link) -> None:
    """The lens is stale in every state but LIVE and LATE."""
    view = fresh(OPEN, a_frame(1.0), LinkChanged(link, 1.1, "gone"))
    assert lens(view, 1.2).all_stale


def test_the_kill_latch_on_disk_is_believed_when_no_daemon_answers() -> None:
    """A latch that lies there kills the next start too, so the header says KILLED."""
    refused = LinkChanged(Link.REFUSED, 2.0, "no socket", 1.0)
    assert bot_status(fresh(OPEN, a_frame(1.0), refused, a_presence(2.5, None, "killed by cli: test"))) == "KILLED"
    assert bot_status(fresh(OPEN, a_frame(1.0), refused, a_presence(2.5, None))) == "RUNNING"
    assert bot_status(fresh()) == "?"


def test_events_and_outcomes_are_kept_newest_first_and_bounded() -> None:
    """Nothing the daemon sends can grow the viewer without bound."""
    view = fresh(*(NoteArrived(EventNote(number, "OPEN", None, "x"), 1.0) for number in range(300)))
    assert len(view.notes) == 200
    assert view.notes[0].venue_ms == 299
    sent = Outcome(1, "KILL", OutcomeState.SENT, "", 1.0, T0_MS)
    view = fresh(sent, Outcome(1, "KILL", OutcomeState.DONE, "", 2.0, T0_MS))
    assert [(item.key, item.state.value) for item in view.outcomes] == [(1, "DONE")]


def test_a_failed_read_keeps_the_rows_and_says_why() -> None:
    """History that was read stays, labelled with the error."""
    view = fresh(History(1.0, positions=("kept",)), History(2.0, error="database is locked"))  # type: ignore[arg-type]
    assert view.history is not None
    assert (view.history.positions, view.history.error, view.history.read_s) == (("kept",), "database is locked", 1.0)
