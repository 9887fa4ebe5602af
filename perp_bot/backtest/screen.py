"""Markets ranked for mean reversion from stored data: traded enough, a narrow spread, and how much they revert.

What is not known does not pass: a market without a recorded spread, or with holes in the last day, is `unknown`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from perp_bot.backtest.reversion import HalfLife, VarianceRatio, half_life, variance_ratio
from perp_bot.config.model import Config
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import DAY_MS, FIXED_MS, iso
from perp_bot.data.columns import CandleArrays, read_candles
from perp_bot.data.db.reader import Reader

LEAST_VOLUME_USD = 50e6
_HASH_DIGITS = 16
MOST_SPREAD = 0.0005  # fraction of mid
SURE_Z = -1.645  # one-sided 5 %
Advance = Callable[[float], None]


class Verdict(StrEnum):
    """Whether a market may be traded at all; how much it reverts is the order within."""

    PASSES = "passes"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Screened:
    """One market."""

    symbol: str
    verdict: Verdict
    reasons: tuple[str, ...]  # what fails, and what is not known
    at_ms: int  # newest close: volume and spread are of the 24 hours before it
    volume_usd: float | None  # sum of candle volume (coins) x close
    spread: float | None  # median of the recorded ones, fraction of mid
    spreads: int  # how many were recorded
    ratio: VarianceRatio | None
    half_life: HalfLife | None
    from_ms: int | None  # first candle that the reversion is measured on: the newest stretch without a hole
    generated_share: float  # of those candles
    data_hash: str  # of the candles and spreads that were read

    @property
    def is_reverting(self) -> bool:
        """Whether a random walk would show so low a variance ratio in less than 5 % of the cases."""
        return self.ratio is not None and self.ratio.z <= SURE_Z


def screen(
    config: Config, symbols: Sequence[str] | None, *, horizon: int, bars: int, advance: Advance
) -> list[Screened]:
    """Return every stored market of the primary timeframe, best first: passing ones, then unknown, then failing.

    Raises:
        UsageError: nothing of that timeframe is stored.
    """
    path, timeframe = config.data.db_path, config.data.primary_timeframe
    with Reader(path) as reader:
        there = [row for row in reader.series() if row.timeframe == timeframe]
    chosen = [row for row in there if symbols is None or row.symbol in symbols]
    if timeframe not in FIXED_MS or not chosen:
        stored = ", ".join(row.symbol for row in there) or "nothing of it is stored"
        raise UsageError(f"no {timeframe} candles to screen ({stored}); see: perpbot data list")
    newest_ms = max(row.last_ms for row in chosen) + FIXED_MS[timeframe]
    found = []
    for place, row in enumerate(chosen):
        candles = read_candles(path, row.symbol, timeframe, row.last_ms - max(bars * FIXED_MS[timeframe], 2 * DAY_MS))
        found.append(screen_one(candles, _spreads(path, row.symbol, candles), newest_ms, horizon=horizon, bars=bars))
        advance((place + 1) / len(chosen))
    rank = {Verdict.PASSES: 0, Verdict.UNKNOWN: 1, Verdict.FAILS: 2}
    return sorted(found, key=lambda item: (rank[item.verdict], np.inf if item.ratio is None else item.ratio.z))


def _spreads(path: Path, symbol: str, candles: CandleArrays) -> list[float]:
    """Return the recorded spreads of the last 24 hours, fractions of mid."""
    at_ms = int(candles.open_ms[-1]) + FIXED_MS[candles.timeframe]
    with Reader(path) as reader:
        rows = reader.signals("fast", at_ms - DAY_MS, at_ms + 1)
    values = [snapshot.get("coins", {}).get(symbol, {}).get("spread_bps") for _, snapshot in rows]
    return [value / 1e4 for value in values if value is not None]


def screen_one(candles: CandleArrays, spreads: Sequence[float], newest_ms: int, *, horizon: int, bars: int) -> Screened:
    """Return what the stored candles and spreads say of one market; `newest_ms` is the newest close of all markets."""
    step = FIXED_MS[candles.timeframe]
    at_ms = int(candles.open_ms[-1]) + step
    fails, unknown = [], []
    if at_ms < newest_ms:
        unknown.append(f"its candles end at {iso(at_ms)}, others go on to {iso(newest_ms)}")
    volume, why = _volume(candles, at_ms)
    if volume is None:
        unknown.append(why)
    elif not volume > LEAST_VOLUME_USD:
        fails.append(f"24 h volume is not above {LEAST_VOLUME_USD / 1e6:g}M USD")
    spread = median(spreads) if spreads else None
    if spread is None:
        unknown.append("no spread is recorded for these 24 hours (perpbot trade records them)")
    elif not spread < MOST_SPREAD:
        fails.append(f"spread is not below {MOST_SPREAD * 100:g} %")
    first = _stretch(candles, bars)
    log_price = np.log(candles.close[first:])
    ratio = variance_ratio(log_price, horizon)
    if ratio is None:
        unknown.append(f"{len(log_price):,} candles without a hole are too few for a horizon of {horizon} (or flat)")
    verdict = Verdict.FAILS if fails else Verdict.UNKNOWN if unknown else Verdict.PASSES
    return Screened(
        candles.symbol, verdict, (*fails, *unknown), at_ms, volume, spread, len(spreads), ratio, half_life(log_price),
        int(candles.open_ms[first]) if len(log_price) else None, float(candles.generated[first:].mean()),
        _hash(candles, spreads),
    )  # fmt: skip


def _hash(candles: CandleArrays, spreads: Sequence[float]) -> str:
    digest = hashlib.sha256(repr((candles.symbol, candles.timeframe)).encode())
    for column in (candles.open_ms, candles.close, candles.volume, candles.generated, np.array(spreads)):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:_HASH_DIGITS]


def hash_of(found: Sequence[Screened]) -> str:
    """Return a short name of all the data that a screen read, in whatever order it ranks them."""
    whole = repr(sorted((item.symbol, item.data_hash) for item in found))
    return hashlib.sha256(whole.encode()).hexdigest()[:_HASH_DIGITS]


def _volume(candles: CandleArrays, at_ms: int) -> tuple[float | None, str]:
    """Return the USD traded in the 24 hours before, or None and why it is not known."""
    step = FIXED_MS[candles.timeframe]
    if DAY_MS % step:
        return None, f"24 hours are no whole number of {candles.timeframe} candles"
    inside = candles.open_ms >= at_ms - DAY_MS
    values = candles.volume[inside] * candles.close[inside]
    there = int(np.isfinite(values).sum())
    if there < DAY_MS // step:
        return None, f"{DAY_MS // step - there} of the {DAY_MS // step} candles of the last 24 hours are missing"
    return float(values.sum()), ""


def _stretch(candles: CandleArrays, bars: int) -> int:
    """Return where the newest stretch begins that has no hole and no impossible price, at most `bars` long."""
    bad = np.flatnonzero(~(np.isfinite(candles.close) & (candles.close > 0)))
    gaps = np.flatnonzero(np.diff(candles.open_ms) != FIXED_MS[candles.timeframe])
    return max(len(candles) - bars, 0, int(bad[-1]) + 1 if len(bad) else 0, int(gaps[-1]) + 1 if len(gaps) else 0)


def as_json(found: Sequence[Screened], timeframe: str, horizon: int) -> dict[str, Any]:
    """Return what is stored and printed, as plain values."""
    return {
        "timeframe": timeframe,
        "horizon": horizon,
        "least_volume_usd": LEAST_VOLUME_USD,
        "most_spread": MOST_SPREAD,
        "markets": [
            {
                **asdict(item), "verdict": str(item.verdict), "reasons": list(item.reasons), "at": iso(item.at_ms),
                "is_reverting": item.is_reverting,
                "p_reverting": None if item.ratio is None else item.ratio.p_reverting,
            }
            for item in found
        ],
    }  # fmt: skip
