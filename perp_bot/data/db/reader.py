"""Look at the database without ever holding up its writer: read-only, no cursor left open, short waits.

One Reader belongs to the thread that first uses it (SQLite's own check is left on). The file is opened at the first
question, so a Reader may be made before the database exists; every failure is a StoreError of one line.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from decimal import InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from perp_bot.core.errors import StoreError
from perp_bot.core.types import (
    Candle,
    ClosedTrade,
    DecisionRecord,
    Fill,
    FundingPayment,
    FundingRate,
    Order,
    Position,
)
from perp_bot.data.db import decode
from perp_bot.data.db.codec import position_from_json
from perp_bot.data.db.connection import open_readonly, translate
from perp_bot.data.db.decode import SqlRow
from perp_bot.data.db.rows import AssetMinute, EquityRow, EventRow, FundingDueRow

_T = TypeVar("_T")


class SeriesSpan(NamedTuple):
    """What the store has of a candle series; times are open times (ms)."""

    symbol: str
    timeframe: str
    revision: int  # moves whenever a row of the series is added or changed
    candles: int
    first_ms: int
    last_ms: int


class Reader:
    """Ask the database; see the module for threads and failures."""

    def __init__(self, path: Path, *, leaves_nothing: bool = False) -> None:
        """Name the file; see `open_readonly` for `leaves_nothing`."""
        self._path = path
        self._leaves_nothing = leaves_nothing
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[SqlRow]:
        if self._connection is None:
            self._connection = open_readonly(self._path, leaves_nothing=self._leaves_nothing)
        try:
            return self._connection.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.ProgrammingError as error:
            raise StoreError(f"{self._path}: a Reader belongs to the thread that first used it ({error})") from error
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def _decoded(self, decoder: Callable[[SqlRow], _T], rows: Iterable[SqlRow]) -> list[_T]:
        try:
            return [decoder(row) for row in rows]
        except (ValueError, KeyError, TypeError, InvalidOperation) as error:
            raise StoreError(f"{self._path} holds a row that this perpbot cannot read ({error!r})") from error

    def data_version(self) -> int:
        """Return a number that changes when another process or thread has committed something."""
        return int(self._rows("PRAGMA data_version")[0][0])

    # ------------------------------------------------------------ market

    def last_candles(self, symbol: str, timeframe: str, n: int, before_ms: int | None = None) -> list[Candle]:
        """Return the newest `n` candles, oldest first; only those that opened before `before_ms` if given."""
        limit_ms = 2**62 if before_ms is None else before_ms
        rows = self._rows(
            f"SELECT {decode.CANDLE_COLUMNS} FROM candles WHERE symbol=? AND timeframe=? AND open_ms<? "
            "ORDER BY open_ms DESC LIMIT ?",
            (symbol, timeframe, limit_ms, max(0, n)),
        )
        return self._decoded(decode.candle, reversed(rows))

    def candles(self, symbol: str, timeframe: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the candles that opened at or after `start_ms` and before `end_ms`, oldest first."""
        rows = self._rows(
            f"SELECT {decode.CANDLE_COLUMNS} FROM candles WHERE symbol=? AND timeframe=? AND open_ms>=? AND open_ms<? "
            "ORDER BY open_ms",
            (symbol, timeframe, start_ms, end_ms),
        )
        return self._decoded(decode.candle, rows)

    def candle_span(self, symbol: str, timeframe: str) -> tuple[int, int, int] | None:
        """Return (first open ms, last open ms, count) of a series, or None when there is none."""
        first, last, count = self._rows(
            "SELECT min(open_ms), max(open_ms), count(*) FROM candles WHERE symbol=? AND timeframe=?",
            (symbol, timeframe),
        )[0]
        return None if count == 0 else (first, last, count)

    def series(self) -> list[SeriesSpan]:
        """Return every candle series with its revision, by symbol and timeframe."""
        rows = self._rows(
            "SELECT s.symbol, s.timeframe, s.revision, count(*), min(c.open_ms), max(c.open_ms) FROM series s "
            "JOIN candles c ON c.symbol=s.symbol AND c.timeframe=s.timeframe GROUP BY s.symbol, s.timeframe "
            "ORDER BY s.symbol, s.timeframe"
        )
        return [SeriesSpan(*row) for row in rows]

    def asset_minutes(self, symbol: str, start_ms: int, end_ms: int) -> list[AssetMinute]:
        """Return the minutes from `start_ms` to before `end_ms`, oldest first."""
        rows = self._rows(
            f"SELECT {decode.MINUTE_COLUMNS} FROM asset_ctx_1m WHERE symbol=? AND minute_ms>=? AND minute_ms<? "
            "ORDER BY minute_ms",
            (symbol, start_ms, end_ms),
        )
        return self._decoded(decode.asset_minute, rows)

    def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> list[FundingRate]:
        """Return the settled rates of the hours from `start_ms` to before `end_ms`, oldest first."""
        rows = self._rows(
            "SELECT symbol, hour_ms, rate, premium FROM funding_rates WHERE symbol=? AND hour_ms>=? AND hour_ms<? "
            "ORDER BY hour_ms",
            (symbol, start_ms, end_ms),
        )
        return [FundingRate(*row) for row in rows]

    # ------------------------------------------------------------ decisions and events

    def decisions(
        self, limit: int, symbol: str | None = None, since_ms: int | None = None, source: str | None = None
    ) -> list[DecisionRecord]:
        """Return the newest `limit` journal rows, newest last; of closes at or after `since_ms` if given."""
        where, parameters = _where(("symbol=?", symbol), ("close_ms>=?", since_ms), ("source=?", source))
        rows = self._rows(
            f"SELECT {decode.DECISION_COLUMNS} FROM decisions{where} ORDER BY seq DESC LIMIT ?",
            (*parameters, max(0, limit)),
        )
        return self._decoded(decode.decision, reversed(rows))

    def decision_ids_at(self, close_ms: int, timeframe: str) -> set[str]:
        """Return the ids of what was decided at one close."""
        rows = self._rows("SELECT decision_id FROM decisions WHERE close_ms=? AND timeframe=?", (close_ms, timeframe))
        return {row[0] for row in rows}

    def events(self, limit: int, kinds: Iterable[str] | None = None) -> list[EventRow]:
        """Return the newest `limit` events, newest last; of these kinds if given."""
        wanted = None if kinds is None else tuple(kinds)
        where = "" if wanted is None else f" WHERE kind IN ({','.join('?' * len(wanted))})"
        rows = self._rows(
            f"SELECT {decode.EVENT_COLUMNS} FROM events{where} ORDER BY seq DESC LIMIT ?",
            (*(wanted or ()), max(0, limit)),
        )
        return self._decoded(decode.event, reversed(rows))

    def signals(self, scale: str, start_ms: int, end_ms: int) -> list[tuple[int, dict[str, Any]]]:
        """Return (venue ms, snapshot) of one time scale from `start_ms` to before `end_ms`, oldest first."""
        rows = self._rows(
            "SELECT venue_ms, snapshot_json FROM signals WHERE scale=? AND venue_ms>=? AND venue_ms<? "
            "ORDER BY venue_ms",
            (scale, start_ms, end_ms),
        )
        return self._decoded(lambda row: (row[0], json.loads(row[1])), rows)

    def regimes(self, start_ms: int, end_ms: int) -> list[tuple[int, str]]:
        """Return (venue ms, regime) as recorded from `start_ms` to before `end_ms`, and the last one before."""
        sql = "SELECT venue_ms, regime FROM prediction_snapshots WHERE "
        before = self._rows(f"{sql} venue_ms<? ORDER BY venue_ms DESC LIMIT 1", (start_ms,))
        rows = self._rows(f"{sql} venue_ms>=? AND venue_ms<? ORDER BY venue_ms", (start_ms, end_ms))
        return [(int(at_ms), str(regime)) for at_ms, regime in (*before, *rows)]

    def decision_latency(self, decision_id: str) -> tuple[int, float | None, float | None] | None:
        """Return (wall ms, confirm ms, decide ms) of a decision, or None."""
        rows = self._rows(
            "SELECT wall_ms, confirm_ms, decide_ms FROM decision_latency WHERE decision_id=?", (decision_id,)
        )
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    # ------------------------------------------------------------ books

    def live_orders(self, source: str) -> list[Order]:
        """Return the orders that can still fill, in the order of their creation."""
        rows = self._rows(
            f"SELECT {decode.ORDER_COLUMNS} FROM orders "
            "WHERE state IN ('intent', 'open', 'partly_filled', 'unknown') AND source=? ORDER BY created_ms, cloid",
            (source,),
        )
        return self._decoded(decode.order, rows)

    def orders(self, limit: int) -> list[Order]:
        """Return the newest `limit` orders, newest last."""
        rows = self._rows(
            f"SELECT {decode.ORDER_COLUMNS} FROM orders ORDER BY created_ms DESC, cloid DESC LIMIT ?", (max(0, limit),)
        )
        return self._decoded(decode.order, reversed(rows))

    def fills(self, source: str, since_ms: int | None = None, limit: int | None = None) -> list[Fill]:
        """Return the fills in the order they were booked; the newest `limit` if given."""
        where, parameters = _where(("source=?", source), ("venue_ms>=?", since_ms))
        rows = self._rows(
            f"SELECT {decode.FILL_COLUMNS} FROM fills{where} ORDER BY seq DESC LIMIT ?", (*parameters, _most(limit))
        )
        return self._decoded(decode.fill, reversed(rows))

    def funding_payments(self, source: str) -> list[FundingPayment]:
        """Return the payments whose rate has come, by hour and symbol."""
        rows = self._rows(
            f"SELECT {decode.FUNDING_COLUMNS} FROM funding_payments WHERE source=? AND rate IS NOT NULL "
            "ORDER BY hour_ms, symbol",
            (source,),
        )
        return self._decoded(decode.funding_payment, rows)

    def funding_due(self, source: str) -> list[FundingDueRow]:
        """Return the hours whose rate is still to come, by hour and symbol."""
        rows = self._rows(
            "SELECT symbol, hour_ms, signed_size, oracle_px, strategy, source FROM funding_payments "
            "WHERE source=? AND rate IS NULL ORDER BY hour_ms, symbol",
            (source,),
        )
        return [FundingDueRow(*row) for row in rows]

    def trades(
        self, source: str | None = None, limit: int | None = None, since_ms: int | None = None
    ) -> list[ClosedTrade]:
        """Return closed trades in the order they were booked; the newest `limit` if given, closed since if given."""
        where, parameters = _where(("source=?", source), ("closed_ms>=?", since_ms))
        rows = self._rows(
            f"SELECT {decode.TRADE_COLUMNS} FROM trades{where} ORDER BY seq DESC LIMIT ?", (*parameters, _most(limit))
        )
        return self._decoded(decode.trade, reversed(rows))

    def positions(self, source: str) -> list[Position]:
        """Return the open positions, by symbol."""
        rows = self._rows("SELECT position_json FROM positions WHERE source=? ORDER BY symbol", (source,))
        return self._decoded(lambda row: position_from_json(row[0]), rows)

    def equity(self, source: str, since_ms: int = 0) -> list[EquityRow]:
        """Return the equity curve from `since_ms`, oldest first."""
        rows = self._rows(
            "SELECT source, venue_ms, equity_usd, cash_usd, unrealized_usd FROM equity "
            "WHERE source=? AND venue_ms>=? ORDER BY venue_ms",
            (source, since_ms),
        )
        return [EquityRow(*row) for row in rows]

    def state(self, key: str) -> Any | None:
        """Return the JSON value of a key of bot_state, or None when it was never written."""
        rows = self._rows("SELECT value_json FROM bot_state WHERE key=?", (key,))
        return self._decoded(lambda row: json.loads(row[0]), rows)[0] if rows else None


def _where(*conditions: tuple[str, Any]) -> tuple[str, list[Any]]:
    given = [(sql, value) for sql, value in conditions if value is not None]
    if not given:
        return "", []
    return " WHERE " + " AND ".join(sql for sql, _ in given), [value for _, value in given]


def _most(limit: int | None) -> int:
    return -1 if limit is None else max(0, limit)
