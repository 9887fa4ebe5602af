"""The thread that owns the log stream: it follows, filters, and renders the lines that a view asks for."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perp_bot.core.clock import monotonic_s
from perp_bot.tui.sources.log_files import LogTail
from perp_bot.tui.sources.log_filter import LEVELS, LogFilter, Matcher, rank_of
from perp_bot.tui.sources.log_lines import render
from perp_bot.tui.sources.thread import SourceThread
from perp_bot.tui.spans import Row

POLL_S = 0.15
SCAN_BATCH = 4000
SCAN_BUDGET_S = 0.02
WARNING_RANK = LEVELS.index("WARNING")
ERROR_RANK = LEVELS.index("ERROR")


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What the view wants: `top` None follows the tail, otherwise an index into the lines that pass."""

    height: int
    top: int | None = None
    wanted: LogFilter = field(default_factory=LogFilter)


@dataclass(frozen=True, slots=True)
class LogPage:
    """The visible lines and where they stand. `is_complete` is false while the filter still searches older lines."""

    rows: tuple[Row, ...]
    top: int
    shown: int  # lines that pass
    total: int  # lines at hand
    is_tail: bool
    is_complete: bool
    wanted: LogFilter
    trouble: str
    read_s: float
    warnings: int = 0  # since the viewer started
    errors: int = 0


class _Matches:
    """Numbers of the lines that pass a filter, searched from the newest backwards, in batches."""

    def __init__(self, wanted: LogFilter, tail: LogTail) -> None:
        self._tail = tail
        self._matcher = Matcher(wanted)
        self._is_open = wanted.is_open
        self._numbers: list[int] = []
        self._low = tail.end  # everything from here to _high is searched
        self._high = tail.end

    @property
    def is_complete(self) -> bool:
        return self._is_open or self._low <= self._tail.start

    def __len__(self) -> int:
        return self._tail.end - self._tail.start if self._is_open else len(self._numbers)

    def number(self, index: int) -> int:
        return self._tail.start + index if self._is_open else self._numbers[index]

    def advance(self, until_s: float) -> None:
        """Take new lines first, then older ones until the budget is spent."""
        if self._is_open:
            return
        end = self._tail.end
        if end > self._high:
            self._numbers.extend(number for number, raw in self._tail.scan(self._high, end) if self._matcher(raw))
            self._high = end
        if self._numbers and self._numbers[0] < self._tail.start:
            del self._numbers[: bisect_left(self._numbers, self._tail.start)]
        while self._low > self._tail.start and monotonic_s() < until_s:
            low = max(self._tail.start, self._low - SCAN_BATCH)
            found = [number for number, raw in self._tail.scan(low, self._low) if self._matcher(raw)]
            self._numbers[:0] = found
            self._low = low


class LogSource(SourceThread):
    """Owns the thread. `ask` may be called from any thread; the newest request wins."""

    def __init__(self, path: Path, put: Callable[[LogPage], None], *, utc: bool = True) -> None:
        super().__init__("tui-log")
        self._tail = LogTail(path)
        self._put = put
        self._utc = utc
        self._request = LogRequest(height=1)
        self._warnings = 0
        self._errors = 0

    def ask(self, request: LogRequest) -> None:
        """Ask for a page; pages follow by themselves when lines come."""
        self._request = request
        self.read_now()

    def _run(self) -> None:
        matches: _Matches | None = None
        last: LogPage | None = None
        is_first = True
        filter_of: LogFilter | None = None
        while not self._stopping.is_set():
            trouble = ""
            before = self._tail.end
            try:
                self._tail.poll()
                if not is_first:
                    self._count(before)
                is_first = False
                request = self._request
                if matches is None or request.wanted != filter_of:
                    matches, filter_of = _Matches(request.wanted, self._tail), request.wanted
                matches.advance(monotonic_s() + SCAN_BUDGET_S)
                page = self._page(request, matches)
            except OSError as error:
                trouble = f"reading the log failed: {error.strerror or error}"
                page = LogPage((), 0, 0, 0, True, True, self._request.wanted, trouble, monotonic_s())
                matches = None
                self._tail.close()
                time.sleep(POLL_S)
            if last is None or _differs(last, page):
                self._put(page)
                last = page
            if matches is not None and not matches.is_complete:
                continue
            self._pause(POLL_S)
        self._tail.close()

    def _count(self, since: int) -> None:
        for _, raw in self._tail.scan(since, self._tail.end):
            rank = rank_of(raw)
            if rank is not None and rank >= ERROR_RANK:
                self._errors += 1
            elif rank == WARNING_RANK:
                self._warnings += 1

    def _page(self, request: LogRequest, matches: _Matches) -> LogPage:
        shown = len(matches)
        highest_top = max(0, shown - request.height)
        top = highest_top if request.top is None else max(0, min(request.top, highest_top))
        rows = []
        for index in range(top, min(shown, top + request.height)):
            line = self._tail.read(matches.number(index))
            if line is not None:
                rows.append(render(line, utc=self._utc))
        return LogPage(
            rows=tuple(rows),
            top=top,
            shown=shown,
            total=self._tail.end - self._tail.start,
            is_tail=request.top is None or top >= highest_top,
            is_complete=matches.is_complete,
            wanted=request.wanted,
            trouble=self._tail.trouble,
            read_s=monotonic_s(),
            warnings=self._warnings,
            errors=self._errors,
        )


def _differs(last: LogPage, page: LogPage) -> bool:
    return (last.rows, last.top, last.shown, last.total, last.wanted, last.trouble, last.is_complete) != (
        page.rows,
        page.top,
        page.shown,
        page.total,
        page.wanted,
        page.trouble,
        page.is_complete,
    )
