"""Decision and stop latency: confirmed candles to a committed decision, a mark to its stop."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

from perp_bot.bench.loop_rig import LoopRig
from perp_bot.bench.measure import Measurement, summarize
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import PerpBotError
from perp_bot.indicators import compiled
from perp_bot.trading.daemon import SWITCH_INTERVAL_S

SUBJECT = "loop"
HELP = "confirmed candle to decision committed; mark update to stop decision (queue, thread and disk included)"

_WAIT_S = 10.0
_WARM_UP = 20


def run(quick: bool) -> list[Measurement]:
    """Measure both latencies through the real queue, loop thread, journal and database."""
    compiled.load()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as the daemon does
    try:
        return _run(quick)
    finally:
        sys.setswitchinterval(interval_s)


def _run(quick: bool) -> list[Measurement]:
    with tempfile.TemporaryDirectory() as name:
        rig = LoopRig(Path(name))
        try:
            found = [*_decisions(rig, 300 if quick else 2000), _stops(rig, 60 if quick else 400)]
        finally:
            rig.close()
        return [*found, _flushes(Path(name), 50 if quick else 400)]


def _flushes(folder: Path, count: int) -> Measurement:
    """Time the disk alone: what an intent cannot be faster than."""
    seconds = []
    with (folder / "flushed").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            started_s = monotonic_s()
            os.fdatasync(file.fileno())
            seconds.append(monotonic_s() - started_s)
    return summarize(SUBJECT, "disk flush (floor)", "ms", seconds, scale=1e3, detail="4 KB appended and flushed")


def _decisions(rig: LoopRig, count: int) -> list[Measurement]:
    """Close boundaries of two coins one after another; the clock of each starts as its event is put."""
    loop = rig.new_loop()
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    decided: list[float] = []
    committed: dict[bool, list[float]] = {False: [], True: []}  # with an intent or without
    for number in range(count + _WARM_UP):
        event = rig.close_candles()
        started_s = monotonic_s()
        rig.queue.put_event(event)
        if not rig.writer.committed.wait(_WAIT_S):
            raise PerpBotError("loop: a boundary was not decided and stored within 10 s")
        if number < _WARM_UP:
            continue
        decided.append(rig.writer.decided_s - started_s)
        committed[rig.writer.intents > 0].append(rig.writer.committed_s - started_s)
    loop.stop()
    thread.join()
    detail = f"2 coins, {rig.window} bars each; event put on the queue to "
    kinds = {
        "close_to_decision_ms": (decided, "both journal rows handed over"),
        "close_to_commit_ms, holds": (committed[False], "both journal rows committed"),
        "close_to_commit_ms, orders": (committed[True], "both journal rows committed, the intents fsynced"),
    }
    return [
        summarize(SUBJECT, name, "ms", samples, scale=1e3, detail=detail + text)
        for name, (samples, text) in kinds.items()
    ]


def _stops(rig: LoopRig, count: int) -> Measurement:
    """Open a position, drop the mark through its stop, and time until the stop's fill is booked."""
    taken: list[float] = []
    position = rig.desk.account.position("BTC")
    for number in range(count + _WARM_UP):
        if position is None or number > 0:
            rig.open_position("BTC", number + 1)
        context = rig.fall_through_stop("BTC")
        loop = rig.new_loop()
        thread = threading.Thread(target=loop.run, daemon=True)
        rig.writer.closed.clear()
        thread.start()
        threading.Event().wait(0.002)  # the loop waits on its queue, as it does between two marks
        started_s = monotonic_s()
        rig.queue.put_context(context)
        if not rig.writer.closed.wait(_WAIT_S):
            raise PerpBotError("loop: a stop did not fire within 10 s")
        if number >= _WARM_UP:
            taken.append(rig.writer.closed_s - started_s)
        loop.stop()
        thread.join()
    return summarize(
        SUBJECT, "mark_to_stop_ms", "ms", taken, scale=1e3, detail="mark put on the queue to the stop's fill booked"
    )
