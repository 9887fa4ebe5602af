"""The queue of one channel and the limits of its messages, with time handed in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perp_bot.ops.alert_queue import AlertKind, AlertQueue, Line, SlidingWindow


def line(kind: AlertKind, text: str = "x", symbol: str | None = "BTC") -> Line:
    return Line(kind, symbol, text, 0)


def test_equal_lines_that_wait_are_counted_not_repeated() -> None:
    """Three equal alerts are one line, ×3."""
    queue = AlertQueue()
    for _ in range(3):
        queue.put(line(AlertKind.STOP, "stopped at 100"))
    taken = queue.take(0.0, 10)
    assert [(item.text, item.count) for item in taken] == [("stopped at 100", 3)]


def test_alerts_about_money_with_different_texts_are_each_kept() -> None:
    """Two fills are two lines; of reconnects the newest says all."""
    queue = AlertQueue()
    for text in ("long 0.1", "long 0.2"):
        queue.put(line(AlertKind.OPEN, text))
        queue.put(line(AlertKind.RECONNECT, f"after {text}"))
    assert [(item.text, item.count) for item in queue.take(0.0, 10)] == [
        ("long 0.1", 1),
        ("long 0.2", 1),
        ("after long 0.2", 2),
    ]


def test_a_repeat_of_what_was_just_sent_waits_for_the_window() -> None:
    """Sent at 0, the same again at 1 is due at 60; another line is due at once."""
    queue = AlertQueue()
    queue.put(line(AlertKind.HALTED, "daily loss"))
    queue.delivered(queue.take(0.0, 10), 0.0)
    queue.put(line(AlertKind.HALTED, "daily loss"))
    assert queue.seconds_until_due(1.0) == 59.0
    assert queue.take(1.0, 10) == ()
    queue.put(line(AlertKind.KILLED, "by operator"))
    assert queue.seconds_until_due(1.0) == 0.0
    assert [item.kind for item in queue.take(60.0, 10)] == ["HALTED", "KILLED"]


def test_at_the_end_repeats_are_held_back_no_longer() -> None:
    """A daemon that stops sends what it has."""
    queue = AlertQueue()
    queue.put(line(AlertKind.STOP))
    queue.delivered(queue.take(0.0, 10), 0.0)
    queue.put(line(AlertKind.STOP))
    queue.hurry()
    assert queue.seconds_until_due(1.0) == 0.0


def test_a_full_queue_drops_routine_lines_first_and_says_how_many() -> None:
    """A flood of reconnects of 100 coins never pushes out a kill."""
    queue = AlertQueue(capacity=4)
    queue.put(line(AlertKind.KILLED))
    for number in range(100):
        queue.put(line(AlertKind.RECONNECT, symbol=f"C{number}"))
    kinds = [item.kind for item in queue.take(0.0, 10)]
    assert kinds == ["KILLED", "RECONNECT", "RECONNECT", "RECONNECT"]
    assert (queue.dropped, queue.untold_drops()) == (97, 97)


def test_what_could_not_be_sent_waits_again_in_front() -> None:
    """An outage keeps the order and merges repeats."""
    queue = AlertQueue()
    queue.put(line(AlertKind.OPEN, "first"))
    queue.put(line(AlertKind.OPEN, "second"))
    queue.take(0.0, 1)
    queue.put(line(AlertKind.OPEN, "first"))
    assert queue.waiting == 3
    queue.give_back()
    assert [(item.text, item.count) for item in queue.take(0.0, 10)] == [("first", 2), ("second", 1)]


def test_refused_lines_are_dropped_and_the_rest_waits() -> None:
    """What did not fit into the refused message is not lost with it."""
    queue = AlertQueue()
    queue.put(line(AlertKind.OPEN, "first"))
    queue.put(line(AlertKind.OPEN, "second"))
    queue.give_up(queue.take(0.0, 10)[:1])
    assert [item.text for item in queue.take(0.0, 10)] == ["second"]
    assert queue.dropped == 1


@given(st.lists(st.floats(0.0, 3.0), max_size=120))
def test_no_window_ever_holds_more_messages_than_allowed(gaps: list[float]) -> None:
    """Whenever messages come, waiting as told keeps 1 a second and 20 a minute."""
    window = SlidingWindow(((1, 1.0), (20, 60.0)))
    now_s, sent = 0.0, []
    for gap in gaps:
        now_s += gap
        now_s += window.wait_s(now_s)
        window.note(now_s)
        sent.append(now_s)
    for index, at_s in enumerate(sent):
        assert index < 1 or at_s - sent[index - 1] >= 1.0 - 1e-9
        assert index < 20 or at_s - sent[index - 20] >= 60.0 - 1e-6


def test_the_first_messages_of_a_quiet_channel_go_at_once() -> None:
    """Five messages in two seconds are allowed without waiting; the sixth waits for the first to leave the window."""
    window = SlidingWindow(((5, 2.0),))
    for _ in range(5):
        assert window.wait_s(10.0) == 0.0
        window.note(10.0)
    assert window.wait_s(10.5) == 1.5
