"""Every combination of what can go wrong with one entry, one moved stop, one close: none is left to chance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from live_bench import T0, Bench, D

from perp_bot.execution.live.commands import SendAction
from perp_bot.execution.live.rejections import Reason

HEARD = ("in order", "reversed", "twice", "not")
CANCELS = ("ok", "lost", "vanished", "not_sent")
REACHES = ("ok", "lost", "untraced", "unclear")
FAILS = ("vanished", "traceless", "not_sent", Reason.MARGIN.value, Reason.UNKNOWN_WALLET.value)
LATEST_S = 75.0  # a message that the stream lost is found by the next read of the account, a minute later at most


def begun(mark: str) -> Bench:
    bench = Bench()
    bench.start(T0, is_first=True)
    bench.serve_all()
    bench.venue.mark = D(mark)
    return bench


def hear(bench: Bench, how: str) -> None:
    """Let the stream's messages arrive."""
    if how == "reversed":
        bench.venue.stream.reverse()
    if how == "twice":
        bench.venue.stream += bench.venue.stream
    if how == "not":
        bench.venue.stream.clear()
    bench.hear_all()


def answer(bench: Bench, kind: str, fate: str) -> None:
    """Let the first order or cancel that waits meet its fate, and be answered."""
    for index, command in enumerate(bench.port.inbox):
        if isinstance(command, SendAction) and command.action["type"] == kind:
            bench.serve(index, fate)
            break
    while bench.outbox:
        bench.deliver()
    while bench.unsettled:
        bench.settle_unknown(0)
        bench.deliver()


def entries() -> Iterator[tuple[str, str, str, str, str, str]]:
    """What the limit meets, what fills it, how that is heard, what its cancel meets, what fills meanwhile, the rest."""
    rests = ("ok", "lost", "vanished", "untraced", Reason.NO_MATCH.value)
    cancels = (("ok", "0"), ("ok", "0.3"), ("lost", "0"), ("vanished", "0.3"), ("not_sent", "0"))
    for place, filled, heard, (cancel, late), rest in product(REACHES, ("0", "0.4", "1"), HEARD, cancels, rests):
        yield place, filled, heard, cancel, late, rest
    yield from product(FAILS, ("0",), ("in order",), ("ok",), ("0",), rests)


def one_entry(place: str, filled: str, heard: str, cancel: str, late: str, rest: str) -> None:
    bench = begun("101")
    cloid = bench.enter().cloid
    answer(bench, "order", place)
    bench.venue.match(cloid, D(filled)) if D(filled) else None
    hear(bench, heard)
    bench.run_pass(dt=30.0)
    bench.venue.match(cloid, D(late)) if D(late) else None
    answer(bench, "cancelByCloid", cancel)
    hear(bench, heard)
    bench.run_pass(dt=1.0)
    answer(bench, "order", rest)
    hear(bench, heard)
    assert bench.quiesce() <= LATEST_S


def moves() -> Iterator[tuple[str, str, str, str]]:
    """What the new stop meets, which one fires unheard, how that is heard, what the old one's cancel meets."""
    refused = (Reason.TRIGGER_PX.value, Reason.OPEN_ORDERS.value)
    yield from product((*REACHES, *FAILS, *refused), ("none", "old", "new"), HEARD, CANCELS)


def one_move(place: str, fires: str, heard: str, cancel: str) -> None:
    bench = begun("100")
    bench.enter()
    bench.serve_all()
    bench.move_stop(96.0)
    if fires == "old":
        bench.venue.set_mark(D("93.9"))
    answer(bench, "order", place)
    if fires == "new":
        bench.venue.set_mark(D("95.5"))
    hear(bench, heard)
    answer(bench, "cancelByCloid", cancel)
    hear(bench, heard)
    assert bench.quiesce() <= LATEST_S


def closes() -> Iterator[tuple[str, str, bool, str, str, str]]:
    """What the exit meets, how much it finds, whether an entry works, its cancel, how it is heard, the next exit."""
    fates = (*REACHES, "vanished", "traceless", "not_sent", Reason.NO_MATCH.value)
    yield from product(fates, ("0.3", "100"), (False,), ("ok",), HEARD, ("ok", "lost", "vanished"))
    yield from product(fates, ("0.3", "100"), (True,), CANCELS, HEARD, ("ok", "lost"))


def one_close(place: str, depth: str, has_entry: bool, cancel: str, heard: str, then: str) -> None:
    bench = begun("101" if has_entry else "100")
    cloid = bench.enter().cloid
    bench.serve_all()
    if has_entry:
        bench.venue.match(cloid, D("0.4"))
        bench.serve_all()
    bench.venue.depth = D(depth)
    bench.close()
    answer(bench, "order", place)
    bench.venue.match(cloid, D("0.2"))
    answer(bench, "cancelByCloid", cancel)
    hear(bench, heard)
    bench.venue.depth = D(100)
    bench.run_pass(dt=1.0)
    answer(bench, "order", then)
    hear(bench, heard)
    assert bench.quiesce() <= LATEST_S
    assert bench.venue.position == 0


@pytest.mark.slow
@pytest.mark.parametrize("place", [*REACHES, *FAILS])
def test_every_entry_stays_within_its_size(place: str) -> None:
    """Whatever becomes of limit, cancel and remainder."""
    for case in entries():
        if case[0] == place:
            one_entry(*case)


@pytest.mark.slow
@pytest.mark.parametrize("heard", HEARD)
def test_every_moved_stop_leaves_the_position_covered_or_closed(heard: str) -> None:
    """Whatever becomes of the new one and of the old one's cancel."""
    for case in moves():
        if case[2] == heard:
            one_move(*case)


@pytest.mark.slow
@pytest.mark.parametrize("heard", HEARD)
def test_every_close_ends_flat(heard: str) -> None:
    """Whatever becomes of the exit, of the next one and of the entry behind them."""
    for case in closes():
        if case[4] == heard:
            one_close(*case)
