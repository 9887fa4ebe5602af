"""The thread bridge: life, schedules, timeouts, blocking calls, and who gets which answer."""

from __future__ import annotations

import _posixsubprocess
import _socket
import _thread
import asyncio
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from signals_stand_in import StandIn, book

from perp_bot.config.model import Config
from perp_bot.core.clock import FixedClock, VenueClock, monotonic_s
from perp_bot.core.errors import PerpBotError, UsageError, VenueTimeout
from perp_bot.data.limiter import WeightLimiter
from perp_bot.signals.service import SignalService
from perp_bot.signals.snapshot import FastSnapshot, Scale, SignalQualityMetadata
from perp_bot.signals.wiring import LimiterBudget, fast_settings, signal_service

START = 1_790_232_240_000


def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Poll `condition`, fail after the deadline."""
    deadline_s = monotonic_s() + within_s
    while not condition():
        assert monotonic_s() < deadline_s, "the condition did not come true in time"
        time.sleep(0.002)


def snapshot(venue_ms: int) -> FastSnapshot:
    quality = SignalQualityMetadata(venue_ms, 1.0, 0.0, (), is_cached=False)
    return FastSnapshot(venue_ms, monotonic_s(), {}, None, quality)


class Collector:
    """A collector that counts, and waits at a gate when it is told to."""

    def __init__(self, clock: VenueClock, interval_s: float = 5.0, timeout_s: float = 30.0) -> None:
        self.clock = clock
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self.starts: list[int] = []
        self.under_way = 0
        self.most_under_way = 0
        self.cancelled = 0
        self.is_closed = False
        self.failing: Exception | None = None
        self.gates: list[threading.Event] = []  # the next collections wait for these, in order

    async def collect(self) -> FastSnapshot:
        self.starts.append(self.clock.now_ms())
        at_ms = self.clock.now_ms()
        gate = self.gates.pop(0) if self.gates else None
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            while gate is not None and not gate.is_set():  # noqa: ASYNC110 - the gate belongs to another thread
                await asyncio.sleep(0.002)
            if self.failing is not None:
                raise self.failing
            return snapshot(at_ms)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.is_closed = True


class Bench:
    """A service with a counting collector on a stepped clock."""

    def __init__(self, speed: float | None = None, **options: float) -> None:
        self.clock = VenueClock(START, speed)
        self.collector = Collector(self.clock, **options)
        self.service = SignalService(self.clock, lambda: {Scale.FAST: self.collector}, min_gap_s=0.0)

    def step(self, seconds: float) -> int:
        to_ms = self.clock.now_ms() + int(seconds * 1000)
        self.service.on_clock(to_ms)
        return to_ms


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    assert made.service.stop(5.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "signals"]


def test_the_first_snapshot_comes_by_itself_and_is_read_without_waiting(bench: Bench) -> None:
    """Before the start and the first collection there is None; then the newest snapshot."""
    assert bench.service.latest() is None
    bench.service.start()
    until(lambda: bench.service.latest() is not None)
    assert bench.service.latest() is bench.service.latest()
    assert bench.collector.starts == [START]


def test_a_stepped_clock_drives_the_schedule_and_idle_means_settled(bench: Bench) -> None:
    """4 s are not due, 5 s are: whenever the service is idle, every told step has been acted upon."""
    bench.service.start()
    until(bench.service.is_idle)
    for seconds, count in ((4.0, 1), (1.0, 2), (60.0, 3), (4.9, 3), (0.1, 4)):
        bench.step(seconds)
        until(bench.service.is_idle)
        assert len(bench.collector.starts) == count
    assert bench.service.latest().venue_ms == bench.clock.now_ms()  # type: ignore[union-attr]


def test_it_is_not_idle_from_the_moment_a_step_is_told(bench: Bench) -> None:
    """There is no gap between `on_clock` and the collection in which a waiting test could slip through."""
    gate = threading.Event()
    bench.service.start()
    until(bench.service.is_idle)
    bench.collector.gates.append(gate)
    bench.step(5.0)
    for _ in range(200):
        assert not bench.service.is_idle()
    gate.set()
    until(bench.service.is_idle)
    assert len(bench.collector.starts) == 2


def test_a_collection_never_starts_before_the_last_has_ended(bench: Bench) -> None:
    """Steps told while one is under way make one more collection, afterwards, at the newest time."""
    gate = threading.Event()
    bench.collector.gates.append(gate)
    bench.service.start()
    until(lambda: bench.collector.under_way == 1)
    for _ in range(3):
        bench.step(10.0)
    assert bench.collector.under_way == 1
    gate.set()
    until(bench.service.is_idle)
    assert bench.collector.most_under_way == 1
    assert bench.collector.starts == [START, START + 30_000]


def test_a_running_clock_is_followed_at_its_speed() -> None:
    """At 500 times real time an interval is 10 ms long: starts are an interval apart by the venue's clock."""
    bench = Bench(speed=500.0)
    bench.service.start()
    until(lambda: len(bench.collector.starts) >= 5)
    assert bench.service.stop(5.0)
    starts = bench.collector.starts
    assert all(after - before >= 4_990 for before, after in pairwise(starts))


