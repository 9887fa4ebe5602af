"""Whatever the venue does, and in whatever order it is heard of: the live executor stays safe and comes to rest.

Each example is a list of moves that hypothesis chooses: what the venue answers to which command, which message arrives
when, twice or never, what fills, how time goes, when the loop dies. `Bench.check` looks at every step; afterwards
everything is delivered, the venue accepts what it gets, and all has to agree within a bounded time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from live_bench import CONFIG, T0, Bench, D

from perp_bot.core.types import OrderRole, OrderSide, Side
from perp_bot.execution.live.commands import SendAction
from perp_bot.execution.live.outside import OUTSIDE
from perp_bot.execution.live.rejections import Reason

Move = tuple[str, int, int]

FATES = ("ok", "ok", "ok", "lost", "vanished", "untraced", "traceless", "not_sent", "unclear", "refused", "fail")
REFUSALS = (
    Reason.MARGIN,
    Reason.TICK,
    Reason.TRIGGER_PX,
    Reason.REDUCE_ONLY,
    Reason.NO_MATCH,
    Reason.ACTION_BUDGET,
    Reason.UNKNOWN,
)
SIZES = (D("0.05"), D("0.3"), D("0.5"), D("0.95"), D(1))
TIMES = (0.1, 0.3, 0.6, 1.1, 5.0, 11.0, 31.0)
MARKS = (D(100), D("100.5"), D(101), D(99), D("95.5"), D("93.9"), D(90))
STOPS = (95.0, 96.5, 92.0)


def serve(bench: Bench, which: int, how: int) -> None:
    if not bench.port.inbox:
        return
    index = which % len(bench.port.inbox)
    command = bench.port.inbox[index]
    fate = FATES[how % len(FATES)]
    is_cancel = isinstance(command, SendAction) and not command.cloids
    if fate == "refused":
        fate = "not_sent" if is_cancel else REFUSALS[(how // len(FATES)) % len(REFUSALS)].value
    bench.serve(index, "ok" if fate == "fail" and isinstance(command, SendAction) else fate)


def deliver(bench: Bench, which: int, how: int) -> None:
    if bench.outbox:
        bench.deliver(which % len(bench.outbox))


def hear(bench: Bench, which: int, how: int) -> None:
    if bench.venue.stream:
        bench.hear(which % len(bench.venue.stream), keep=how % 3 == 0)


def lose(bench: Bench, which: int, how: int) -> None:
    if bench.venue.stream:
        bench.venue.stream.pop(which % len(bench.venue.stream))


def settle(bench: Bench, which: int, how: int) -> None:
    if bench.unsettled:
        bench.settle_unknown(which % len(bench.unsettled))


def match(bench: Bench, which: int, how: int) -> None:
    resting = [o.cloid for o in bench.venue.orders.values() if o.is_open and o.trigger_px is None and o.cloid]
    if resting:
        bench.venue.match(resting[which % len(resting)], SIZES[how % len(SIZES)])


def wait(bench: Bench, which: int, how: int) -> None:
    bench.run_pass(dt=TIMES[how % len(TIMES)])


def move_mark(bench: Bench, which: int, how: int) -> None:
    bench.venue.depth = (ZERO_DEPTH, D("0.4"), D(1_000))[which % 3]
    bench.venue.set_mark(MARKS[how % len(MARKS)])


def move_stop(bench: Bench, which: int, how: int) -> None:
    """A strategy moves the stop of a long, to where the mark is not yet."""
    px = STOPS[how % len(STOPS)]
    if bench.venue.mark > px and all(position.side is Side.LONG for position in bench.executor.positions):
        bench.move_stop(px)


def close(bench: Bench, which: int, how: int) -> None:
    bench.close()


def cancel_entry(bench: Bench, which: int, how: int) -> None:
    for order in bench.executor.live_orders:
        if order.intent.role is OrderRole.ENTRY:
            bench.executor.cancel(order.intent.cloid, bench.now_ms, "conditions no longer hold")
    bench.run_pass()


def restart(bench: Bench, which: int, how: int) -> None:
    bench.restart(which % 4)


def land(bench: Bench, which: int, how: int) -> None:
    bench.land()


def outside(bench: Bench, which: int, how: int) -> None:
    side = OrderSide.BUY if which % 2 else OrderSide.SELL
    bench.venue.outside(side, str(SIZES[how % len(SIZES)]), str(bench.venue.mark))


ZERO_DEPTH = Decimal(0)
MOVES: dict[str, Callable[[Bench, int, int], None]] = {
    "serve": serve,
    "deliver": deliver,
    "hear": hear,
    "lose": lose,
    "settle": settle,
    "match": match,
    "wait": wait,
    "mark": move_mark,
    "stop": move_stop,
    "close": close,
    "cancel": cancel_entry,
    "restart": restart,
    "land": land,
    "outside": outside,
}


def moves(*names: str, most: int = 25) -> st.SearchStrategy[list[Move]]:
    """Return lists of moves of these kinds; serving and hearing come more often."""
    kinds = st.sampled_from(("serve", "serve", "serve", "deliver", "deliver", "hear", "hear", *names))
    return st.lists(st.tuples(kinds, st.integers(0, 5), st.integers(0, 76)), min_size=3, max_size=most)


def begun(policy: str = "protect") -> Bench:
    """A flat account that was read once."""
    bench = Bench(replace(CONFIG, execution=replace(CONFIG.execution, unknown_positions=policy)))
    bench.start(T0, is_first=True)
    bench.serve_all()
    return bench


def held(size: str = "1") -> Bench:
    """A long position of `size` that an entry made, with its stop resting."""
    bench = begun()
    bench.enter(size=size)
    bench.serve_all()
    assert bench.executor.coverage("BTC") == 1
    return bench


def play(bench: Bench, script: list[Move]) -> None:
    """Make the moves, then let everything be delivered and come to rest."""
    for name, which, how in script:
        MOVES[name](bench, which, how)
    bench.venue.depth = D(1_000)
    bench.quiesce()


SAFE = ("settle", "settle", "lose", "match", "match", "wait", "wait")


@settings(max_examples=120, derandomize=True, deadline=None)
@given(moves(*SAFE, "mark", "cancel"))
def test_an_entry_with_its_fallback_never_fills_beyond_its_size(script: list[Move]) -> None:
    """Limit and remainder together stay within the intent, whatever is lost, refused, late or told twice."""
    bench = begun()
    bench.venue.mark = D(101)
    bench.enter()
    play(bench, script)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(moves(*SAFE, "mark", "stop"))
def test_a_moved_stop_leaves_no_gap(script: list[Move]) -> None:
    """The old stop goes once the new one rests; the position is covered again, or closed, when the venue accepts."""
    bench = held()
    bench.move_stop(95.0)
    play(bench, script)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(moves(*SAFE, "mark"), st.booleans())
def test_a_close_ends_flat(script: list[Move], has_entry: bool) -> None:
    """Closing goes on until the position is gone, and never through zero, even with the entry still working."""
    bench = begun()
    bench.venue.mark = D(101) if has_entry else D(100)
    cloid = bench.enter().cloid
    bench.serve_all()
    if has_entry:
        bench.venue.match(cloid, D("0.4"))
        bench.serve_all()
    bench.close()
    assert bench.closing
    play(bench, script)
    assert bench.venue.position == 0


@settings(max_examples=120, derandomize=True, deadline=None)
@given(moves(*SAFE, "mark", "stop", "close", "cancel", "restart", "restart", "land", most=35))
def test_a_restart_at_any_moment_converges(script: list[Move]) -> None:
    """Killed with any of its last writes lost, the loop finds its orders again and nothing is doubled."""
    bench = begun()
    bench.venue.mark = D(101)
    bench.enter()
    play(bench, script)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(
    moves(*SAFE, "mark", "stop", "close", "cancel", "restart", "outside", "outside", most=35),
    st.sampled_from(("protect", "adopt", "flatten", "refuse")),
)
def test_the_owners_own_trades_in_between_leave_books_and_venue_equal(script: list[Move], policy: str) -> None:
    """He opens, adds, closes and turns while orders work: every position is covered, or closed, all agrees."""
    bench = begun(policy)
    bench.venue.mark = D(101)
    bench.enter()
    play(bench, script)
    if policy == "flatten":
        assert all(position.strategy != OUTSIDE for position in bench.executor.positions)
