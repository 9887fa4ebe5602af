"""The small rooms: answers that are owed, notes, lag, newest prices, venue health, the batch that is split."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from desk_rig import HEALTHY, START, DeskRig

from perp_bot.core.errors import IpcError, StoreError
from perp_bot.core.events import ClockFrame, StreamStatus
from perp_bot.core.types import AssetContext, Book, OrderSide, PublicTrade
from perp_bot.ipc.control import Outcome
from perp_bot.ipc.protocol import ControlResult
from perp_bot.trading.answers import Later, OwedAnswers
from perp_bot.trading.lag import LagMeter
from perp_bot.trading.market_state import MarketState
from perp_bot.trading.queue import Batch, EventQueue
from perp_bot.trading.venue_health import venue_trouble

# ---------------------------------------------------------------- answers


def test_an_owed_answer_is_given_once_when_it_is_known(rig: DeskRig) -> None:
    """Each pass looks; the first result is the answer."""
    answers: list[Outcome] = []
    looks: list[bool] = []

    def look(is_last: bool) -> ControlResult | None:
        looks.append(is_last)
        return ControlResult("done", "now") if len(looks) == 3 else None

    owed = OwedAnswers()
    owed.owe(rig.request("pause", answers), Later(look))
    for _ in range(5):
        owed.look()
    assert looks == [False, False, False]
    assert [a.text for a in answers if isinstance(a, ControlResult)] == ["now"]
    assert len(owed) == 0


def test_the_last_look_comes_when_time_is_up_and_at_the_end(rig: DeskRig) -> None:
    """Nobody is left without an answer."""
    answers: list[Outcome] = []
    owed = OwedAnswers(within_s=0.0)
    owed.owe(rig.request("pause", answers), Later(lambda is_last: ControlResult("unknown", str(is_last))))
    owed.look()
    owed.owe(rig.request("pause", answers), Later(lambda is_last: None))
    owed.owe(rig.request("pause", answers), Later(lambda is_last: ControlResult("unknown", "end")))
    owed.settle()
    assert [a.text if isinstance(a, ControlResult) else "error" for a in answers] == ["True", "error", "end"]


# ---------------------------------------------------------------- notes and journal


def test_a_note_reaches_log_store_dashboard_and_alerts(rig: DeskRig, caplog: pytest.LogCaptureFixture) -> None:
    """Told once, everywhere; only what matters is alerted."""
    caplog.set_level("INFO")
    rig.notes.say("OPEN", "LONG 1 BTC", START, "BTC")
    rig.notes.say("CANCELLED", "entry", START, "BTC")
    assert rig.rows("SELECT kind, symbol, text FROM events WHERE kind IN ('OPEN', 'CANCELLED')") == [
        ("OPEN", "BTC", "LONG 1 BTC"),
        ("CANCELLED", "BTC", "entry"),
    ]
    assert "OPEN LONG 1 BTC" in caplog.text
    assert [note.kind for note in rig.events] == ["OPEN", "CANCELLED"]
    assert rig.alerts == ["OPEN"]


def test_an_emergency_journal_that_cannot_be_cleared_is_said_and_no_storm(
    rig: DeskRig, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop goes on."""

    def refuse() -> None:
        raise StoreError("read-only")

    rig.writer.emergency_clear = refuse  # type: ignore[method-assign]
    rig.journal.note_emergency()
    rig.flush()
    for _ in range(3):
        rig.journal.look_after_emergency()
    assert caplog.text.count("cannot be cleared") == 1


def test_an_emergency_journal_that_fails_too_does_not_stop_the_exit(rig: DeskRig) -> None:
    """The order goes out whatever can be written."""

    def refuse(row: dict[str, object]) -> None:
        raise StoreError("full")

    rig.enter("BTC")
    rig.writer.emergency_append = refuse  # type: ignore[method-assign]
    rig.writer.error = StoreError("full")
    rig.commit("close", symbol="BTC")
    assert rig.desk.account.positions == ()


def test_the_age_of_the_last_commit_is_known_after_one(rig: DeskRig) -> None:
    """Shown in the header."""
    rig.flush()
    assert rig.journal.last_commit_age_s is not None


# ---------------------------------------------------------------- lag and prices


def test_lag_percentiles_of_the_newest_passes() -> None:
    """100 lags 1..100: the median is 51, the 95th share 96; none before the first."""
    meter = LagMeter()
    assert meter.percentile(0.5) is None
    for lag in range(1, 101):
        meter.add(float(lag))
    assert (meter.percentile(0.5), meter.percentile(0.95), meter.percentile(1.0), len(meter)) == (
        51.0,
        96.0,
        100.0,
        100,
    )


