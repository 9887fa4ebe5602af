"""Measures stored candles becoming columns: rows of SQLite, the snapshot made, the snapshot mapped, the last 500."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np

from perp_bot.bench.measure import Measurement, summarize, timed
from perp_bot.config.paths import RuntimePaths
from perp_bot.core import timeframes
from perp_bot.core.types import Candle, CandleSource
from perp_bot.data import column_file
from perp_bot.data.columns import CandleArrays, read_candles
from perp_bot.data.db import statements
from perp_bot.data.db.connection import open_writable
from perp_bot.data.db.rows import CandleRows

SUBJECT = "columns"
HELP = "stored candles to columns: SQLite rows, snapshot made, mapped (goal 5 ms a million), last 500"

_SEED = 42
_STEP_MS = timeframes.FIXED_MS["15m"]
_LAST = 500


def run(quick: bool) -> list[Measurement]:
    """Measure on 1,000,000 stored 15m candles (quick: 100,000)."""
    bars = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as folder:
        db = Path(folder) / "perp_bot.db"
        stored_s = _store(db, bars)
        return [
            summarize(SUBJECT, "stored by the writer's SQL", "ms", [stored_s], scale=1e3, detail=f"{bars:,} rows"),
            *_measured(db, bars, quick),
        ]


def _measured(db: Path, bars: int, quick: bool) -> list[Measurement]:
    snapshot = column_file.file_of(RuntimePaths(db).columns, "BTC", "15m")
    rounds = 3 if quick else 5
    rows = timed(lambda: _sqlite_rows(db), rounds)
    cold = []
    for _ in range(rounds):
        snapshot.unlink(missing_ok=True)
        cold.extend(timed(lambda: read_candles(db, "BTC", "15m"), 1))
    time.sleep(0.2)  # a snapshot this young is summed at each reading: let it settle
    read_candles(db, "BTC", "15m")
    warm = timed(lambda: read_candles(db, "BTC", "15m"), rounds * 20)
    touched = timed(lambda: _sum(read_candles(db, "BTC", "15m")), rounds * 10)
    last = timed(lambda: read_candles(db, "BTC", "15m", (bars - _LAST) * _STEP_MS), rounds * 20)
    _append(db, bars, 100)
    tail = timed(lambda: read_candles(db, "BTC", "15m"), rounds * 20)
    detail = f"{bars:,} rows"
    return [
        summarize(SUBJECT, "SQLite rows to arrays", "ms", rows, scale=1e3, detail=detail),
        summarize(SUBJECT, "snapshot made and read", "ms", cold, scale=1e3, detail=detail),
        summarize(SUBJECT, "warm", "ms", warm, scale=1e3, detail=detail),
        summarize(SUBJECT, "warm, every value summed", "ms", touched, scale=1e3, detail=detail),
        summarize(SUBJECT, "warm, 100 rows newer than the snapshot", "ms", tail, scale=1e3, detail=detail),
        summarize(SUBJECT, f"last {_LAST}", "ms", last, scale=1e3, detail=detail),
    ]


def _store(db: Path, bars: int) -> float:
    connection = open_writable(db)
    began = time.perf_counter()
    connection.execute("BEGIN")
    for first in range(0, bars, 10_000):
        statements.apply(connection, _candles(first, 10_000))
    connection.execute("COMMIT")
    took_s = time.perf_counter() - began
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return took_s


def _append(db: Path, first: int, count: int) -> None:
    connection = open_writable(db)
    connection.execute("BEGIN")
    statements.apply(connection, _candles(first, count))
    connection.execute("COMMIT")
    connection.close()


def _candles(first: int, count: int) -> CandleRows:
    draw = np.random.default_rng((_SEED, first))
    close = (50_000.0 * np.exp(np.cumsum(draw.standard_normal(count) * 4e-4))).tolist()
    return CandleRows(
        tuple(
            Candle("BTC", "15m", (first + at) * _STEP_MS, px, px * 1.001, px * 0.999, px, 10.0, 7, CandleSource.IMPORT)
            for at, px in enumerate(close)
        )
    )


def _sqlite_rows(db: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    rows = connection.execute(
        "SELECT open_ms,open,high,low,close,volume FROM candles WHERE symbol='BTC' AND timeframe='15m' ORDER BY open_ms"
    ).fetchall()
    connection.close()
    return np.ascontiguousarray(np.array(rows).T)


def _sum(found: CandleArrays) -> float:
    prices = (found.open, found.high, found.low, found.close, found.volume)
    return float(found.open_ms.sum()) + sum(float(column.sum()) for column in prices)
