"""A small store that the commands of research run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perp_bot.backtest import runs
from perp_bot.config.load import load_config
from perp_bot.data.db.connection import open_writable

START_MS, HOUR_MS = 1_700_006_400_000, 3_600_000
DAYS = 60
LIVELY = """\
trading: {symbols: [BTC]}
data: {primary_timeframe: 1h}
signals: {zscore_entry_threshold: 1.2, bollinger_std: 1.0, rsi_overbought: 52, rsi_oversold: 48, adx_threshold: 100}
"""
GRID = "entry_z: [1.0, 1.2, 1.5]\nexit_z: [0.2, 0.5]\n"


def store_candles(db_path: Path) -> None:
    """Store `DAYS` days of hourly BTC candles from `START_MS` on; no funding."""
    rng = np.random.default_rng(11)
    close = 100.0 * np.exp(np.cumsum(rng.standard_normal(DAYS * 24) * 0.006))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999

    def rows() -> Iterator[tuple[Any, ...]]:
        for place in range(len(close)):
            prices = (opened[place], high[place], low[place], close[place])
            yield ("BTC", "1h", START_MS + place * HOUR_MS, *map(float, prices), 10.0)

    connection = open_writable(db_path)
    connection.execute("INSERT INTO series (symbol,timeframe,revision) VALUES ('BTC','1h',1)")
    connection.executemany(
        "INSERT INTO candles (symbol,timeframe,open_ms,open,high,low,close,volume,source,generated) "
        "VALUES (?,?,?,?,?,?,?,?,'import',0)", rows(),
    )  # fmt: skip
    connection.commit()
    connection.close()


def store_funding(db_path: Path) -> None:
    """Store a rate for every hour of the candles."""
    connection = open_writable(db_path)
    connection.executemany(
        "INSERT INTO funding_rates (symbol,hour_ms,rate) VALUES ('BTC',?,1e-5)",
        [(START_MS + place * HOUR_MS,) for place in range(DAYS * 24 + 1)],
    )
    connection.commit()
    connection.close()


def kept(folder: Path) -> list[Any]:
    """Return the stored runs, oldest first."""
    config = load_config(folder / "config.yaml", env={})
    return [record for _, record in runs.stored(config)]