@pytest.mark.parametrize("mark", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_mark_that_is_no_price_is_passed_over(mark: float) -> None:
    """The last good one stays, and its age tells."""
    state = MarketState()
    good = AssetContext("BTC", 1, 100.5, 100.0, None, None, None, None)
    state.take_context(good)
    state.take_context(replace(good, mark_px=mark))
    assert state.context("BTC") == good
    assert dict(state.marks()) == {"BTC": Decimal("100.5")}
    assert state.mark_age_s("BTC") is not None
    assert (state.mark_age_s("ETH"), state.book_age_s("ETH"), state.book("ETH")) == (None, None, None)


def test_the_newest_book_is_kept_with_its_age() -> None:
    """Books are latest values."""
    state = MarketState()
    state.take_book(Book("BTC", 1, (), ()))
    state.take_book(Book("BTC", 2, (), ()))
    book = state.book("BTC")
    assert book is not None
    assert book.venue_ms == 2
    assert state.book_age_s("BTC") is not None


# ---------------------------------------------------------------- venue health

FRESH = {"BTC": 0.1}


def test_a_healthy_venue_is_no_trouble() -> None:
    """At real speed and at `step`."""
    assert venue_trouble(HEALTHY, FRESH, up_s=100, speed=1.0) is None
    assert venue_trouble(replace(HEALTHY, last_message_age_s=500.0), {"BTC": 500.0}, up_s=600, speed=None) is None


@pytest.mark.parametrize(
    ("health", "ages", "words"),
    [
        (replace(HEALTHY, connected=False, last_stream_problem="refused"), FRESH, "away: refused"),
        (replace(HEALTHY, last_message_age_s=31.0), FRESH, "silent: last message 31 s ago"),
        (HEALTHY, {"BTC": 16.0}, "the mark of BTC is 16 s old"),
        (HEALTHY, {"BTC": None}, "no mark of BTC has come"),
        (replace(HEALTHY, rest_ok=False, last_rest_error="502"), FRESH, "REST reads fail: 502"),
        (replace(HEALTHY, clock_skew_ms=-2_500.0), FRESH, "-2.5 s from where it should be"),
    ],
)
def test_what_is_wrong_with_the_venue_is_said_in_one_sentence(health: object, ages: object, words: str) -> None:
    """Each by its own words, with the limit where there is one."""
    assert words in str(venue_trouble(health, ages, up_s=100, speed=1.0))  # type: ignore[arg-type]


def test_a_stream_on_its_way_up_is_no_trouble_for_two_seconds() -> None:
    """Right after a start."""
    away = replace(HEALTHY, connected=False)
    assert venue_trouble(away, {"BTC": None}, up_s=1.0, speed=1.0) is None
    assert venue_trouble(away, {"BTC": None}, up_s=3.0, speed=1.0) is not None


def test_skew_is_measured_at_the_venues_speed() -> None:
    """600 times as fast, two seconds of wall time are 1,200 of the venue's."""
    fast = replace(HEALTHY, clock_skew_ms=100_000.0)
    assert venue_trouble(fast, FRESH, up_s=100, speed=600.0) is None


# ---------------------------------------------------------------- the queue


def test_a_batch_is_split_by_the_time_of_its_market_data() -> None:
    """Marks, books and trades up to the moment on one side; the rest, events and the frame on the other."""

    def context(at: int) -> AssetContext:
        return AssetContext("BTC", at, 1.0, 1.0, None, None, None, None)

    def trade(at: int) -> PublicTrade:
        return PublicTrade("BTC", at, 1.0, 1.0, OrderSide.BUY, at)

    def book(at: int, symbol: str = "BTC") -> Book:
        return Book(symbol, at, (), ())

    batch = Batch(
        contexts={"BTC": (context(1), context(5), context(9))},
        books={"BTC": book(9), "ETH": book(4, "ETH"), "SOL": book(9, "SOL")},
        first_books={"BTC": book(3), "ETH": book(2, "ETH"), "SOL": book(6, "SOL")},
        trades=[trade(5), trade(6)],
        events=[StreamStatus(True, 0, "x")],
        frame=ClockFrame(10),
    )
    early, late = batch.split(5)
    assert [c.venue_ms for c in early.contexts["BTC"]] == [1, 5]
    assert [c.venue_ms for c in late.contexts["BTC"]] == [9]
    assert {s: b.venue_ms for s, b in early.books.items()} == {"BTC": 3, "ETH": 4}
    assert {s: b.venue_ms for s, b in early.first_books.items()} == {"ETH": 2}
    assert {s: b.venue_ms for s, b in late.books.items()} == {"BTC": 9, "SOL": 9}
    assert {s: b.venue_ms for s, b in late.first_books.items()} == {"SOL": 6}
    assert ([t.tid for t in early.trades], [t.tid for t in late.trades]) == ([5], [6])
    assert (early.events, early.frame, late.events, late.frame) == ([], None, batch.events, batch.frame)


def test_events_overflow_is_said_once_and_older_events_stay() -> None:
    """Bounded, lossless until the bound, never silent."""
    queue = EventQueue(max_events=2)
    for number in range(5):
        queue.put_event(StreamStatus(True, number, "x"))
    batch = queue.take(0)
    assert [type(event).__name__ for event in batch.events] == ["StreamStatus", "StreamStatus", "FeedOverflow"]


def test_too_many_unanswered_controls_are_refused(rig: DeskRig) -> None:
    """A loop that hangs is not buried."""
    queue = EventQueue()
    request = rig.request("pause", [])
    for _ in range(1_000):
        queue.submit(request)
    with pytest.raises(OverflowError, match="1,000 unanswered"):
        queue.submit(request)
    assert len(queue.take(0).controls) == 1_000
    assert IpcError("x").code == "refused"


def test_a_spike_keeps_the_first_book_to_be_priced_from() -> None:
    """Two books between two reads: the older one and the newest reach the loop."""
    queue = EventQueue()
    for at in (1, 2, 3):
        queue.put_book(Book("BTC", at, (), ()))
    batch = queue.take(0)
    assert (batch.first_books["BTC"].venue_ms, batch.books["BTC"].venue_ms) == (1, 3)
