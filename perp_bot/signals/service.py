"""The bridge between the synchronous loop and slow sources: one asyncio loop on its own thread.

Each scale is collected on its own schedule by the venue's clock and published as an immutable snapshot that any thread
reads without waiting. The loop also carries other people's coroutines (alerts). Nothing blocking may run on it; how
long it stalled at worst is measured all the time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import PerpBotError, UsageError, VenueTimeout
from perp_bot.signals.schedule import Schedule
from perp_bot.signals.snapshot import FastSnapshot, Scale

log = logging.getLogger(__name__)

MIN_GAP_S = 0.2  # wall seconds between two collections of a scale, however fast the venue's clock runs
BACKSTOP_S = 1.0  # a collector bounds itself; this much later it is cancelled from outside
_LIVENESS_CHECK_S = 1.0  # a waiting caller notices within this that the loop died

CoroFactory = Callable[[], Coroutine[Any, Any, None]]


class Collector(Protocol):
    """Collects one scale. Lives on the service's loop."""

    @property
    def interval_s(self) -> float:
        """Venue seconds between the starts of two collections."""

    @property
    def timeout_s(self) -> float:
        """Wall seconds within which `collect` returns with what it has."""

    async def collect(self) -> FastSnapshot:
        """Collect once; failures of parts are stated in the snapshot, not raised."""

    async def close(self) -> None:
        """Release connections."""


CollectorFactory = Callable[[], Mapping[Scale, Collector]]


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """How the service fares."""

    is_alive: bool
    collections: int
    failures: int
    last_failure: str | None
    longest_stall_ms: float  # the loop's worst lateness: what something blocking on it costs the others


