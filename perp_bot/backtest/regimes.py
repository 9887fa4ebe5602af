"""Regimes as they were recorded, and the policy where none was: NORMAL, its share told in every report.

A recorded regime holds from its time on until the next one, for `prediction.max_age_minutes` at most.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from perp_bot.backtest.grid import REGIMES
from perp_bot.backtest.market import Regimes
from perp_bot.config.model import Config
from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.data.db.reader import Reader


def max_age_ms(config: Config) -> int:
    """Return how long a recorded regime is used."""
    return round(config.prediction.max_age_minutes * MINUTE_MS)


def stored_regimes(config: Config) -> Regimes | None:
    """Return everything that the store has recorded; None where there is nothing, or no store."""
    if not config.data.db_path.exists():
        return None
    with Reader(config.data.db_path) as reader:
        rows = reader.regimes(0, 2**62)
    if not rows:
        return None
    codes = {str(regime): place for place, regime in enumerate(REGIMES)}
    times, found = np.array([at for at, _ in rows], np.int64), np.array([codes[name] for _, name in rows], np.int8)
    return Regimes(times, found, max_age_ms(config))


def regime_note(recorded: Regimes | None, first_ms: int, last_ms: int, step_ms: int) -> str:
    """Return in one sentence for which share of the closes from `first_ms` to `last_ms` a regime was recorded."""
    closes = (last_ms - first_ms) // step_ms + 1
    known = 0 if recorded is None else sum(_closes_known(recorded, first_ms, last_ms, step_ms))
    if not known:
        return "regime: none is recorded for these closes, NORMAL is assumed for 100.0% of them"
    if known == closes:
        return "regime: as recorded, for every close"
    return f"regime: as recorded for {known / closes:.1%} of the closes, NORMAL is assumed for {1 - known / closes:.1%}"


def _closes_known(recorded: Regimes, first_ms: int, last_ms: int, step_ms: int) -> Iterator[int]:
    """Yield how many closes each recorded regime holds for; few records, however many closes."""
    times = recorded.venue_ms.tolist()
    for at_ms, next_ms in zip(times, [*times[1:], last_ms + 1], strict=True):
        until = min(next_ms - 1, last_ms)
        if recorded.max_age_ms is not None:
            until = min(until, at_ms + recorded.max_age_ms)
        before = max(0, -(-(at_ms - first_ms) // step_ms))  # closes earlier than the record
        yield max(0, (until - first_ms) // step_ms + 1 - before)
