"""The venue thread: each command is answered, whatever breaks; what is not known is found out, never sent again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from perp_bot.core.account_events import AccountEvent, ActionAnswered, ActionOutcome, ActionSettled, OrderAsked
from perp_bot.core.errors import VenueAway
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.live.answers import Answered, Done
from perp_bot.execution.live.commands import AskForOrder, SendAction
from perp_bot.execution.live.nonces import NonceCounter
from perp_bot.execution.live.sender import Accepted, NotSent, Outcome
from perp_bot.execution.venue_thread import VenueThread

CLOID = "0x" + "a" * 32
ACTION = {"type": "order", "orders": [], "grouping": "na"}
WITHIN_S = 10.0


class Venue:
    """Stands for sender and reads: `answers` gives each action's outcome, or raises."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.answer: Callable[[str, int], Outcome] = lambda kind, nonce: Accepted((Answered(None, Done()),))
        self.reads_fail = 0

    def sign_and_post(self, action: Mapping[str, Any], nonce: int, expires: int | None, **options: object) -> Outcome:
        self.sent.append((action["type"], nonce))
        return self.answer(action["type"], nonce)

    def close(self) -> None:
        """Nothing is open."""

    def order(self, cloid: str, cls: RequestClass) -> None:
        """Return None: the venue knows of no order."""
        if self.reads_fail > 0:
            self.reads_fail -= 1
            raise VenueAway("away")

    def open_orders(self, cls: RequestClass) -> tuple[()]:
        return ()

    def fills_since(self, since_ms: int, cls: RequestClass) -> tuple[()]:
        return ()


@pytest.fixture
def venue() -> Venue:
    """A venue that takes everything."""
    return Venue()


@pytest.fixture
def events() -> queue.Queue[AccountEvent]:
    """What the loop would hear."""
    return queue.Queue()


@pytest.fixture
def thread(venue: Venue, events: queue.Queue[AccountEvent], tmp_path: Path) -> Iterator[VenueThread]:
    """A running venue thread of two workers; the first is for protection and exits."""
    counter = NonceCounter(tmp_path, "0x" + "0" * 40)
    found = VenueThread(new_sender=lambda: venue, reads=venue, nonces=counter, put_event=events.put, workers=2)  # type: ignore[arg-type,return-value]
    found.start()
    yield found
    found.stop()


def heard(events: queue.Queue[AccountEvent], kind: type[AccountEvent]) -> Any:
    """Return the next event of a kind."""
    while True:
        event = events.get(timeout=WITHIN_S)
        if isinstance(event, kind):
            return event


def test_an_entry_without_an_answer_holds_up_no_stop(
    thread: VenueThread, venue: Venue, events: queue.Queue[AccountEvent]
) -> None:
    """The one worker that takes entries hangs; a stop goes out all the same, another entry waits."""
    hangs = threading.Event()
    first = threading.Event()

    def answer(kind: str, nonce: int) -> Outcome:
        if not first.is_set():
            first.set()
            assert hangs.wait(WITHIN_S)
        return Accepted((Answered(None, Done()),))

    venue.answer = answer
    thread.put(SendAction(1, ACTION, RequestClass.ENTRY))
    assert first.wait(WITHIN_S)
    thread.put(SendAction(2, ACTION, RequestClass.ENTRY))
    thread.put(SendAction(3, ACTION, RequestClass.PROTECTIVE))
    assert heard(events, ActionAnswered).number == 3
    assert not thread.is_idle()
    hangs.set()
    assert {heard(events, ActionAnswered).number for _ in range(2)} == {1, 2}


def test_what_breaks_while_sending_is_asked_for(
    thread: VenueThread, venue: Venue, events: queue.Queue[AccountEvent]
) -> None:
    """The request may have left: a noop under its nonce proves that it has not, and nothing is sent again."""

    def answer(kind: str, nonce: int) -> Outcome:
        if kind == "order":
            raise RuntimeError("a fault of ours")
        return Accepted((Answered(None, Done()),))

    venue.answer, venue.reads_fail = answer, 1
    thread.put(SendAction(1, ACTION, RequestClass.ENTRY, (CLOID,)))
    assert heard(events, ActionAnswered).outcome is ActionOutcome.UNKNOWN
    settled = heard(events, ActionSettled)
    assert (settled.number, settled.never) == (1, (CLOID,))
    (_, nonce), *later = venue.sent
    assert later == [("noop", nonce)]


def test_after_a_429_the_same_nonce_goes_out_again(
    thread: VenueThread, venue: Venue, events: queue.Queue[AccountEvent]
) -> None:
    """Whatever answered may stand before the venue: taken twice, the second would be refused."""
    left = [2]

    def answer(kind: str, nonce: int) -> Outcome:
        left[0] -= 1
        return NotSent("429", reached_venue=True) if left[0] >= 0 else Accepted((Answered(None, Done()),))

    venue.answer = answer
    thread.put(SendAction(1, ACTION, RequestClass.PROTECTIVE, (CLOID,)))
    assert heard(events, ActionAnswered).outcome is ActionOutcome.ACCEPTED
    assert len(venue.sent) == 3
    assert len({nonce for _, nonce in venue.sent}) == 1


def test_no_connection_is_told_at_once(thread: VenueThread, venue: Venue, events: queue.Queue[AccountEvent]) -> None:
    """Nothing can have left: the loop decides anew, under another id and nonce."""
    venue.answer = lambda kind, nonce: NotSent("no connection")
    thread.put(SendAction(1, ACTION, RequestClass.ENTRY, (CLOID,)))
    assert heard(events, ActionAnswered).outcome is ActionOutcome.NOT_SENT
    assert len(venue.sent) == 1


def test_a_read_is_answered_and_then_nothing_is_under_way(
    thread: VenueThread, events: queue.Queue[AccountEvent]
) -> None:
    """Who waits for the venue to owe nothing may go on."""
    thread.put(AskForOrder(1, CLOID, RequestClass.PROTECTIVE))
    assert heard(events, OrderAsked) == OrderAsked(CLOID, None)
    idle = threading.Event()
    for _ in range(1_000):
        if thread.is_idle():
            idle.set()
            break
        idle.wait(0.005)
    assert idle.is_set()


def test_a_nonce_that_cannot_be_written_down_is_told_once_and_used(
    venue: Venue, events: queue.Queue[AccountEvent], caplog: pytest.LogCaptureFixture
) -> None:
    """The disk fails, the stops go out: one line in the log, not one an action."""

    class Failing:
        trouble = "the nonce file cannot be written: no space left"
        last = 1_700_000_000_000

        def take(self) -> int:
            self.last += 1
            return self.last

    thread = VenueThread(new_sender=lambda: venue, reads=venue, nonces=Failing(), put_event=events.put, workers=1)  # type: ignore[arg-type,return-value]
    thread.start()
    for number in (1, 2):
        thread.put(SendAction(number, ACTION, RequestClass.PROTECTIVE))
        assert heard(events, ActionAnswered).number == number
    thread.stop()
    assert [record.message for record in caplog.records if "nonce" in record.message] == [
        "the nonce file cannot be written: no space left; nonces are counted on in memory"
    ]
