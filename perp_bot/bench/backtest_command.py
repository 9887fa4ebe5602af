"""Measures `perpbot backtest` as its user has it: the whole process on stored candles, its memory, its first use."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import yaml

from perp_bot.backtest.market import Candles, Market
from perp_bot.bench import research_data
from perp_bot.bench.measure import Measurement, summarize, user_environment
from perp_bot.bench.startup import perpbot
from perp_bot.bench.turns import clocked, in_turn
from perp_bot.bench.whole_process import run_whole
from perp_bot.core.clock import FixedClock
from perp_bot.core.errors import PerpBotError
from perp_bot.core.types import Candle, CandleSource, FundingRate
from perp_bot.data.columns import read_candles
from perp_bot.data.db.connection import open_readonly
from perp_bot.data.db.rows import CandleRows, FundingRateRow
from perp_bot.data.db.writer import Writer

DB_NAME = "perp_bot.db"
FROM_COLUMNS, FROM_ROWS = "columns", "rows"
_FEW = 2_000  # candles whose backtest is imports and little else
_BATCH = 50_000
_PATIENCE_S = 120.0


def measured(subject: str, rows: int, rounds: int, first_uses: int) -> list[Measurement]:
    """Measure the command on `rows` stored candles and on few, in turn, then `first_uses` with nothing compiled.

    Raises:
        PerpBotError: the command fails, or trades nothing.
    """
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name:
        folder = Path(name)
        environment = user_environment(folder)
        commands = {}
        for count in (_FEW, rows):
            place = folder / f"of{count}"
            place.mkdir()
            store(research_data.market(("BTC",), count), place)
            commands[count] = [*perpbot(), "--config", str(place / "config.yaml"), "backtest"]
        run_whole(commands[_FEW], folder, environment)  # warm
        trades = len(json.loads(run_whole([*commands[rows], "--json"], folder, environment).stdout)["trades"])
        if trades == 0:
            raise PerpBotError(f"`perpbot backtest` on {rows:,} candles makes no trade: there is nothing to measure")
        peaks: dict[int, list[int]] = {count: [] for count in commands}

        def run(count: int) -> float:
            done = run_whole(commands[count], folder, environment)
            peaks[count].append(done.peak_bytes)
            return done.seconds

        seconds = in_turn({count: partial(run, count) for count in commands}, rounds)
        reads = in_turn(reading(folder / f"of{rows}" / DB_NAME, "BTC"), rounds, slow={FROM_ROWS})
        compiling = first_use_s(commands[_FEW], folder, environment, first_uses)
    total = f"{rows:,} stored candles"
    above = [peak - median(peaks[_FEW]) for peak in peaks[rows]]
    base = median(reads[FROM_COLUMNS])
    found = [
        summarize(subject, f"{total} to arrays", "ms", reads[FROM_COLUMNS], scale=1e3, detail="goal 5"),
        summarize(
            subject, f"{total} to arrays, SQLite rows", "ms", reads[FROM_ROWS], scale=1e3,
            times_ours=median(reads[FROM_ROWS]) / base,
        ),
        summarize(subject, f"perpbot backtest, {total}", "s", seconds[rows], detail=f"goal 1.2; {trades:,} trades"),
        summarize(subject, f"perpbot backtest, {_FEW:,} stored candles", "s", seconds[_FEW]),
        summarize(subject, "peak memory above that on few candles", "MB", above, scale=1e-6, detail="goal 150"),
    ]  # fmt: skip
    if compiling:
        above = [took_s - median(seconds[_FEW]) for took_s in compiling]
        found.append(summarize(subject, "first use, nothing compiled yet: added", "s", above, detail="goal 3"))
    return found


def reading(path: Path, symbol: str) -> dict[str, Callable[[], float]]:
    """Return both ways from a stored series to arrays; the columns beside the database are made and warm."""

    def from_rows() -> None:
        connection = open_readonly(path)
        try:
            sql = "SELECT open_ms, open, high, low, close, volume FROM candles WHERE symbol = ? ORDER BY open_ms"
            np.ascontiguousarray(np.array(connection.execute(sql, (symbol,)).fetchall()).T)
        finally:
            connection.close()

    from_columns = partial(read_candles, path, symbol, "1m")
    from_columns()
    return {FROM_COLUMNS: clocked(from_columns), FROM_ROWS: clocked(from_rows)}


def first_use_s(command: list[str], folder: Path, environment: Mapping[str, str], times: int) -> list[float]:
    """Return the seconds of a command that finds an empty cache of kernels, each time a new one."""
    seconds = []
    for number in range(times):
        cache = folder / f"kernels{number}"
        seconds.append(run_whole(command, folder, {**environment, "NUMBA_CACHE_DIR": str(cache)}).seconds)
    return seconds


def store(market: Market, folder: Path) -> None:
    """Write a market into a database with a config beside it, as `perpbot` finds it."""
    item = market.symbols[0]
    settings = {
        "trading": {"symbols": [item.symbol], "capital_usd": 100_000.0},
        "data": {"db_path": DB_NAME, "primary_timeframe": market.timeframe, "timeframes": [market.timeframe]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    writer = Writer(folder / DB_NAME, backups=None, emergency=None, clock=FixedClock(research_data.FIRST_MS))
    with writer:
        for begin in range(0, len(item.candles), _BATCH):
            rows = tuple(_rows(item.symbol, item.candles, slice(begin, begin + _BATCH)))
            writer.commit(CandleRows(rows), deadline_s=_PATIENCE_S)
        rates = zip(item.funding.hour_ms.tolist(), item.funding.rate.tolist(), strict=True)
        writer.put(*(FundingRateRow(FundingRate(item.symbol, hour_ms, rate, None)) for hour_ms, rate in rates))
        writer.flush(_PATIENCE_S)


def _rows(symbol: str, candles: Candles, part: slice) -> list[Candle]:
    names = ("open_ms", "open", "high", "low", "close", "volume")
    columns = (getattr(candles, name)[part].tolist() for name in names)
    return [
        Candle(symbol, candles.timeframe, at_ms, open_, high, low, close, volume, None, CandleSource.IMPORT)
        for at_ms, open_, high, low, close, volume in zip(*columns, strict=True)
    ]
