"""A live round trip that survives the death of its daemon: a limit entry that takes, its stop, its exit."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live_rig import LiveRig
from rig import DaemonDied

from perp_bot.core.errors import PerpBotError
from perp_bot.ops.crash_points import AT_VARIABLE, LOG_VARIABLE

# The ETH short: decided at the first close, cancelled and taken in the minute after, its stop; left at the next close.
LEGS = ("15m", "1m", "1m", "15m", "1m")
DIES_WITHIN_S = 5.0
POINTS = (
    "journal.before_commit", "journal.after_commit", "send.before", "send.after",
    "post.order.before", "post.order.after", "post.updateLeverage.before", "post.updateLeverage.after",
    "post.cancelByCloid.before", "post.cancelByCloid.after",
    "writer.before_commit", "writer.after_commit",
)  # fmt: skip


def is_dead(rig: LiveRig, within_s: float = DIES_WITHIN_S) -> bool:
    """Whether the daemon is killed within the time; one that ended by itself has failed."""
    assert rig.process is not None
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if (code := rig.process.poll()) is not None:
            return code == -signal.SIGKILL
        time.sleep(0.005)
    return False


def start(rig: LiveRig, env: dict[str, str]) -> int:
    """Start the daemon; when `env` kills it on the way, start it again without; return how often it died."""
    try:
        rig.start(env=env)
    except (DaemonDied, PerpBotError):
        if not is_dead(rig):
            raise
        rig.restart()
        return 1
    return 0


def go(rig: LiveRig, to: str, deaths: int) -> int:
    """Step and let it be handled; a daemon that dies of it is started again; return how often it has died."""
    rig.venue.step(to=to, count=1)
    try:
        rig.settle()
    except (DaemonDied, PerpBotError):
        if deaths or not is_dead(rig):
            raise
        rig.restart()
        return deaths + 1
    return deaths


def judge(rig: LiveRig, deaths: int) -> int:
    """Judge the venue's books; a daemon that dies of what came last only now is started again first."""
    try:
        rig.check()
    except DaemonDied:
        if deaths or not is_dead(rig):
            raise
        rig.restart()
        rig.check()
        return deaths + 1
    return deaths


def live_through(rig: LiveRig, env: dict[str, str]) -> int:
    """Live through the round trip, with the daemon killed where `env` says; judge at every step."""
    deaths = start(rig, env)
    for to in LEGS:
        deaths = judge(rig, go(rig, to, deaths))
    return deaths


def points_of(folder: Path) -> Counter[str]:
    """Return how often each crash point is reached by the round trip when nothing kills it."""
    log = folder / "points"
    folder.mkdir(parents=True, exist_ok=True)
    with LiveRig(folder / "run") as rig:
        assert live_through(rig, {LOG_VARIABLE: str(log)}) == 0
        assert rig.seen.round_trips == 1
        assert rig.stop() == 0
    return Counter(log.read_text().split())


def killed_at(point: str, hit: int) -> dict[str, str]:
    """Return the environment of a daemon that dies there."""
    return {AT_VARIABLE: f"{point}:{hit}"}


def killed_somewhere(rng: random.Random) -> dict[str, str]:
    """Return the environment of a daemon that dies at one of its next journal writes, sends or commits."""
    return killed_at(rng.choice(POINTS), rng.randint(1, 4))


def revive(rig: LiveRig, rng: random.Random) -> int:
    """Start the daemon, condemned again, until one start lives; return how many did not."""
    deaths = 0
    while True:
        try:
            rig.restart(env=killed_somewhere(rng))
        except (DaemonDied, PerpBotError):
            if not is_dead(rig):
                raise
            deaths += 1
        else:
            return deaths


def kill_within(rig: LiveRig, seconds: float) -> None:
    """SIGKILL the daemon after some time, or find it dead before."""
    assert rig.process is not None
    try:
        rig.process.wait(seconds)
    except subprocess.TimeoutExpired:
        rig.kill()


def step_condemned(rig: LiveRig, rng: random.Random) -> int:
    """Step a condemned daemon, sometimes killing it by hand on the way; revive it; return how often it died."""
    is_busy = bool(rig.held or rig.resting)
    rig.venue.step(to="1m" if is_busy else "15m", count=1)
    if rng.random() < 0.4:
        kill_within(rig, rng.uniform(0.0, 0.4))
    try:
        rig.settle()
    except (DaemonDied, PerpBotError):
        if not is_dead(rig):
            raise
        return 1 + revive(rig, rng)
    return 0


def judge_condemned(rig: LiveRig, rng: random.Random) -> int:
    """Judge the venue's books; revive a daemon that dies of what came last only now; return how often it died."""
    deaths = 0
    while True:
        try:
            rig.check()
        except DaemonDied:
            if not is_dead(rig):
                raise
            deaths += 1 + revive(rig, rng)
        else:
            return deaths


@contextmanager
def crashed(folder: Path, point: str, hit: int) -> Iterator[LiveRig]:
    """Live through the round trip with a crash; yield the rig when it is over."""
    with LiveRig(folder, name=f"{point}:{hit}") as rig:
        deaths = live_through(rig, killed_at(point, hit))
        assert deaths == 1, f"{point}:{hit} was not reached"
        yield rig
