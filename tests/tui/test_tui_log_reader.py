"""The log thread: pages for a view, the filter over the whole stream, the tail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tui_rows import log_line, write_log

from perp_bot.tui.sources.log_filter import LogFilter
from perp_bot.tui.sources.log_reader import LogPage, LogRequest, LogSource


class Reading:
    """A running log source and its pages."""

    def __init__(self, path: Path) -> None:
        self.pages: list[LogPage] = []
        self.source = LogSource(path, self.pages.append)

    def until(self, holds: Callable[[LogPage], object]) -> LogPage:
        """Return the newest page once it satisfies `holds`."""
        deadline_s = time.monotonic() + 5
        while not self.pages or not holds(self.pages[-1]):
            assert time.monotonic() < deadline_s, self.pages[-1:] or "no page"
            time.sleep(0.005)
        return self.pages[-1]


@pytest.fixture
def log(folder: Path) -> Path:
    """Return a log of 1,000 lines."""
    path = folder / "perp-bot.log"
    write_log(path, 1000)
    return path


@pytest.fixture
def reading(log: Path) -> Iterator[Reading]:
    """Return a running source on it."""
    found = Reading(log)
    found.source.ask(LogRequest(5))
    found.source.start()
    yield found
    found.source.stop()


def test_the_first_page_is_the_tail(reading: Reading) -> None:
    """The newest lines come first."""
    page = reading.until(lambda page: page.total == 1000)
    assert [row.key for row in page.rows] == ["995", "996", "997", "998", "999"]
    assert page.is_tail


def test_the_filter_works_on_the_whole_stream(reading: Reading) -> None:
    """The filter is a real filter: its lines are counted over the whole log, oldest to newest."""
    wanted = LogFilter("ERROR")
    reading.source.ask(LogRequest(5, None, wanted))
    page = reading.until(lambda page: page.wanted == wanted and page.is_complete)
    assert (page.shown, page.total) == (20, 1000)
    assert [row.key for row in page.rows] == ["799", "849", "899", "949", "999"]
    reading.source.ask(LogRequest(5, 0, wanted))
    page = reading.until(lambda page: page.top == 0 and page.wanted == wanted)
    assert [row.key for row in page.rows] == ["49", "99", "149", "199", "249"]


def test_new_lines_follow_and_are_counted(reading: Reading, log: Path) -> None:
    """A new error is in the tail and in the counter; a filter takes it in too."""
    reading.until(lambda page: page.total == 1000)
    with log.open("a") as file:
        file.write(log_line(1000, "ERROR") + log_line(1001, "WARNING"))
    page = reading.until(lambda page: page.total == 1002)
    assert (page.errors, page.warnings, page.rows[-1].key) == (1, 1, "1001")
    wanted = LogFilter("DEBUG", "line 100")
    reading.source.ask(LogRequest(5, None, wanted))
    page = reading.until(lambda page: page.wanted == wanted and page.is_complete)
    assert [row.key for row in page.rows] == ["100", "1000", "1001"]


def test_scrolled_up_the_page_stays_while_lines_come(reading: Reading, log: Path) -> None:
    """Scrolling up leaves the tail: new lines do not move what is read."""
    reading.source.ask(LogRequest(5, 100))
    page = reading.until(lambda page: page.top == 100 and page.rows)
    before = page.rows
    with log.open("a") as file:
        file.write(log_line(1000))
    page = reading.until(lambda page: page.total == 1001)
    assert (page.rows, page.is_tail) == (before, False)


def test_a_filter_that_hides_everything_says_how_much(reading: Reading) -> None:
    """EMPTY has a reason: the filter hides 1,000 rows."""
    wanted = LogFilter("DEBUG", "nowhere to be found")
    reading.source.ask(LogRequest(5, None, wanted))
    page = reading.until(lambda page: page.wanted == wanted and page.is_complete)
    assert (page.rows, page.shown, page.total) == ((), 0, 1000)


def test_a_missing_log_is_said_and_found_later(folder: Path) -> None:
    """The daemon may start after the viewer."""
    found = Reading(folder / "later.log")
    found.source.ask(LogRequest(5))
    found.source.start()
    try:
        assert "no log" in found.until(lambda page: page.trouble).trouble
        (folder / "later.log").write_text(log_line(1))
        assert found.until(lambda page: page.total == 1).rows[0].key == "0"
    finally:
        found.source.stop()
