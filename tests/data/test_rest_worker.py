"""The one REST thread: the first chore that is due, alone, whatever happens to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from market_fakes import MINUTE, RecordingSink, wait_for

from perp_bot.config.model import Config
from perp_bot.core.clock import FixedClock, VenueClock
from perp_bot.core.events import ClockFrame
from perp_bot.core.types import CandleSource
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.writer import Writer
from perp_bot.data.market import MarketData
from perp_bot.data.rest_worker import RestWorker
from perp_bot.practice.thread import PracticeServer


class Task:
    """A chore that is due until it has run."""

    def __init__(self, name: str, diary: list[str], work: Callable[[], None] | None = None) -> None:
        self.name = name
        self.is_due = False
        self._diary = diary
        self._work = work

    def wait_s(self) -> float | None:
        return 0.0 if self.is_due else None

    def is_pending(self) -> bool:
        return self.is_due

    def run(self) -> None:
        self._diary.append(self.name)
        try:
            if self._work is not None:
                self._work()
        finally:
            self.is_due = False


def test_the_first_chore_of_the_list_runs_first() -> None:
    """The confirmation of a boundary always comes before the funding read of the same hour."""
    diary: list[str] = []
    confirm, funding, rest = (Task(name, diary) for name in ("confirm", "funding", "rest"))
    worker = RestWorker((confirm, funding, rest))
    for task in (rest, funding, confirm):
        task.is_due = True
    worker.start()
    assert worker.wait_settled(2.0)
    assert worker.stop(2.0)
    assert diary == ["confirm", "funding", "rest"]


def test_nothing_begins_while_held() -> None:
    """While a step's batch is sealed no chore may report anything; afterwards it runs at once."""
    diary: list[str] = []
    task = Task("confirm", diary)
    worker = RestWorker((task,))
    worker.hold()
    worker.start()
    task.is_due = True
    worker.wake()
    assert not worker.wait_settled(0.1)
    assert diary == []
    worker.release()
    assert worker.wait_settled(2.0)
    assert worker.stop(2.0)


@pytest.mark.slow
def test_a_chore_that_breaks_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one read is logged with its traceback; confirmations go on."""
    diary: list[str] = []

    def explode() -> None:
        raise ValueError("a bug")

    broken, fine = Task("broken", diary, explode), Task("fine", diary)
    worker = RestWorker((broken, fine))
    broken.is_due = fine.is_due = True
    worker.start()
    wait_for(lambda: diary == ["broken", "fine"])
    assert worker.stop(2.0)
    assert "broken failed unexpectedly" in caplog.text


def test_waiting_for_settled_ends_with_the_worker() -> None:
    """Whoever waits while the process ends is not left waiting."""
    task = Task("never", [])
    worker = RestWorker((task,))
    worker.hold()
    task.is_due = True
    worker.start()
    found: list[bool] = []
    waiter = threading.Thread(target=lambda: found.append(worker.wait_settled(30.0)))
    waiter.start()
    assert worker.stop(2.0)
    waiter.join(2.0)
    assert found == [False]


@pytest.mark.slow
def test_the_real_store_keeps_what_the_market_side_writes(tmp_path: Path) -> None:
    """Candles, minutes and funding rates land in SQLite; the next start reads its history from there."""
    path = tmp_path / "perp_bot.db"
    with (
        PracticeServer(speed=None, start="400", seed=42) as venue,
        Writer(path, backups=None, emergency=None, clock=FixedClock(0)) as writer,
    ):
        sink = RecordingSink()
        market = MarketData(
            Config(venue=venue.base_url),
            VenueClock(),
            writer,
            lambda: Reader(path),
            sink,
            deciding=(("BTC", "15m"), ("ETH", "15m")),
        )
        market.connect()
        market.history("BTC", "15m", 30)
        market.start()
        wait_for(lambda: sink.of(ClockFrame))  # subscribed: from here on the stream misses nothing
        reached_ms = venue.step("15m")
        wait_for(lambda: [event for event in sink.boundaries if event.close_ms == reached_ms])
        market.stop()
        writer.flush(5.0)
        with Reader(path) as reader:
            rows = reader.last_candles("BTC", "15m", 100)
            assert [row.open_ms for row in rows] == [reached_ms - n * 15 * MINUTE for n in range(31, 0, -1)]
            assert {row.source for row in rows} == {CandleSource.REST}
            assert len(reader.asset_minutes("ETH", reached_ms - 15 * MINUTE, reached_ms)) >= 14
