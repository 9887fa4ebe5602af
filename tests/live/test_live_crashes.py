"""I4, I5, I6 live: killed before and after every journal write and every send, nothing is lost or doubled."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from live_rig import LiveRig
from live_sessions import POINTS, crashed, judge_condemned, points_of, revive, step_condemned

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]

ORDERS = 4  # entry, what it left, stop, exit
HITS = {
    "journal.before_commit": ORDERS,
    "journal.after_commit": ORDERS,
    "send.before": ORDERS,
    "send.after": ORDERS,
    "post.order.before": ORDERS,
    "post.order.after": ORDERS,
    "post.updateLeverage.before": 1,
    "post.updateLeverage.after": 1,
}
CANCELS = ("post.cancelByCloid.before", "post.cancelByCloid.after")  # of the entry
CASES = [(point, hit) for point, count in HITS.items() for hit in range(1, count + 1)]
CASES += [(point, 1) for point in CANCELS]
# Dead before the taker reached the venue, the session has no position, and the restart makes none: an entry that was
# not sent is written off once its time is over, and what a cancelled one left is nobody's any more.
MAY_MISS_IT = {
    *((point, hit) for point in HITS if not point.startswith("post") for hit in (1, 2)),
    *((point, 1) for point in CANCELS),
    ("post.order.before", 1),
    ("post.order.after", 1),
    ("post.order.before", 2),
}
WRITER_HITS = (2, 6, 10)  # gathered by time: the number is the same, what is in it may not be
KILLS = 200


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often the uninterrupted round trip reaches each crash point."""
    return points_of(tmp_path_factory.mktemp("points"))


def check_over(rig: LiveRig, *, may_miss: bool) -> None:
    """Judge a session that is over: nothing is left at the venue, of one round trip or, where allowed, of none."""
    rig.until("it is flat", lambda: rig.held == {}, 8.0)
    rig.until("nothing rests", lambda: rig.resting == [], 8.0)
    assert rig.seen.round_trips in ((0, 1) if may_miss else (1,))
    assert rig.stop() == 0


def test_the_enumeration_is_complete(points: Counter[str]) -> None:
    """Every journal write and every send of the round trip is among the cases; not one more.

    But for one: a stop that the exit left behind is cancelled a second time when the venue's word comes late.
    """
    assert {name: points[name] for name in HITS} == HITS
    assert {points[name] for name in CANCELS} <= {1, 2}
    assert set(points) == set(POINTS)
    assert points["writer.before_commit"] >= max(WRITER_HITS)


@pytest.mark.parametrize(("point", "hit"), CASES)
def test_a_crash_around_an_order_converges(point: str, hit: int, tmp_path: Path) -> None:
    """One entry, one stop, one exit at the venue, whatever the moment; covered within ten seconds of the start."""
    with crashed(tmp_path, point, hit) as rig:
        check_over(rig, may_miss=(point, hit) in MAY_MISS_IT)


@pytest.mark.parametrize("hit", WRITER_HITS)
@pytest.mark.parametrize("point", ["writer.before_commit", "writer.after_commit"])
def test_a_crash_in_the_writer_converges(point: str, hit: int, tmp_path: Path) -> None:
    """Rows reach the disk in order, so that any prefix of them is a state to go on from."""
    with crashed(tmp_path, point, hit) as rig:
        check_over(rig, may_miss=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_hundreds_of_random_kills_converge(seed: int, tmp_path: Path) -> None:
    """Every daemon is condemned to die somewhere in its first steps, many are killed by hand; judged at every step."""
    rng = random.Random(seed)
    settings = {"risk": {"session_drawdown_pct": 0.9, "cooldown_seconds": 60}}
    with LiveRig(tmp_path, settings=settings) as rig:
        rig.venue.set_limits(weight_per_minute=1_000_000)  # many starts in one minute of a stepped venue
        kills = revive(rig, rng)
        while kills < KILLS // 2:
            kills += step_condemned(rig, rng)
            kills += judge_condemned(rig, rng)
        assert rig.seen.round_trips > 0
