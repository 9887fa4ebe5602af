"""The data hash of a run: every value that the engine reads is in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from perp_bot.backtest.load import load_market
from perp_bot.config.model import Config, DataConfig, TradingConfig
from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.data.db.connection import open_writable

START_MS = 1_700_006_400_000
ROWS = 9_000  # more than twice as many as were once sampled
MARKS = ("mark_open", "mark_high", "mark_low", "mark_close", "oracle_open", "oracle_close")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings of a database with 1h candles, 5m ones below them, minutes and funding."""
    connection = open_writable(tmp_path / "perp_bot.db")
    candle = (
        "INSERT INTO candles (symbol,timeframe,open_ms,open,high,low,close,volume,source,generated) "
        "VALUES ('BTC',?,?,100,102,98,101,10,'import',0)"
    )
    for timeframe, step_ms in (("1h", HOUR_MS), ("5m", 5 * MINUTE_MS)):
        connection.execute("INSERT INTO series (symbol,timeframe,revision) VALUES ('BTC',?,1)", (timeframe,))
        connection.executemany(candle, [(timeframe, START_MS + place * step_ms) for place in range(ROWS)])
    connection.executemany(
        f"INSERT INTO asset_ctx_1m (symbol,minute_ms,{','.join(MARKS)},samples) "
        "VALUES ('BTC',?,100,102,98,101,100,101,60)",
        [(START_MS + place * MINUTE_MS,) for place in range(ROWS)],
    )
    connection.executemany(
        "INSERT INTO funding_rates (symbol,hour_ms,rate) VALUES ('BTC',?,0.0001)",
        [(START_MS + place * HOUR_MS,) for place in range(ROWS)],
    )
    connection.commit()
    connection.close()
    return Config(
        trading=TradingConfig(symbols=("BTC",)),
        data=DataConfig(db_path=tmp_path / "perp_bot.db", primary_timeframe="1h"),
    )


def changed(config: Config, sql: str) -> None:
    with sqlite3.connect(config.data.db_path) as connection:
        assert connection.execute(sql).rowcount == 1
    connection.close()


ODD_ROW = 4_567  # on no even stride


@pytest.mark.parametrize(
    "sql",
    [
        *(
            f"UPDATE candles SET {name} = {name} + 0.5 WHERE timeframe = '{timeframe}' AND open_ms = {at_ms}"
            for timeframe, at_ms in (("1h", START_MS + ODD_ROW * HOUR_MS), ("5m", START_MS + ODD_ROW * 5 * MINUTE_MS))
            for name in ("volume", "close")
        ),
        *(
            f"UPDATE asset_ctx_1m SET {name} = {name} + 0.5 WHERE minute_ms = {START_MS + ODD_ROW * MINUTE_MS}"
            for name in MARKS
        ),
        f"UPDATE funding_rates SET rate = 0.0002 WHERE hour_ms = {START_MS + ODD_ROW * HOUR_MS}",
    ],
)
def test_one_changed_value_is_another_hash(config: Config, sql: str) -> None:
    """In any row of any column: two different data sets must not carry one name."""
    before = load_market(config).data_hash
    assert load_market(config).data_hash == before
    changed(config, sql)
    assert load_market(config).data_hash != before
