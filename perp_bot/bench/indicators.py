"""Measures the indicators: each column and the set over a series, streamed candles, one decision row; beside TA-Lib."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perp_bot.bench.measure import Measurement, summarize, timed
from perp_bot.bench.peer_rig import Contender, start_installed
from perp_bot.bench.turns import clocked, in_turn
from perp_bot.core.errors import PerpBotError
from perp_bot.indicators import batch, compiled
from perp_bot.indicators.compiled import Column
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.rescaled_range import rescaled_range
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.streaming import StreamingSet, StreamingSets, compiled_streams
from perp_bot.indicators.warmup import decision_window

SUBJECT = "indicators"
HELP = "each indicator and the set over 1,000,000 candles, streamed, and one decision row; beside TA-Lib when installed"

CONTENDER = Contender("TA-Lib", "run_talib.py", "")
SEVEN = "seven of the set"
STREAMING = "streaming"
GIVEN = "seven of the set, columns given"
SYMBOLS = 200
TOGETHER = f"streaming, {SYMBOLS} symbols a call"
GOALS = {
    GIVEN: "goal 15",
    STREAMING: "goal 0.3; the seven, one symbol",
    TOGETHER: "goal 20; a candle of a symbol",
    "rescaled_range 100": "goal 15",
}
SETTLED = 2_000  # bars after which a start is forgotten
# Largest gap by the largest value. TA-Lib's sums of the z-score's window are carried over all the bars and drift.
TOLERANCE, DRIFT = 1e-9, 1e-6

_SEED = 42
_BEFORE_STREAM = 500  # candles that a stream begins with

Rows = NDArray[np.float64]


def run(quick: bool) -> list[Measurement]:
    """Measure on a seeded walk of 1,000,000 candles (quick: 100,000) with the compiled kernels loaded.

    Raises:
        PerpBotError: an indicator of a peer does not agree with ours.
    """
    compiled.load()
    rescaled_range(np.arange(1.0, 200.0), 100)  # compiled before it is timed, as the streams are
    compiled_streams()
    bars, streamed = (100_000, 2_000) if quick else (1_000_000, 20_000)
    candles = high, low, close = _candles(bars)
    ours = _ours(high, low, close)
    calls = {name: clocked(call) for name, call in ours.items()}
    calls[STREAMING] = clocked(partial(_stream, candles, streamed))
    rows = _of_many(candles, streamed // 10)
    calls[TOGETHER] = clocked(partial(_stream_many, rows))
    details = dict(GOALS)
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name, ExitStack() as stack:
        _write(Path(name), candles, streamed)
        for contender, worker in start_installed(SUBJECT, [CONTENDER], Path(name), stack, warm_up_rows=5_000):
            for case in worker.cases:
                label = f"{contender.peer} {worker.version}: {case}"
                made = _rows(ours[SEVEN if case == STREAMING else case]())
                last = _BEFORE_STREAM + streamed
                is_stream = case == STREAMING  # which gives its last values
                details[label] = agreement(case, made[:, last - 1 : last] if is_stream else made, worker.result(case))
                calls[label] = partial(worker.seconds, case)
        seconds = in_turn(calls, 3 if quick else 15)
    found = [_row(label, samples, seconds, details, bars, streamed) for label, samples in seconds.items()]
    found.append(_one_by_one(high, low, close, streamed))
    return found + _decided(high, low, close, 500 if quick else 5_000)


def agreement(case: str, ours: Rows, theirs: Rows) -> str:
    """Return how far a peer's rows are from ours once settled, by the largest value of each row.

    Raises:
        PerpBotError: farther than is explained.
    """
    settled = 0 if case == STREAMING else SETTLED
    mine, other = ours[:, settled:], theirs.reshape(ours.shape)[:, settled:]
    gap = float(np.max(np.max(np.abs(mine - other), axis=1) / np.max(np.abs(mine), axis=1)))  # a NaN stays one
    limit = DRIFT if case in {"zscore 20", SEVEN, STREAMING} else TOLERANCE
    if not gap <= limit:
        raise PerpBotError(f"{case}: the peer's values are {gap:.1e} from ours, more than {limit:g}: not the same work")
    return f"within {gap:.0e} of ours"


def _ours(high: Column, low: Column, close: Column) -> dict[str, Callable[[], object]]:
    like_peers: dict[str, Callable[[], object]] = {
        "zscore 20": lambda: batch.zscore(close, 20),
        "bollinger 20": lambda: batch.bollinger(close, 20, 2.0),
        "rsi 14": lambda: batch.rsi(close, 14),
        "atr 14": lambda: batch.atr(high, low, close, 14),
        "adx 14": lambda: batch.adx(high, low, close, 14),
        "ema 20": lambda: batch.ema(close, 20),
        "macd 12 26 9": lambda: batch.macd(close),
    }
    return {
        **like_peers,
        SEVEN: partial(_seven, high, low, close),
        GIVEN: partial(_seven_into, high, low, close, np.empty((11, len(close)))),
        "set": lambda: batch.indicator_set(high, low, close),
        "realized_vol 20": lambda: batch.realized_vol(close, 20),
        "hurst_vr 100": lambda: batch.hurst_vr(close, 100),
        "hurst_rs 100": lambda: batch.hurst_rs(close, 100),
        "rescaled_range 100": lambda: rescaled_range(close, 100),
    }


def _seven(high: Column, low: Column, close: Column) -> list[Column]:
    return [
        *batch.scores_and_bands(close, 20, 2.0),
        batch.rsi(close, 14),
        batch.atr(high, low, close, 14),
        batch.adx(high, low, close, 14),
        batch.ema(close, 20),
        *batch.macd(close),
    ]


def _seven_into(high: Column, low: Column, close: Column, out: Rows) -> None:
    batch.scores_and_bands(close, 20, 2.0, out=(out[0], out[1], out[2], out[3]))
    batch.rsi(close, 14, out=out[4])
    batch.atr(high, low, close, 14, out=out[5])
    batch.adx(high, low, close, 14, out=out[6])
    batch.ema(close, 20, out=out[7])
    batch.macd(close, out=(out[8], out[9], out[10]))


def _rows(made: object) -> Rows:
    if isinstance(made, list):
        return np.vstack([_rows(item) for item in made])
    return np.atleast_2d(np.asarray(made))


def _write(folder: Path, candles: tuple[Column, Column, Column], streamed: int) -> None:
    for name, column in zip(("high", "low", "close"), candles, strict=True):
        np.save(folder / f"{name}.npy", column)
    (folder / "settings.json").write_text(json.dumps({"streamed": streamed}), encoding="utf-8")


def _row(
    label: str,
    samples: list[float],
    seconds: Mapping[str, list[float]],
    details: Mapping[str, str],
    bars: int,
    streamed: int,
) -> Measurement:
    case = label.partition(": ")[2]
    ratio = float(np.median(samples) / np.median(seconds[case])) if case else None
    unit, scale = "ns/candle", 1e9 / bars
    if STREAMING in (label, case):
        unit, scale = "us/candle", 1e6 / streamed
    elif label == TOGETHER:
        scale = 1e9 / (streamed // 10 * SYMBOLS)
    return summarize(SUBJECT, label, unit, samples, scale=scale, detail=details.get(label, ""), times_ours=ratio)


def _stream(candles: tuple[Column, Column, Column], streamed: int) -> None:
    update = StreamingSet().update
    parts = (column[_BEFORE_STREAM : _BEFORE_STREAM + streamed].tolist() for column in candles)
    for high, low, close in zip(*parts, strict=True):
        update(high, low, close)


def _of_many(candles: tuple[Column, Column, Column], steps: int) -> list[tuple[Column, Column, Column]]:
    """Return the candles of every symbol step by step: one series, each symbol a bar behind the one before it."""
    high, low, close = (np.ascontiguousarray(column[: steps + SYMBOLS]) for column in candles)
    return [(high[i : i + SYMBOLS], low[i : i + SYMBOLS], close[i : i + SYMBOLS]) for i in range(steps)]


def _stream_many(rows: list[tuple[Column, Column, Column]]) -> None:
    update = StreamingSets(SYMBOLS).update
    for high, low, close in rows:
        update(high, low, close)


def _one_by_one(high: Column, low: Column, close: Column, n: int) -> Measurement:
    stream = StreamingSet()
    candles = cycle(zip(high[:n].tolist(), low[:n].tolist(), close[:n].tolist(), strict=True))
    seconds = timed(lambda: stream.update(*next(candles)), n)
    return summarize(SUBJECT, "streaming, each call timed", "us/candle", seconds, scale=1e6)


def _decided(high: Column, low: Column, close: Column, n: int) -> list[Measurement]:
    params = IndicatorParams()
    window = decision_window(params)
    highs, lows, closes = high[:window], low[:window], close[:window]
    high_list, low_list, close_list = highs.tolist(), lows.tolist(), closes.tolist()
    from_arrays = timed(lambda: decision_row(highs, lows, closes, params), n)
    from_lists = timed(lambda: decision_row(high_list, low_list, close_list, params), n)
    detail = f"{window} bars"
    return [
        summarize(SUBJECT, "decision row from arrays", "us", from_arrays, scale=1e6, detail=detail),
        summarize(SUBJECT, "decision row from lists", "us", from_lists, scale=1e6, detail=detail),
    ]


def _candles(bars: int) -> tuple[Column, Column, Column]:
    draw = np.random.default_rng(_SEED)
    close = 50_000.0 * np.exp(np.cumsum(draw.standard_t(4, bars) * 4e-4))
    return (
        close * (1 + np.abs(draw.standard_normal(bars)) * 3e-4),
        close * (1 - np.abs(draw.standard_normal(bars)) * 3e-4),
        close,
    )
