"""I4, I5, I6 live: killed before and after every journal write and every send, nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from live_sessions import crashed, points_of

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90), pytest.mark.xdist_group("live crashes")]

ORDERS = 4  # entry, what it left, stop, exit
POSTS = 6  # the leverage, entry, its cancel, taker, stop, exit
POINTS = {
    "journal.before_commit": ORDERS,
    "journal.after_commit": ORDERS,
    "send.before": ORDERS,
    "send.after": ORDERS,
    "post.before": POSTS,
    "post.after": POSTS,
}
CASES = [(point, hit) for point, count in POINTS.items() for hit in range(1, count + 1)]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """How often the uninterrupted round trip reaches each crash point."""
    return points_of(tmp_path_factory.mktemp("points"))


def test_the_enumeration_is_complete(points: Counter[str]) -> None:
    """Every journal write and every send of the round trip is among the cases; not one more."""
    assert {name: points[name] for name in POINTS} == POINTS
    assert set(points) == {*POINTS, "writer.before_commit", "writer.after_commit"}


@pytest.mark.parametrize(("point", "hit"), CASES)
def test_a_crash_around_an_order_converges(point: str, hit: int, tmp_path: Path) -> None:
    """One entry, one stop, one exit at the venue, whatever the moment; covered within ten seconds of the start."""
    with crashed(tmp_path, point, hit) as rig:
        assert rig.held == {}
        assert rig.resting == []
        assert rig.seen.round_trips == 1
        assert rig.stop() == 0
