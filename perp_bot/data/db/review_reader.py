"""Counts over a span of the journal, for the review of a week."""

from __future__ import annotations

from perp_bot.data.db.reader import Reader

_SOURCES = (
    "SELECT source FROM trades UNION SELECT source FROM equity UNION SELECT source FROM fills "
    "UNION SELECT source FROM decisions ORDER BY 1"
)
_NEWEST = (
    "SELECT max(at) FROM (SELECT max(closed_ms) AS at FROM trades UNION ALL SELECT max(venue_ms) FROM equity "
    "UNION ALL SELECT max(close_ms) FROM decisions UNION ALL SELECT max(venue_ms) FROM fills)"
)


class ReviewReader(Reader):
    """A reader that counts; every span is from `start_ms` to before `end_ms`."""

    def sources(self) -> list[str]:
        """Return the modes (paper, live) that anything was booked or decided in."""
        return [row[0] for row in self._rows(_SOURCES)]

    def newest_ms(self) -> int | None:
        """Return the venue's time of the newest trade, fill, equity or decision, or None when there is none."""
        newest = self._rows(_NEWEST)[0][0]
        return None if newest is None else int(newest)

    def decisions_by_action(self, source: str, start_ms: int, end_ms: int) -> dict[str, int]:
        """Return how many decisions had which outcome."""
        rows = self._rows(
            "SELECT action, count(*) FROM decisions WHERE source=? AND close_ms>=? AND close_ms<? GROUP BY action",
            (source, start_ms, end_ms),
        )
        return dict(rows)

    def blocked_by_rule(self, source: str, start_ms: int, end_ms: int) -> dict[str, int]:
        """Return how many entries each rule forbade, most first; an entry that two rules forbade counts for both."""
        rows = self._rows(
            "SELECT json_extract(reason.value, '$.rule') AS rule, count(*) AS times "
            "FROM decisions, json_each(decisions.blocked_json) AS reason "
            "WHERE source=? AND close_ms>=? AND close_ms<? AND action='blocked' "
            "GROUP BY rule ORDER BY times DESC, rule",
            (source, start_ms, end_ms),
        )
        return dict(rows)

    def events_by_kind(self, start_ms: int, end_ms: int) -> dict[str, int]:
        """Return how many events of each kind were told, most first."""
        rows = self._rows(
            "SELECT kind, count(*) AS times FROM events WHERE venue_ms>=? AND venue_ms<? "
            "GROUP BY kind ORDER BY times DESC, kind",
            (start_ms, end_ms),
        )
        return dict(rows)