def test_a_clock_that_is_set_back_does_not_stop_the_collections(bench: Bench) -> None:
    """After a reset an hour back the next collection is due within one interval of the new time."""
    bench.service.start()
    until(bench.service.is_idle)
    bench.clock.reset(START - 3_600_000, None)
    bench.step(1.0)
    until(bench.service.is_idle)
    bench.step(5.0)
    until(bench.service.is_idle)
    assert bench.collector.starts == [START, START - 3_600_000 + 6_000]


def test_collecting_for_a_caller_gives_its_snapshot_and_publishes_it(bench: Bench) -> None:
    """The bridge returns what the coroutine returned."""
    bench.service.start()
    until(bench.service.is_idle)
    found = bench.service.collect_signals_sync(Scale.FAST, timeout_seconds=5.0)
    assert found.venue_ms == START
    assert bench.service.latest() is found


def test_a_caller_before_the_loop_turns_is_served_too(bench: Bench) -> None:
    """`start` returns at once; work handed in right after is kept."""
    bench.service.start()
    assert bench.service.collect_signals_sync(timeout_seconds=5.0).venue_ms == START


def test_a_timeout_cancels_the_collection_and_its_answer_reaches_nobody(bench: Bench) -> None:
    """The next caller gets an answer of its own, made after it asked."""
    bench.service.start()
    until(bench.service.is_idle)
    never = threading.Event()
    bench.collector.gates.append(never)
    with pytest.raises(VenueTimeout, match=r"fast signals took longer than 0\.05 s; the collection was cancelled"):
        bench.service.collect_signals_sync(timeout_seconds=0.05)
    until(lambda: bench.collector.cancelled == 1)
    bench.clock.observe(START + 1_000)
    assert bench.service.collect_signals_sync(timeout_seconds=5.0).venue_ms == START + 1_000
    never.set()
    assert bench.collector.under_way == 0
    assert bench.service.latest().venue_ms == START + 1_000  # type: ignore[union-attr]


def test_many_callers_at_once_each_get_an_answer(bench: Bench) -> None:
    """200 callers on 20 threads: as many collections, none lost."""
    bench.service.start()
    until(bench.service.is_idle)
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: bench.service.collect_signals_sync(timeout_seconds=10.0), range(200)))
    assert len({id(item) for item in found}) == 200
    assert len(bench.collector.starts) == 201


def test_collecting_on_the_loops_own_thread_is_refused(bench: Bench) -> None:
    """It would wait for itself for ever: a clear error instead."""
    errors: list[BaseException] = []

    async def call() -> None:
        try:
            bench.service.collect_signals_sync(timeout_seconds=1.0)
        except PerpBotError as error:
            errors.append(error)

    bench.service.start()
    assert bench.service.submit(call)
    until(lambda: bool(errors))
    assert "would wait for itself" in str(errors[0])


def test_a_scale_that_nothing_collects_is_a_usage_error() -> None:
    """The line names what there is."""
    clock = VenueClock(START, None)
    service = SignalService(clock, dict)
    service.start()
    try:
        with pytest.raises(UsageError, match="nothing collects fast signals; there is: none"):
            service.collect_signals_sync(timeout_seconds=5.0)
    finally:
        assert service.stop(5.0)


