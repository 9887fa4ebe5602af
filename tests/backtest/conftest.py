"""A session with decisions of the shipped strategy, on a database of its own."""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "trading"))

from desk_rig import QUARTER, START, DeskRig, config_of

from perp_bot.config.model import Config, SignalsConfig
from perp_bot.core.events import BoundaryClosed, CloseStatus, SeriesClose
from perp_bot.core.types import Candle, CandleSource
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import CandleRows
from perp_bot.strategies import registry
from perp_bot.trading.history import SeriesHistory

CLOSES = 24
PAUSED_FROM = 15
UNCONFIRMED = (10, 11)  # closes that REST did not confirm in time
LIVELY = SignalsConfig(
    zscore_entry_threshold=1.0, zscore_exit_threshold=0.5, bollinger_std=1.0, rsi_overbought=50.5, rsi_oversold=49.5,
    adx_threshold=100.0,
)  # fmt: skip


def candle(symbol: str, open_ms: int, rng: random.Random, before: float) -> Candle:
    close = round(before * (1 + rng.gauss(0, 0.003)), 1)
    return Candle(symbol, "15m", open_ms, before, max(before, close) * 1.001, min(before, close) * 0.999, close, 5.0)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskRig]:
    """Six hours of decisions with entries, exits, blocked entries and two unconfirmed closes."""
    folder = tmp_path_factory.mktemp("session")
    config = config_of(folder, signals=LIVELY)
    rng = random.Random(7)
    with DeskRig(folder, config=config, strategy=registry.create(registry.DEFAULT, config)) as rig:
        newest = dict(rig.px)
        for symbol in rig.px:
            rows = []
            for back in range(560, 0, -1):
                rows.append(candle(symbol, START - back * QUARTER, rng, newest[symbol]))
                newest[symbol] = rows[-1].close
            rig.desk.histories[symbol] = SeriesHistory(symbol, "15m", 640)
            rig.desk.histories[symbol].extend(rows)
            rig.journal.put(CandleRows(tuple(rows)))
        rig.step(START, newest)
        for number in range(1, CLOSES + 1):
            close_ms = START + number * QUARTER
            final = {symbol: candle(symbol, close_ms - QUARTER, rng, newest[symbol]) for symbol in rig.px}
            newest = {symbol: row.close for symbol, row in final.items()}
            rig.step(close_ms, newest)
            series = []
            for symbol, row in final.items():
                if number in UNCONFIRMED:
                    stream = Candle(symbol, "15m", row.open_ms, row.open, row.high, row.low, row.close * 1.0001, 5.0,
                                    source=CandleSource.STREAM)  # fmt: skip
                    series.append(SeriesClose(symbol, CloseStatus.PROVISIONAL, (stream,)))
                else:
                    series.append(SeriesClose(symbol, CloseStatus.CONFIRMED, (row,)))
                rig.journal.put(CandleRows((row,)))
            if number == PAUSED_FROM:
                rig.done("pause", reason="night")
            rig.flush()
            if number - 1 in UNCONFIRMED and number not in UNCONFIRMED:
                for symbol in rig.px:  # the final rows of the unconfirmed closes come with the next confirmed one
                    rig.desk.histories[symbol].extend(_stored(rig, symbol))
            rig.handle(events=[BoundaryClosed("15m", close_ms, tuple(series))])
        rig.flush()
        yield rig


def _stored(rig: DeskRig, symbol: str) -> list[Candle]:
    with Reader(rig.db) as reader:
        return reader.last_candles(symbol, "15m", 4)[:-1]


@pytest.fixture
def copy(session: DeskRig, tmp_path: Path) -> Config:
    """Return the settings of a copy of the session's database, to be tampered with."""
    path = tmp_path / "copy.db"
    with sqlite3.connect(session.db) as source, sqlite3.connect(path) as target:
        source.backup(target)
    return replace(session.config, data=replace(session.config.data, db_path=path))