class SignalService:
    """Runs the loop, the schedules and the bridge. `start` once, `stop` once; every method is safe from any thread."""

    def __init__(
        self,
        clock: VenueClock,
        collectors: CollectorFactory,
        *,
        watch_interval_s: float = 0.1,
        min_gap_s: float = MIN_GAP_S,
    ) -> None:
        """Take a factory of collectors: it runs on the service's thread, so that slow imports delay nobody."""
        self._clock = clock
        self._make_collectors = collectors
        self._watch_interval_s = watch_interval_s
        self._min_gap_s = min_gap_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._ready = threading.Event()
        self._collectors: Mapping[Scale, Collector] = {}
        self._latest: dict[Scale, FastSnapshot] = {}
        self._schedules: tuple[Schedule, ...] = ()
        self._background: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly
        self._collections = 0
        self._failures = 0
        self._last_failure: str | None = None
        self._outage = False
        self._longest_stall_s = 0.0

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start the thread and return at once; work handed in before the loop turns is kept."""
        if self._thread is not None:
            raise PerpBotError("the signal service was started before; make a new one")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Cancel everything under way, end the thread and say whether it ended in time. Safe to call twice."""
        is_first, self._stopping = not self._stopping, True
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return True
        if thread is threading.current_thread():
            raise PerpBotError("the signal service cannot be stopped from its own loop: that would wait for itself")
        if is_first:
            with contextlib.suppress(RuntimeError):  # closed already
                loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout_s)
        if thread.is_alive():
            log.error("the signal loop did not end within %.1f s: something on it blocks", timeout_s)
            return False
        return True

    # ------------------------------------------------------------ reading

    def latest(self, scale: Scale = Scale.FAST) -> FastSnapshot | None:
        """Return the newest snapshot, without waiting; None before the first collection ended."""
        return self._latest.get(scale)

    def is_idle(self) -> bool:
        """Whether no collection is due or under way (`wait_until` at step speed asks)."""
        if not self._is_alive():
            return True  # a dead service holds nobody up
        return self._ready.is_set() and all(schedule.is_settled() for schedule in self._schedules)

    def health(self) -> ServiceHealth:
        """Return counts, the newest failure and the longest stall."""
        return ServiceHealth(
            is_alive=self._is_alive(),
            collections=self._collections,
            failures=self._failures,
            last_failure=self._last_failure,
            longest_stall_ms=self._longest_stall_s * 1000.0,
        )

    # ------------------------------------------------------------ handing in

    def on_clock(self, venue_ms: int) -> None:
        """Follow a stepped venue: its clock reads `venue_ms` now. Nothing to do when the clock runs by itself."""
        if not self._clock.stepped or self._stopping:
            return
        self._clock.observe(venue_ms)
        for schedule in self._schedules:
            schedule.tell()
        self._call(self._wake_schedules)

    def submit(self, coro_factory: CoroFactory) -> bool:
        """Run a coroutine on the loop and forget it; False when the service does not run. Never blocks or raises."""
        return self._call(lambda: self._adopt(coro_factory))

    def collect_signals_sync(self, scale: Scale = Scale.FAST, timeout_seconds: float | None = None) -> FastSnapshot:
        """Collect once and wait for it: one coroutine, one future, cancelled at the timeout.

        Serves `perpbot signals`, start-up and tests. The result is published too.

        Raises:
            VenueTimeout: not done in time; the collection was cancelled, its answer goes to nobody.
            PerpBotError: called on the loop's own thread, or the service does not run.
            UsageError: nothing collects this scale.
        """
        loop, thread = self._loop, self._thread
        if thread is threading.current_thread():
            raise PerpBotError("collect_signals_sync was called on the signal loop: it would wait for itself; await it")
        if loop is None or not self._is_alive() or self._stopping:
            raise PerpBotError("the signal service does not run, so nothing can be collected")
        coroutine = self._collect_for_caller(scale)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:
            coroutine.close()
            raise PerpBotError("the signal service stopped before the collection began") from None
        return self._await_future(future, scale, timeout_seconds)

    def _await_future(
        self, future: concurrent.futures.Future[FastSnapshot], scale: Scale, timeout_seconds: float | None
    ) -> FastSnapshot:
        deadline_s = None if timeout_seconds is None else monotonic_s() + timeout_seconds
        while True:
            left_s = _LIVENESS_CHECK_S if deadline_s is None else min(_LIVENESS_CHECK_S, deadline_s - monotonic_s())
            done, _ = concurrent.futures.wait((future,), timeout=max(0.0, left_s))
            if done:
                break
            if not self._is_alive():
                future.cancel()
                raise PerpBotError("the signal loop ended while it collected")
            if deadline_s is not None and monotonic_s() >= deadline_s and future.cancel():
                raise VenueTimeout(
                    f"{scale} signals took longer than {timeout_seconds:g} s; the collection was cancelled"
                )
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise PerpBotError("the signal service stopped while it collected") from None

    # ------------------------------------------------------------ on the loop's thread

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        try:
            self._collectors = self._make_collectors()
            self._schedules = tuple(
                Schedule(
                    self._clock, collector.interval_s, self._scheduled(scale, collector), min_gap_s=self._min_gap_s
                )
                for scale, collector in self._collectors.items()
            )
            for coroutine in (self._watch_stalls(), *(schedule.run() for schedule in self._schedules)):
                self._keep(loop.create_task(coroutine))
            self._ready.set()
            loop.run_forever()
        except Exception:
            log.exception("the signal service ended with an error; signals age from here on")
        finally:
            self._wind_up(loop)

    def _wind_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is left, close the collectors and the loop."""
        self._stopping = True
        try:
            loop.run_until_complete(asyncio.sleep(0))  # what was handed in until now becomes a task, to be cancelled
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            closing = [collector.close() for collector in self._collectors.values()]
            loop.run_until_complete(_gathered(tasks, closing))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except Exception:
            log.exception("the signal loop did not end cleanly")
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    async def _collect_for_caller(self, scale: Scale) -> FastSnapshot:
        collector = self._collectors.get(scale)
        if collector is None:
            raise UsageError(f"nothing collects {scale} signals; there is: {', '.join(self._collectors) or 'none'}")
        snapshot = await collector.collect()
        self._publish(scale, snapshot)
        return snapshot

    def _scheduled(self, scale: Scale, collector: Collector) -> Callable[[], Coroutine[Any, Any, None]]:
        async def collect() -> None:
            await self._collect_for_schedule(scale, collector)

        return collect

    async def _collect_for_schedule(self, scale: Scale, collector: Collector) -> None:
        """Collect and publish, or count and state the failure; the last snapshot stays and ages."""
        try:
            async with asyncio.timeout(collector.timeout_s + BACKSTOP_S):
                snapshot = await collector.collect()
        except TimeoutError:
            self._note_failure(f"{scale} signals: no snapshot within {collector.timeout_s + BACKSTOP_S:g} s")
        except Exception as error:  # noqa: BLE001 - the supervising edge of a collection: stated, counted, logged
            self._note_failure(f"{scale} signals: {type(error).__name__}: {error}")
        else:
            self._publish(scale, snapshot)
            if self._outage:
                self._outage = False
                log.info("%s signals are collected again", scale)

    def _publish(self, scale: Scale, snapshot: FastSnapshot) -> None:
        self._collections += 1
        before = self._latest.get(scale)
        if before is None or snapshot.collected_monotonic >= before.collected_monotonic:
            self._latest[scale] = snapshot

    def _note_failure(self, text: str) -> None:
        self._failures += 1
        self._last_failure = text
        if not self._outage:
            self._outage = True
            log.warning("%s; logged once until it works again", text)

    def _adopt(self, coro_factory: CoroFactory) -> None:
        if self._loop is not None and not self._stopping:
            self._keep(self._loop.create_task(_supervised(coro_factory)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _wake_schedules(self) -> None:
        for schedule in self._schedules:
            schedule.wake()

    async def _watch_stalls(self) -> None:
        """Note how late a timer fires: the time during which something else held the loop."""
        while True:
            due_s = monotonic_s() + self._watch_interval_s
            await asyncio.sleep(self._watch_interval_s)
            self._longest_stall_s = max(self._longest_stall_s, monotonic_s() - due_s)

    def _call(self, callback: Callable[[], object]) -> bool:
        loop = self._loop
        if loop is None or self._stopping or not self._is_alive():
            return False
        try:
            loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop closed in between
            return False
        return True

    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()


async def _supervised(coro_factory: CoroFactory) -> None:
    try:
        await coro_factory()
    except Exception:  # the supervising edge of everything handed in
        log.exception("a task on the signal loop failed")


async def _gathered(tasks: set[asyncio.Task[Any]], closing: list[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    for result in await asyncio.gather(*closing, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("a collector did not close cleanly: %s", result)