def test_stopping_while_collecting_ends_the_caller_and_closes_the_collector(bench: Bench) -> None:
    """The waiting caller gets an error at once, not its timeout; connections are released."""
    bench.service.start()
    until(bench.service.is_idle)
    bench.collector.gates.append(threading.Event())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.service.collect_signals_sync, Scale.FAST, 60.0)
        until(lambda: bench.collector.under_way == 1)
        assert bench.service.stop(5.0)
        with pytest.raises(PerpBotError, match="stopped while it collected"):
            waiting.result(5)
    assert bench.collector.is_closed
    assert bench.collector.under_way == 0


def test_a_stopped_service_says_so_and_holds_nobody_up(bench: Bench) -> None:
    """Later calls: a clear error, False, or the last snapshot; stopping twice is fine."""
    bench.service.start()
    until(lambda: bench.service.latest() is not None)
    assert bench.service.stop(5.0)
    assert bench.service.stop(5.0)
    with pytest.raises(PerpBotError, match="does not run"):
        bench.service.collect_signals_sync(timeout_seconds=1.0)
    assert bench.service.submit(lambda: asyncio.sleep(0)) is False
    bench.step(60.0)
    assert bench.service.is_idle()
    assert bench.service.latest() is not None
    assert not bench.service.health().is_alive


def test_a_service_that_never_started_refuses_and_stops() -> None:
    """No thread, no wait."""
    service = SignalService(VenueClock(START, None), dict)
    with pytest.raises(PerpBotError, match="does not run"):
        service.collect_signals_sync(timeout_seconds=1.0)
    assert service.submit(lambda: asyncio.sleep(0)) is False
    assert service.stop()


def test_collectors_that_cannot_be_made_leave_a_log_line_and_a_dead_service(caplog: pytest.LogCaptureFixture) -> None:
    """The daemon goes on without signals; nobody waits for them."""

    def broken() -> dict[Scale, Collector]:
        raise PerpBotError("no client today")

    service = SignalService(VenueClock(START, None), broken)
    service.start()
    until(lambda: not service.health().is_alive)
    assert service.is_idle()
    assert "no client today" in caplog.text
    with pytest.raises(PerpBotError, match="does not run"):
        service.collect_signals_sync(timeout_seconds=1.0)
    assert service.stop()


