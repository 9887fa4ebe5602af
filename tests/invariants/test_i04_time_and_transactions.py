"""I4, the races behind it: at `step` time is as late as the newest frame handled; a boundary is one transaction."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "trading"))  # the desk on a real queue, journal and database

from desk_rig import HOUR, MINUTE, PX, QUARTER, START, DeskRig

from perp_bot.core.events import ClockFrame
from perp_bot.core.types import BookLevel, Enter, Exit, OrderIntent, Side
from perp_bot.data.db.rows import DecisionRow, FillRow, OrderRow, PositionRow, Row, StateRow


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DeskRig]:
    """A desk that has seen marks and books of both coins at `START`, stepped."""
    with DeskRig(tmp_path) as made:
        made.step(START)
        yield made


def units_of(rig: DeskRig) -> list[tuple[Row, ...]]:
    """Return the transactions that reach the writer from now on."""
    seen: list[tuple[Row, ...]] = []
    put, commit = rig.writer.put, rig.writer.commit

    def put_seen(*rows: Row) -> None:
        if rows:
            seen.append(rows)
        put(*rows)

    def commit_seen(*rows: Row, deadline_s: float) -> None:
        seen.append(rows)
        commit(*rows, deadline_s=deadline_s)

    rig.journal._writer = type("Seen", (), {"__getattr__": lambda _, name: getattr(rig.writer, name)})()
    rig.journal._writer.put = put_seen  # type: ignore[method-assign]
    rig.journal._writer.commit = commit_seen  # type: ignore[method-assign]
    return seen


def test_a_pass_between_clock_and_frame_does_not_use_the_prices_of_a_minute_ago(rig: DeskRig) -> None:
    """The socket thread moves the clock before it seals the minute: an hour's funding must wait for its frame."""
    rig.enter("BTC")
    rig.step(START + HOUR - MINUTE)
    rig.clock.observe(START + HOUR)
    rig.handle()  # the loop's pulse, before the minute's marks
    assert rig.desk.funding_due == {}
    assert rig.desk.handled_ms == START + HOUR - MINUTE
    rig.step(START + HOUR, {"BTC": 101_000.0})
    (due,) = rig.desk.funding_due.values()
    assert float(due.oracle_px) == 101_000.0


def test_after_a_restart_time_begins_where_the_last_run_ended(rig: DeskRig) -> None:
    """The venue has stepped on meanwhile; until its newest minute comes again, no timer fires."""
    rig.step(START + 5 * MINUTE)
    rig.flush()
    rig.clock.observe(START + 6 * MINUTE)
    rig.restart()
    rig.handle()
    assert rig.desk.handled_ms == START + 5 * MINUTE
    rig.step(START + 6 * MINUTE)
    assert rig.desk.handled_ms == START + 6 * MINUTE


def test_a_boundary_is_one_transaction(rig: DeskRig) -> None:
    """Exit of one coin and entry of the other, both rows and both intents: after a crash all of it stands, or none."""
    rig.enter("ETH")
    units = units_of(rig)
    close_ms = START + 2 * QUARTER
    rig.decide(close_ms, Exit("ETH", "told to"), Enter("BTC", Side.LONG, "told to"))
    (boundary,) = [unit for unit in units if any(isinstance(row, DecisionRow) for row in unit)]
    assert [row.record.symbol for row in boundary if isinstance(row, DecisionRow)] == ["ETH", "BTC"]
    assert [str(row.order.intent.role) for row in boundary if isinstance(row, OrderRow)] == ["exit", "entry"]
    assert [row.key for row in boundary if isinstance(row, StateRow)] == ["totals"]


def test_a_boundary_is_committed_before_anything_is_sent(rig: DeskRig) -> None:
    """What the executor is given was waited for until it was on the disk; queued for it is not enough."""
    submit, commit = rig.desk.executor.submit, rig.writer.commit
    committed: set[str] = set()
    sent: list[bool] = []

    def commit_seen(*rows: Row, deadline_s: float) -> None:
        commit(*rows, deadline_s=deadline_s)
        committed.update(row.order.intent.cloid for row in rows if isinstance(row, OrderRow))

    def submit_seen(intent: OrderIntent, now_ms: int) -> None:
        sent.append(intent.cloid in committed)
        submit(intent, now_ms)

    rig.writer.commit = commit_seen  # type: ignore[method-assign]
    rig.desk.executor.submit = submit_seen  # type: ignore[method-assign]
    rig.decide(START + QUARTER, Enter("BTC", Side.LONG, "told to"), Enter("ETH", Side.LONG, "told to"))
    assert sent == [True, True]


def test_a_fill_comes_with_its_position_and_its_stop(rig: DeskRig) -> None:
    """A restart between them would meet a position without protection."""
    units = units_of(rig)
    rig.enter("BTC")
    (filling,) = [unit for unit in units if any(isinstance(row, FillRow) for row in unit)]
    assert any(isinstance(row, PositionRow) and row.position is not None for row in filling)
    assert "stop" in {str(row.order.intent.role) for row in filling if isinstance(row, OrderRow)}


def test_fills_of_one_book_are_one_transaction(rig: DeskRig) -> None:
    """A crash between two levels would take the rest from another book."""
    rig.enter("BTC")
    units = units_of(rig)
    thin = replace(rig.book("BTC", PX["BTC"]), bids=(BookLevel(99_999.0, 0.001), BookLevel(99_990.0, 10.0)))
    close_ms = START + 2 * QUARTER
    rig.script.decisions[("BTC", close_ms)] = Exit("BTC", "told to")
    rig.clock.observe(close_ms)
    thin = replace(thin, venue_ms=close_ms)
    contexts = {symbol: (rig.context(symbol, px),) for symbol, px in rig.px.items()}
    rig.handle(contexts=contexts, books={"BTC": thin, "ETH": rig.book("ETH", 3_000.0)}, frame=ClockFrame(close_ms))
    rig.handle(events=[rig.boundary_at(close_ms)])
    filling = [unit for unit in units if any(isinstance(row, FillRow) for row in unit)]
    assert [sum(isinstance(row, FillRow) for row in unit) for unit in filling] == [2]
    assert rig.desk.account.positions == ()


def test_the_book_a_batch_begins_with_reaches_the_executor(rig: DeskRig) -> None:
    """A stop early in a minute is priced from the book before it, as it was before the restart."""
    rig.queue.set_stepped(True)
    first, last = rig.book("BTC", 100_000.0, START), rig.book("BTC", 90_000.0, START + MINUTE)
    rig.queue.put_book(first)
    rig.queue.put_book(rig.book("BTC", 95_000.0, START + 1))
    rig.queue.put_book(last)
    rig.queue.seal(ClockFrame(START + MINUTE))
    batch = rig.queue.take(0)
    assert (batch.first_books["BTC"], batch.books["BTC"]) == (first, last)
