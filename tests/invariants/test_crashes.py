"""I4, I6, I11, I12: killed at any instruction and restarted, the run equals one that was never interrupted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sessions import (
    CAPITAL_STOP,
    COMPLETE,
    DELAYED,
    EARLY_STOP,
    FALLBACK,
    TARGET,
    TRAILED,
    ZSCORE_STOP,
    Outcome,
    Stretch,
    live_through,
    live_through_with_kills,
)

Reference = Callable[[Stretch], tuple[Outcome, tuple[str, ...]]]

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]

# Every hit of the points around orders: (stretch, times that an intent is committed and sent).
ORDERS = ((COMPLETE, 2), (ZSCORE_STOP, 2), (CAPITAL_STOP, 1), (TRAILED, 1), (TARGET, 2))
ORDER_POINTS = ("journal.before_commit", "journal.after_commit", "send.before", "send.after")
EXITS = {
    "mean_reversion_complete": COMPLETE,
    "zscore_stop": ZSCORE_STOP,
    "capital_stop": CAPITAL_STOP,
    "trailing_stop": TRAILED,
    "target": TARGET,
}


def in_group(stretch: Stretch, *values: object, soak: bool = False) -> object:
    """Return a case that runs on the worker that has the stretch's reference."""
    marks = [pytest.mark.xdist_group(stretch.name)] + ([pytest.mark.soak] if soak else [])
    name = "-".join(str(value) for value in values)
    return pytest.param(stretch, *values, marks=marks, id=f"{stretch.name}-{name}" if name else stretch.name)


# Of every order the daemon dies at each point; a start costs seconds, so that a run dies at several, one after another.
# Dead after its commit, an order is sent by the restart, which passes no point: commit and send need runs of their own.
RUNS = {
    "commit": ("journal.before_commit:1", "journal.after_commit:1"),
    "before send": ("send.before:1",),
    "after send": ("send.after:1",),
}


def check_equal(found: Outcome, expected: Outcome) -> None:
    """Assert the same journal, orders, fills, trades, funding, equity and stored limits, and no accounting gap."""
    assert found.journal == expected.journal
    assert found.books == expected.books
    assert found.equity == expected.equity
    assert found.state == expected.state
    assert found.gap_usd < 1e-12  # an average price has 28 digits
    cloids = [row[0] for row in found.books["orders"]]
    assert len(cloids) == len(set(cloids)), "an order was doubled"


@pytest.mark.parametrize(("stretch", "orders"), [in_group(*pair) for pair in ORDERS])
def test_the_enumeration_of_order_points_is_complete(stretch: Stretch, orders: int, reference: Reference) -> None:
    """Each commit of an intent and each send is reached as often as the cases below assume; not once more."""
    _, points = reference(stretch)
    counts = Counter(points)
    assert {name: counts[name] for name in ORDER_POINTS} == dict.fromkeys(ORDER_POINTS, orders)
    assert set(counts) == {*ORDER_POINTS, "writer.before_commit", "writer.after_commit"}


@pytest.mark.parametrize("stretch", [in_group(stretch) for stretch, _ in ORDERS])
def test_the_stretches_hold_an_entry_and_an_exit(stretch: Stretch, reference: Reference) -> None:
    """The comparison would prove nothing of an empty session: one round trip each, by the exit it is named for."""
    outcome, _ = reference(stretch)
    (trade,) = outcome.books["trades"]
    assert EXITS[trade[-1]] is stretch
    assert len(outcome.books["fills"]) >= 2
    assert len(outcome.journal) >= 8


@pytest.mark.parametrize(("stretch", "orders"), [in_group(*pair) for pair in ORDERS])
@pytest.mark.parametrize("where", RUNS)
def test_a_crash_around_an_order_changes_nothing(
    stretch: Stretch, orders: int, where: str, reference: Reference, tmp_path: Path
) -> None:
    """I4: dead before or after the commit of an intent, before or after its send: no order lost, none doubled."""
    expected, _ = reference(stretch)
    crashes = RUNS[where] * orders
    found = live_through(stretch, tmp_path, crashes)
    assert found.deaths == len(crashes)
    check_equal(found, expected)


# Ordinary commits are gathered by time, so the hits are a sample: the number is the same, what is in it may not be.
# Each counts from the start that the last crash made. The stop of TRAILED moves in about its 22nd.
WRITER_SAMPLE = ((COMPLETE, (1, 20, 14)), (CAPITAL_STOP, (24,)), (ZSCORE_STOP, (38,)), (TRAILED, (21, 1, 14)))


@pytest.mark.parametrize(("stretch", "hits"), [in_group(stretch, hits) for stretch, hits in WRITER_SAMPLE])
@pytest.mark.parametrize("point", ["writer.before_commit", "writer.after_commit"])
def test_a_crash_in_the_writer_changes_nothing(
    stretch: Stretch, hits: tuple[int, ...], point: str, reference: Reference, tmp_path: Path
) -> None:
    """I4: rows of the books reach the disk in order and whole, so that any prefix is a state to go on from."""
    expected, _ = reference(stretch)
    found = live_through(stretch, tmp_path, tuple(f"{point}:{hit}" for hit in hits))
    assert found.deaths == len(hits)
    check_equal(found, expected)


@pytest.mark.parametrize(
    ("stretch", "point", "hit"),
    [
        in_group(stretch, point, hit, soak=True)
        for stretch, last in ((COMPLETE, 130), (ZSCORE_STOP, 55), (CAPITAL_STOP, 76), (TRAILED, 40))
        for point in ("writer.before_commit", "writer.after_commit")
        for hit in range(2, last, 3)
    ],
)
@pytest.mark.soak
def test_a_crash_in_any_commit_changes_nothing(
    stretch: Stretch, point: str, hit: int, reference: Reference, tmp_path: Path
) -> None:
    """The long form of the sample above: a third of all commits."""
    expected, _ = reference(stretch)
    found = live_through(stretch, tmp_path, (f"{point}:{hit}",))
    assert found.deaths == 1
    check_equal(found, expected)


# Minutes in which something happens (the first step is 1): entry fill, whole hour with funding due, funding paid,
# exit; two maker fills of one order; a stop early in its minute, priced from the book of the minute before; a stop that
# trails, the minute after, and the one in which it fires.
BUSY = (
    (COMPLETE, (46, 60, 62, 150)),
    (CAPITAL_STOP, (15, 16, 66, 67)),
    (EARLY_STOP, (16, 72, 73)),
    (ZSCORE_STOP, (15, 16, 30, 31)),
    (TRAILED, (16, 30, 31, 43)),
)
BUSY_TOO = ((FALLBACK, (15, 16, 17, 66)), (DELAYED, (15, 30, 31, 45, 60)))


@pytest.mark.parametrize(
    ("stretch", "minutes"), [*(in_group(*pair) for pair in BUSY), *(in_group(*pair, soak=True) for pair in BUSY_TOO)]
)
@pytest.mark.parametrize("unwatched", [True, False], ids=["before the minute", "within the minute"])
def test_sigkill_at_busy_minutes_changes_nothing(
    stretch: Stretch, minutes: tuple[int, ...], unwatched: bool, reference: Reference, tmp_path: Path
) -> None:
    """I4: the venue sends its newest minute again; what was handled of it counts once, what was not is made up for."""
    expected, _ = reference(stretch)
    check_equal(live_through_with_kills(stretch, tmp_path, minutes, unwatched=unwatched), expected)