def test_a_failing_collection_is_counted_logged_once_and_leaves_the_last_snapshot(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The snapshot stays and ages; when it works again that is said once."""
    caplog.set_level(logging.INFO)
    bench.service.start()
    until(bench.service.is_idle)
    before = bench.service.latest()
    bench.collector.failing = ValueError("lying provider")
    for _ in range(3):
        bench.step(5.0)
        until(bench.service.is_idle)
    assert bench.service.latest() is before
    assert bench.service.health().failures == 3
    assert bench.service.health().last_failure == "fast signals: ValueError: lying provider"
    bench.collector.failing = None
    bench.step(5.0)
    until(bench.service.is_idle)
    assert caplog.text.count("lying provider") == 1
    assert caplog.text.count("collected again") == 1


def test_a_collector_that_hangs_is_cancelled_by_the_backstop() -> None:
    """A collector that breaks its own time limit is cut, and the schedule goes on."""
    bench = Bench(timeout_s=-0.95)  # with the backstop of 1 s: 50 ms
    bench.collector.gates.append(threading.Event())
    bench.service.start()
    until(lambda: bench.collector.cancelled == 1)
    bench.step(5.0)
    until(lambda: bench.service.latest() is not None)
    assert bench.service.health().failures == 1
    assert bench.service.stop(5.0)


def test_submitted_work_runs_and_its_failure_is_logged_not_spread(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """An alert that fails costs neither the loop nor the next alert."""
    done = threading.Event()

    async def fail() -> None:
        raise ValueError("a bad alert")

    async def work() -> None:
        done.set()

    bench.service.start()
    assert bench.service.submit(fail)
    assert bench.service.submit(work)
    assert done.wait(5)
    until(lambda: "a bad alert" in caplog.text)
    assert bench.service.health().is_alive


def test_a_blocking_call_on_the_loop_shows_in_the_longest_stall(bench: Bench) -> None:
    """300 ms of blocking appear as a stall of at least the part that the watch's timer saw."""

    async def block() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - the very fault that the watch must see

    bench.service.start()
    until(bench.service.is_idle)
    assert bench.service.submit(block)
    until(lambda: bench.service.health().longest_stall_ms >= 150.0)


def test_a_loop_that_blocks_for_long_is_reported_by_stop(caplog: pytest.LogCaptureFixture) -> None:
    """`stop` keeps to its time and says that something blocks."""
    bench = Bench()
    release = threading.Event()
    entered = threading.Event()

    async def block() -> None:
        entered.set()
        release.wait(10)

    bench.service.start()
    assert bench.service.submit(block)
    assert entered.wait(5)
    assert bench.service.stop(0.05) is False
    assert "something on it blocks" in caplog.text
    release.set()
    assert bench.service.stop(5.0)


# ---------------------------------------------------------------- nothing blocking, shown on the real collector

BLOCKING = (time.sleep, _socket.getaddrinfo, _socket.gethostbyname, io.open, os.system, _posixsubprocess.fork_exec)


class BlockingCalls:
    """Notes the calls on the loop's thread that can block: sleeps, look-ups, files, processes, waits on a lock."""

    def __init__(self, service: SignalService) -> None:
        self.found: list[str] = []
        on = threading.Event()

        async def switch_on() -> None:
            on.set()
            sys.setprofile(self._note)

        assert service.submit(switch_on)
        assert on.wait(5)

    def _note(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call":
            return
        is_wait = called.__name__ == "acquire" and type(called.__self__) is _thread.LockType
        waits = is_wait and frame.f_code.co_name != "_is_owned"  # Condition's probe, which does not wait
        if waits or called in BLOCKING:
            self.found.append(f"{called.__name__} in {frame.f_code.co_qualname}")


class Unlimited:
    def try_acquire(self, weight: int) -> bool:
        return weight > 0

    def hold_back(self) -> None:
        raise AssertionError("no 429 was sent")


def test_collections_of_the_wired_service_make_no_blocking_call(venue: StandIn) -> None:
    """Ten coins, books by REST, answers good and bad: no sleep, file, name look-up or process on the loop."""
    coins = tuple(f"C{number}" for number in range(10))
    venue.answers = {("l2Book", coin): book(coin, [("99", "1")], [("101", "1")], START) for coin in coins}
    venue.answers |= {("allMids", ""): dict.fromkeys(coins, "100"), ("l2Book", "C3"): "html", ("l2Book", "C4"): 500}
    service = signal_service(
        Config(venue=venue.base_url), VenueClock(START, None), budget=Unlimited(), watched=lambda: coins
    )
    service.start()
    try:
        service.collect_signals_sync(timeout_seconds=10.0)  # imports and first connections are behind us
        calls = BlockingCalls(service)
        found = service.collect_signals_sync(timeout_seconds=10.0)
        assert found.coins["C0"].spread_bps == pytest.approx(200.0)
        assert "HTML" in found.coins["C3"].missing["spread_bps"]
        assert calls.found == []
    finally:
        assert service.stop(5.0)


@pytest.mark.parametrize(
    ("block", "seen"), [(lambda: time.sleep(0.001), "sleep"), (lambda: threading.Event().wait(0.001), "acquire")]
)
def test_the_detector_sees_a_blocking_call(bench: Bench, block: Callable[[], object], seen: str) -> None:
    """The test above can fail: a sleep and a wait on another thread are caught."""
    done = threading.Event()

    async def work() -> None:
        block()
        done.set()

    bench.service.start()
    until(bench.service.is_idle)
    calls = BlockingCalls(bench.service)
    assert bench.service.submit(work)
    assert done.wait(5)
    assert any(call.startswith(seen) for call in calls.found)


def test_signals_share_the_limiter_of_the_process() -> None:
    """Weight is taken from the one limiter without waiting; used up, the answer is no; a 429 holds back."""
    limiter = WeightLimiter(FixedClock(START), weight_per_minute=1_000)
    budget = LimiterBudget(limiter)
    assert budget.try_acquire(2)
    assert limiter.used() == 2
    while budget.try_acquire(50):
        pass
    assert limiter.used() < 1_000
    fresh = LimiterBudget(WeightLimiter(FixedClock(START)))
    fresh.hold_back()
    assert not fresh.try_acquire(2)


def test_our_order_size_is_capital_times_margin_limit_times_leverage() -> None:
    """670 USD x 0.5 x 3 = 1,005 USD, and the time limit is the configured one."""
    settings = fast_settings(Config())
    assert settings.order_notional_usd == pytest.approx(1_005.0)
    assert settings.timeout_s == 5.0
