"""Fill an empty database from the data that ships with perpbot, so that research runs without a venue or a network."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.data.importing import claimed
from perp_bot.practice.market.hours import CLOSE, HIGH, LOW, OPEN, RECORDED_HOURS, RECORDED_START_MS, VOLUME
from perp_bot.practice.market.market import Market
from perp_bot.practice.server.shapes import RATE_DECIMALS

HYPERLIQUID, BINANCE_8H = "hyperliquid", "binance-8h"
SETS = {
    HYPERLIQUID: "BTC and ETH on Hyperliquid, 800 recorded hours; the minutes inside them and funding are generated",
    BINANCE_8H: "BTC and ETH on Binance, 8h candles with funding, 2023-01 to 2024-07, recorded",
}
COINS = ("BTC", "ETH")
_SEED = 42
_FUNDING_HOURS = 8

_CANDLE_SQL = (
    "INSERT INTO candles (symbol,timeframe,open_ms,open,high,low,close,volume,source,generated) "
    "VALUES (?,?,?,?,?,?,?,?,'import',?)"
)
_SERIES_SQL = "INSERT INTO series (symbol,timeframe,revision) VALUES (?,?,1)"
_FUNDING_SQL = "INSERT INTO funding_rates (symbol,hour_ms,rate,premium) VALUES (?,?,?,?)"
_MINUTE_SQL = (
    "INSERT INTO asset_ctx_1m (symbol,minute_ms,mark_open,mark_high,mark_low,mark_close,"
    "oracle_open,oracle_high,oracle_low,oracle_close,samples) VALUES (?,?,?,?,?,?,?,?,?,?,20)"
)

Write = Callable[[str, Iterator[tuple[Any, ...]]], None]


def fill(db_path: Path, name: str, advance: Callable[[float], None]) -> None:
    """Write one of `SETS` into a database that has no candles of another market; all of it or nothing."""
    with claimed(db_path, f"bundled {name}") as connection:
        for table in ("candles", "series", "candle_blocks", "funding_rates", "asset_ctx_1m"):
            connection.execute(f"DELETE FROM {table}")
        if name == HYPERLIQUID:
            _hyperliquid(connection.executemany, advance)
        else:
            _binance(connection.executemany)


def _hyperliquid(write: Any, advance: Callable[[float], None]) -> None:
    market = Market(_SEED, RECORDED_START_MS)
    for place, name in enumerate(COINS):
        coin = market.history(name)
        assert coin is not None
        scale = np.array([10.0**coin.coin.px_decimals] * 4 + [10.0**coin.coin.sz_decimals])
        minutes, contexts, rates = [], [], []
        for hour in range(RECORDED_HOURS):
            minutes.append(coin.minutes(hour)[:, [OPEN, HIGH, LOW, CLOSE, VOLUME]])
            context = coin.context(hour)
            marks = np.column_stack((_ohlc(context.mark_px), _ohlc(context.oracle_px)))
            contexts.append(_as_written(marks, coin.coin.px_decimals))
            row = coin.funding(hour)
            written = _as_written(np.array((row.rate, row.premium)), RATE_DECIMALS).tolist()
            rates.append((name, RECORDED_START_MS + (hour + 1) * HOUR_MS, *written))
            if hour % 16 == 0:
                advance((place + hour / RECORDED_HOURS) / len(COINS))
        fine = np.concatenate(minutes)
        hours = coin.hour_rows(RECORDED_HOURS)[:, [OPEN, HIGH, LOW, CLOSE, VOLUME]] / scale
        for timeframe, per_bar in (("1m", 1), ("5m", 5), ("15m", 15)):
            bars = _merged(fine, per_bar) / scale  # volumes are summed in whole lots: the venue's own numbers
            write(_CANDLE_SQL, _rows(name, timeframe, bars, per_bar * MINUTE_MS, generated=1))
        write(_CANDLE_SQL, _rows(name, "1h", hours, HOUR_MS, generated=0))
        write(_SERIES_SQL, [(name, timeframe) for timeframe in ("1m", "5m", "15m", "1h")])
        write(_FUNDING_SQL, rates)
        by_minute = np.concatenate(contexts).tolist()
        write(_MINUTE_SQL, [(name, RECORDED_START_MS + n * MINUTE_MS, *row) for n, row in enumerate(by_minute)])


def _as_written(values: np.ndarray[Any, Any], decimals: int) -> np.ndarray[Any, Any]:
    """Return the numbers that a client reads from the venue's text of so many decimals."""
    return np.asarray(np.rint(values * 10.0**decimals) / 10.0**decimals)


def _ohlc(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return open, high, low, close of each minute of an hour's samples."""
    by_minute = samples.reshape(60, -1)
    return np.column_stack((by_minute[:, 0], by_minute.max(axis=1), by_minute.min(axis=1), by_minute[:, -1]))


def _merged(minutes: np.ndarray[Any, Any], per_bar: int) -> np.ndarray[Any, Any]:
    """Return bars of `per_bar` minutes."""
    bars = minutes.reshape(-1, per_bar, 5)
    return np.column_stack(
        (bars[:, 0, 0], bars[:, :, 1].max(axis=1), bars[:, :, 2].min(axis=1), bars[:, -1, 3], bars[:, :, 4].sum(axis=1))
    )


def _rows(
    name: str, timeframe: str, bars: np.ndarray[Any, Any], step_ms: int, *, generated: int
) -> Iterator[tuple[Any, ...]]:
    for n, row in enumerate(bars.tolist()):
        yield (name, timeframe, RECORDED_START_MS + n * step_ms, *row, generated)


def _binance(write: Any) -> None:
    source = files("perp_bot.data") / "recorded" / "binance_8h_2023_2024.csv.gz"
    candles: list[tuple[Any, ...]] = []
    rates: list[tuple[Any, ...]] = []
    with source.open("rb") as packed, gzip.open(packed, "rt", encoding="ascii") as text:
        for row in csv.DictReader(text):
            open_ms = int(row["t"])
            prices = (float(row[column]) for column in ("open", "high", "low", "close", "volume"))
            candles.append((row["symbol"], "8h", open_ms, *prices, 0))
            rate = float(row["funding_rate"]) / _FUNDING_HOURS
            # A row's rate is the one settled at its open, for the 8 hours before: here in equal parts, hour by hour.
            rates += [(row["symbol"], open_ms - n * HOUR_MS, rate, None) for n in range(_FUNDING_HOURS)]
    write(_CANDLE_SQL, candles)
    write(_SERIES_SQL, [(symbol, "8h") for symbol in sorted({row[0] for row in candles})])
    write(_FUNDING_SQL, rates)
