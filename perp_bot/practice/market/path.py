"""The price path inside one hour: a trade price for every second that touches the candle's four prices exactly.

A minute skeleton (random walk with clustered volatility plus a mean-reverting part) is bridged from open to close,
folded into the candle's range and stretched until it touches high and low; seconds are bridges between its knots.
Of a few skeletons the one that needs the least stretching is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perp_bot.practice.market import noise
from perp_bot.practice.market.hours import CLOSE, COUNT, HIGH, LOW, OPEN, VOLUME
from perp_bot.practice.market.noise import Floats, Ints

SECONDS = 3_600
MIN_TRADES = 4  # first, highest, lowest, last
_CANDIDATES = 10
_PATH_KEY, _VOLUME_KEY = 1, 2
_VOL_PERSISTENCE, _VOL_SIZE = 0.93, 0.22  # of the log volatility, minute to minute
_REVERSION = 0.90  # minute to minute: a half-life of 6.6 minutes
_REVERTING_SHARE = 0.5  # standard deviation of the reverting part, in units of a minute's own move
_SIDE_PERSISTENCE = 0.7
_SAME_OPEN = 0.45  # how often a minute opens where the last one closed; recorded: about half of the time


def _decay(persistence: float, count: int) -> Floats:
    """Return the matrix that turns white noise (rows) into an AR(1) of `count` steps."""
    lag = np.arange(count)[None, :] - np.arange(count)[:, None]
    kernel: Floats = np.where(lag >= 0, persistence ** np.maximum(lag, 0), 0.0)
    return kernel


_VOL_KERNEL = _decay(_VOL_PERSISTENCE, 60)
_REVERSION_KERNEL = _decay(_REVERSION, 61)
_FRACTION = np.arange(60) / 60.0
_LAST_FRACTION = np.arange(60) / 59.0  # the hour's last second is its close


@dataclass(frozen=True, slots=True)
class HourPath:
    """One hour, second by second, in ticks of `tick` units."""

    tick: int
    last: npt.NDArray[np.int32]  # trade price
    aggressor: npt.NDArray[np.int8]  # +1: trades lift the ask, -1: trades hit the bid
    spread: npt.NDArray[np.int8]

    @property
    def bid(self) -> Ints:
        """Best bid of every second."""
        return self.last.astype(np.int64) - np.where(self.aggressor > 0, self.spread, 0)

    @property
    def ask(self) -> Ints:
        """Best ask of every second."""
        return self.last.astype(np.int64) + np.where(self.aggressor > 0, 0, self.spread)


def hour_path(row: Ints, tick: int, seed: int, coin: int, hour: int) -> HourPath:
    """Return the path of one hour; `row` is its candle in units, `tick` its price step in units."""
    random = noise.generator(seed, _PATH_KEY, coin, hour)
    first, high, low, close = (int(row[column]) // tick for column in (OPEN, HIGH, LOW, CLOSE))
    level, sigma = _skeleton(random, float(first), float(high), float(low), float(close))
    path = _fill(random, level, sigma)
    path = _stretch(_fold(path, low, high), first, high, low, close)

    buys = _sides(random)
    top, bottom = int(np.argmax(path)), int(np.argmin(path))
    last = np.floor(path + 1e-9).astype(np.int32) + (buys > 0)
    last = np.clip(last, low, high).astype(np.int32)
    opens = np.flatnonzero(random.random(59) < _SAME_OPEN) * 60 + 60
    last[opens] = last[opens - 1]
    last[bottom], last[top] = low, high
    last[0], last[-1] = first, close

    moves = np.abs(np.diff(last, prepend=last[0]))
    wide = random.random(SECONDS)
    calm = max(4.0, 0.002 * high)  # ticks; a jump of this size leaves the book thin for a moment
    spread = 1 + (wide > 0.93).astype(np.int8) + (wide > 0.985).astype(np.int8) + (moves > calm).astype(np.int8)
    return HourPath(tick, last, buys, spread.astype(np.int8))


def minute_rows(row: Ints, path: HourPath, seed: int, coin: int, hour: int) -> Ints:
    """Return the hour's sixty candles as (60, 6) in units; volume and count sum to the hour's."""
    seconds = path.last.reshape(60, 60)
    out = np.empty((60, 6), np.int64)
    out[:, OPEN] = seconds[:, 0]
    out[:, HIGH] = seconds.max(axis=1)
    out[:, LOW] = seconds.min(axis=1)
    out[:, CLOSE] = seconds[:, -1]
    out[:, : CLOSE + 1] *= path.tick
    span = (out[:, HIGH] - out[:, LOW]) / max(1, path.tick)
    random = noise.generator(seed, _VOLUME_KEY, coin, hour)
    activity = (0.15 + span / max(1.0, float(span.mean()))) * np.exp(0.7 * random.standard_normal(60))
    count = int(row[COUNT])
    out[:, COUNT] = MIN_TRADES + noise.split(count - 60 * MIN_TRADES, np.sqrt(activity))
    out[:, VOLUME] = out[:, COUNT] + noise.split(int(row[VOLUME]) - count, activity)
    return out


def _skeleton(
    random: np.random.Generator, first: float, high: float, low: float, close: float
) -> tuple[Floats, Floats]:
    """Return the 61 minute knots and the volatility of the 60 minutes, both in ticks."""
    log_vol = random.standard_normal((_CANDIDATES, 60)) * _VOL_SIZE
    log_vol[:, 0] /= np.sqrt(1.0 - _VOL_PERSISTENCE**2)  # start from the long-run spread
    vol = np.exp(log_vol @ _VOL_KERNEL)
    share = np.cumsum(vol * vol, axis=1)
    share = np.concatenate([np.zeros((_CANDIDATES, 1)), share / share[:, -1:]], axis=1)
    vol /= np.sqrt((vol * vol).sum(axis=1, keepdims=True))  # the hour's variance is 1

    walk = np.zeros((_CANDIDATES, 61))
    np.cumsum(random.standard_normal((_CANDIDATES, 60)) * vol, axis=1, out=walk[:, 1:])
    kick = random.standard_normal((_CANDIDATES, 61)) * (_REVERTING_SHARE * np.sqrt(1.0 - _REVERSION**2) / np.sqrt(60.0))
    kick[:, 0] /= np.sqrt(1.0 - _REVERSION**2)
    walk += kick @ _REVERSION_KERNEL
    walk -= walk[:, :1]
    bridge = walk - share * walk[:, -1:]

    size = (high - low) / 1.45  # unit bridges of this kind span 1.3 to 1.6
    knots = _fold(first + size * bridge + share * (close - first), low, high)
    below = np.minimum(first, close)
    above = np.maximum(first, close)
    reach_low = (below - low + 1.0) / (below - knots.min(axis=1) + 1.0)
    reach_high = (high - above + 1.0) / (knots.max(axis=1) - above + 1.0)
    best = int(np.argmin(np.maximum(reach_low, reach_high)))
    return knots[best], size * vol[best]


def _fill(random: np.random.Generator, knots: Floats, sigma: Floats) -> Floats:
    """Return 3600 seconds: straight lines between the knots plus a Brownian bridge of each minute's volatility."""
    steps = np.cumsum(random.standard_normal((60, 60)), axis=1) / np.sqrt(60.0)
    wiggle = np.zeros((60, 60))
    wiggle[:, 1:] = steps[:, :-1]
    wiggle -= _FRACTION[None, :] * steps[:, -1:]
    fraction = np.broadcast_to(_FRACTION, (60, 60)).copy()
    fraction[-1] = _LAST_FRACTION
    wiggle[-1] -= _FRACTION * wiggle[-1, -1]
    path = knots[:-1, None] + fraction * np.diff(knots)[:, None] + sigma[:, None] * wiggle
    return path.reshape(SECONDS)


