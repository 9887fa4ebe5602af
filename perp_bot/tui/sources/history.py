"""The database, read-only, by one thread: asked whether it changed twice a second, queried only when it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import PerpBotError
from perp_bot.tui.sources.thread import SourceThread
from perp_bot.tui.store import History, StoredEvent

if TYPE_CHECKING:
    from perp_bot.data.db.reader import Reader

Found = TypeVar("Found")

POLL_S = 0.5
RETRY_S = 2.0
LIMIT = 200


class HistorySource(SourceThread):
    """Owns the thread and its connection."""

    def __init__(self, db: Path, source: str, put: Callable[[History], None]) -> None:
        super().__init__("tui-history")
        self._db = db
        self._source = source
        self._put = put
        self._force = False

    def read_now(self) -> None:
        """Read again, changed or not."""
        self._force = True
        super().read_now()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (PerpBotError, OSError) as error:
                self._put(History(monotonic_s(), error=str(error)))
                self._pause(RETRY_S)
            except Exception as error:  # noqa: BLE001 - the edge of this thread: shown in the pane, tried again
                self._put(History(monotonic_s(), error=f"reading the database failed: {type(error).__name__}: {error}"))
                self._pause(RETRY_S)

    def _follow(self) -> None:
        from perp_bot.data.db.reader import Reader

        reader = Reader(self._db)
        try:
            seen: int | None = None
            while not self._stopping.is_set():
                version = reader.data_version()
                if version != seen or self._force:
                    self._force = False
                    self._put(self._read(reader))
                    seen = version
                self._pause(POLL_S)
        finally:
            reader.close()

    def _read(self, reader: Reader) -> History:
        return History(
            read_s=monotonic_s(),
            trades=_newest_first(reader.trades(source=self._source, limit=LIMIT), "closed_ms"),
            decisions=_newest_first(reader.decisions(LIMIT), "close_ms"),
            events=tuple(
                StoredEvent(event.venue_ms, event.kind, event.symbol, event.text)
                for event in _newest_first(reader.events(LIMIT), "venue_ms")
            ),
            positions=tuple(reader.positions(self._source)),
            orders=tuple(reader.live_orders(self._source)),
        )


def _newest_first(rows: Sequence[Found], by: str) -> tuple[Found, ...]:
    """Return the rows newest first, whichever way the query gave them; rows of one time keep the later row first."""
    at = [getattr(item, by) for item in rows]
    if len(at) > 1 and at[0] > at[-1]:
        return tuple(rows)
    return tuple(reversed(rows))
