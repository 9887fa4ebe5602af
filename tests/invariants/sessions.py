"""Stepped sessions that survive the death of their daemon, for comparison with an uninterrupted one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig import DaemonDied, Rig

from perp_bot.core.errors import PerpBotError

# The present of every stretch is 15m steps while flat and 1m steps while anything is open: a stepped venue sends its
# newest minute again, so a crash can lose no more than that.
Leg = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the practice market with a known outcome."""

    name: str
    start: str
    seed: int
    legs: tuple[Leg, ...]
    settings: dict[str, Any] = field(default_factory=dict)


# ETH LONG: decided at the third close (45 minutes), filled as maker, closed by mean_reversion_complete after 2.5 hours.
COMPLETE = Stretch("complete", "400", 42, (("15m", 2), ("1m", 124)))

# ETH SHORT: decided at the first close, zscore_stop 15 minutes later, then the cooldown.
ZSCORE_STOP = Stretch("zscore_stop", "460.25", 42, (("1m", 52),))

# ETH LONG with a near capital stop, which fires between two closes; then the cooldown.
CAPITAL_STOP = Stretch("capital_stop", "522.25", 42, (("1m", 75),), {"risk": {"max_loss_per_trade_pct": 0.005}})

# The same LONG with a stop that a mark passes 12 s into a minute: it fills from the book of the minute before.
EARLY_STOP = Stretch("early_stop", "522.25", 42, (("1m", 75),), {"risk": {"max_loss_per_trade_pct": 0.0165}})


# The LONG again, part filled as maker, the rest taken from the book of the minute's beginning nine seconds into it.
FALLBACK = Stretch(
    "fallback",
    "522.25",
    42,
    (("1m", 70),),
    {"risk": {"max_loss_per_trade_pct": 0.005}, "execution": {"taker_fallback_seconds": 9}},
)

# The SHORT, sent a close later than decided: what waits is part of what must survive.
DELAYED = Stretch(
    "delayed", "460.25", 42, (("1m", 62),), {"execution": {"entry_delay_candles": 1, "cancel_if_signal_gone": False}}
)

MACD: dict[str, Any] = {"trading": {"strategy": "macd_cross"}}

# BTC SHORT by macd_cross: decided at the first close, its stop trails at the second (minute 30), the mark touches it in
# minute 43; then the cooldown. It trails sooner and closer than by default, for a short stretch.
TRAILED = Stretch(
    "trailed",
    "531",
    42,
    (("15m", 1), ("1m", 32)),
    {**MACD, "macd": {"trail_after_pct": 0.002, "trail_distance_pct": 0.002, "trail_step_pct": 0.0005}},
)

# BTC SHORT by macd_cross at its defaults: decided at the first close, a funding hour, its target in minute 52.
TARGET = Stretch("target", "747.25", 42, (("15m", 1), ("1m", 46)), MACD)


@dataclass(slots=True)
class Outcome:
    """What a session left on disk."""

    journal: list[tuple[Any, ...]]
    books: dict[str, list[tuple[Any, ...]]]
    equity: list[tuple[Any, ...]]
    state: list[tuple[Any, ...]]
    gap_usd: float
    deaths: int


def outcome_of(rig: Rig, deaths: int) -> Outcome:
    """Read what is on disk, and the accounting gap from the running daemon."""
    return Outcome(
        journal=rig.journal(),
        books=rig.books(),
        equity=rig.rows("SELECT source, venue_ms, equity_usd, cash_usd, unrealized_usd FROM equity ORDER BY venue_ms"),
        state=rig.rows(
            "SELECT key, value_json FROM bot_state WHERE key IN ('risk', 'pauses', 'pending', 'kill', 'handled_ms')"
            " ORDER BY key"
        ),
        gap_usd=rig.state().account.accounting_error_max_usd,
        deaths=deaths,
    )


def is_dead(rig: Rig, within_s: float) -> bool:
    """Whether the daemon's process ends within the time."""
    assert rig.process is not None
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if rig.process.poll() is not None:
            return True
        time.sleep(0.005)
    return False


def start_surviving(rig: Rig, crashes: list[str]) -> int:
    """Start the daemon with the next crash; when that kills it on the way, again; return how often it died."""
    deaths = 0
    while True:
        env = {"PERPBOT_CRASH_AT": crashes[0]} if crashes else None
        try:
            rig.start(env=env)
        except (DaemonDied, PerpBotError):
            if env is None or not is_dead(rig, 5.0):
                raise
            del crashes[0]
            deaths += 1
        else:
            return deaths


def walk(rig: Rig, legs: tuple[Leg, ...], crashes: tuple[str, ...] = (), env: dict[str, str] | None = None) -> int:
    """Start the daemon and step through `legs`; return how often it died.

    `crashes` are crash points (`name:k`), one after another: a daemon that died at one is started with the next, which
    counts anew. `env` is for a run without any.
    """
    left = list(crashes)
    deaths = start_surviving(rig, left) if env is None else (rig.start(env=env), 0)[1]
    for to, count in legs:
        for _ in range(count):
            rig.venue.step(to=to, count=1)
            try:
                rig.settle()
            except PerpBotError:
                if not left or not is_dead(rig, 5.0):
                    raise
                del left[0]
                deaths += 1 + start_surviving(rig, left)
    return deaths


@contextmanager
def rig_of(stretch: Stretch, folder: Path) -> Iterator[Rig]:
    """Open a venue at the start of a stretch."""
    with Rig(folder, start=stretch.start, seed=stretch.seed, settings=stretch.settings) as rig:
        yield rig


def live_through(
    stretch: Stretch, folder: Path, crashes: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> Outcome:
    """Live through a stretch, with the daemon killed at each of `crashes` in turn (see `walk`)."""
    with rig_of(stretch, folder) as rig:
        deaths = walk(rig, stretch.legs, crashes, env)
        return outcome_of(rig, deaths)


def live_through_with_kills(stretch: Stretch, folder: Path, minutes: tuple[int, ...], *, unwatched: bool) -> Outcome:
    """Live through a stretch minute by minute; SIGKILL the daemon at each of `minutes` (1 = the first step).

    `unwatched`: it is dead before the minute begins, so that all of it comes from the replay; otherwise it is killed
    while it handles the minute, wherever that finds it.
    """
    with rig_of(stretch, folder) as rig:
        rig.start()
        for minute in range(1, minutes_of(stretch) + 1):
            is_hit = minute in minutes
            if is_hit and unwatched:
                rig.kill()
            rig.venue.step()
            if is_hit:
                if not unwatched:
                    rig.kill()
                rig.start()
            else:
                rig.settle()
        return outcome_of(rig, len(minutes))


def minutes_of(stretch: Stretch) -> int:
    """Return how many minutes a stretch lasts."""
    return sum(count * int(to.removesuffix("m")) for to, count in stretch.legs)