def _fold(values: Floats, low: float, high: float) -> Floats:
    """Reflect values at the range's ends until all lie within."""
    span = high - low
    if span <= 0:
        return np.full_like(values, low)
    turned = np.mod(values - low, 2.0 * span)
    folded: Floats = low + np.where(turned > span, 2.0 * span - turned, turned)
    return folded


def _stretch(path: Floats, first: int, high: int, low: int, close: int) -> Floats:
    """Map the values so that the path's own extremes become high and low, and open and close stay."""
    below, above = float(min(first, close)), float(max(first, close))
    path[0], path[-1] = first, close
    path = _reach(path, low, below, -1.0)
    path = _reach(path, high, above, 1.0)
    bottom, top = float(path.min()), float(path.max())
    known = [(bottom, float(low)), (below, below), (above, above), (top, float(high))]
    source = [known[0][0]]
    target = [known[0][1]]
    for value, image in known[1:]:
        if value > source[-1]:
            source.append(value)
            target.append(image)
    return np.interp(path, source, target)


def _reach(path: Floats, extreme: int, inner: float, sign: float) -> Floats:
    """Let a path that stays on the wrong side of `inner` touch `extreme` where it comes nearest to it."""
    own = float((path * sign).max()) * sign
    if (extreme - inner) * sign <= 0 or (own - inner) * sign > 0.02 * abs(extreme - inner):
        return path
    at = int(np.clip(np.argmax(path[60:-60] * sign) + 60, 60, SECONDS - 61))
    width = min(240, at, SECONDS - 1 - at)
    bump = np.zeros(SECONDS)
    bump[at - width : at + width + 1] = 1.0 - np.abs(np.arange(-width, width + 1)) / width
    lifted: Floats = path + (extreme - path) * bump
    lifted[0], lifted[-1] = path[0], path[-1]
    return lifted


def _sides(random: np.random.Generator) -> npt.NDArray[np.int8]:
    """Return which side trades take, second by second: runs of buying and selling."""
    flips = random.random(SECONDS) > _SIDE_PERSISTENCE
    start = 1 if random.random() < 0.5 else -1
    return (start * np.where(np.cumsum(flips) % 2 == 0, 1, -1)).astype(np.int8)
