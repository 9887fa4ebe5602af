"""The daemon's own path from a message's bytes to the loop's queue, set up without a venue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perp_bot.bench.flood_server import START_MS
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import PerpBotError
from perp_bot.data.candles import CandleManager
from perp_bot.data.ingest import StreamIngest
from perp_bot.trading.queue import EventQueue

_ROOMY = 10**9  # the queue's bound is not what is measured


class _NoRest:
    """Stands where the REST client would be; nothing here asks it."""

    def candles(self, *args: Any, **options: Any) -> Any:
        """Refuse: no candle closes in this measurement."""
        raise PerpBotError("the ingest measurement asked for candles")


class _NoWorker:
    """Stands where the REST worker would be."""

    def wake(self) -> None:
        """Nothing to wake."""

    def hold(self) -> None:
        """Nothing to hold."""

    def release(self) -> None:
        """Nothing to release."""

    def wait_settled(self, timeout_s: float) -> bool:
        """Always settled."""
        return timeout_s >= 0.0


class IngestRig:
    """A `StreamIngest` that feeds a real `EventQueue`."""

    def __init__(self) -> None:
        clock = VenueClock(START_MS, 1.0)
        self.queue = EventQueue(max_trades=_ROOMY)
        self.trades = 0
        candles = CandleManager(
            (), client=_NoRest(), clock=clock, sink=self.queue, store=lambda rows: None, confirm_timeout_s=5.0
        )
        self.ingest = StreamIngest(
            clock=clock,
            sink=self.queue,
            candles=candles,
            worker=_NoWorker(),
            store_minute=lambda row: None,
            settle_timeout_s=1.0,
        )

    @contextmanager
    def loop_taking(self) -> Iterator[None]:
        """Take from the queue on another thread, as the trading loop does, but do nothing with it."""
        stop = threading.Event()

        def loop() -> None:
            while not stop.is_set():
                self.trades += len(self.queue.take(0.05).trades)

        thread = threading.Thread(target=loop, name="bench-loop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            self.queue.wake()
            thread.join(5.0)

    def check(self, count: int, trades: int) -> None:
        """Refuse a figure of messages that were dropped or taken for broken.

        Raises:
            PerpBotError: not every one of `count` messages went the ordinary way, or not all `trades` were queued.
        """
        ingest = self.ingest
        self.trades += len(self.queue.take(0.0).trades)
        if self.trades != trades:
            raise PerpBotError(f"ingest: {self.trades} of {trades} trades were queued")
        odd = ingest.bad_frames + ingest.late_frames + ingest.future_frames
        if odd:
            raise PerpBotError(f"ingest: {odd} of {count} messages were not taken in: {ingest.last_problem}")
