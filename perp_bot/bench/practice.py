"""Measures the practice venue: its first answers on a cold market, and how fast its clock can be stepped."""

from __future__ import annotations

import time

from perp_bot.bench.measure import Measurement, summarize
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import PerpBotError
from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.data.client import MAX_CANDLES, VenueClient
from perp_bot.data.limiter import WeightLimiter
from perp_bot.data.ws_client import MarketStream, StreamListener, Subscription
from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer

SUBJECT = "practice"
HELP = "the practice venue: start, 5,000 candles cold and warm, venue-minutes a second at step"

COINS = ("BTC", "ETH")
_MINUTES_A_STEP = 60
_PATIENCE_S = 30.0


class _Counting(StreamListener):
    """Counts what a daemon of two coins would be sent."""

    def __init__(self) -> None:
        self.messages = 0

    def on_message(self, payload: memoryview) -> None:
        self.messages += 1

    def on_connected(self, outage_s: float | None, subscriptions: int) -> None:
        """Nothing to do."""

    def on_disconnected(self, reason: str) -> None:
        """Nothing to do."""


def run(quick: bool) -> list[Measurement]:
    """Measure a new venue each round: everything that it keeps is its own, nothing is warm but the process."""
    rounds, steps = (1, 3) if quick else (7, 24)
    start_s: list[float] = []
    cold_s: list[float] = []
    warm_s: list[float] = []
    alone: list[float] = []
    watched: list[float] = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        with PracticeServer(speed=None, start="400", limits=Limits(weight_per_minute=10**6)) as venue:
            start_s.append(time.perf_counter() - began_s)
            cold_s.append(_snapshot(venue))
            warm_s.append(_snapshot(venue))
            alone += [_minutes_a_second(venue) for _ in range(steps)]
            watched += _while_watched(venue, steps)
    rows = f"{MAX_CANDLES:,} candles of 1m over HTTP"
    hour = f"{_MINUTES_A_STEP} minutes a sample"
    return [
        summarize(SUBJECT, "start", "ms", start_s, scale=1e3, detail="in a process that has imported it"),
        summarize(SUBJECT, "history, cold", "ms", cold_s, scale=1e3, detail=rows),
        summarize(SUBJECT, "history, warm", "ms", warm_s, scale=1e3, detail=rows),
        summarize(SUBJECT, "step, nobody connected", "minutes/s", alone, detail=hour),
        summarize(SUBJECT, "step, subscribed as a daemon", "minutes/s", watched, detail=f"{hour}; {len(COINS)} coins"),
    ]


def _snapshot(venue: PracticeServer) -> float:
    clock = VenueClock(venue.now_ms, None)
    client = VenueClient(venue.base_url, clock=clock, limiter=WeightLimiter(clock))
    client.connect()
    began_s = time.perf_counter()
    rows = client.candles("BTC", "1m", venue.now_ms - MAX_CANDLES * MINUTE_MS, venue.now_ms)
    took_s = time.perf_counter() - began_s
    client.close()
    if len(rows) != MAX_CANDLES:
        raise PerpBotError(f"practice: {len(rows)} candles came, expected {MAX_CANDLES}")
    return took_s


def _minutes_a_second(venue: PracticeServer) -> float:
    began_s = time.perf_counter()
    venue.step(to="1m", count=_MINUTES_A_STEP)
    return _MINUTES_A_STEP / (time.perf_counter() - began_s)


def _while_watched(venue: PracticeServer, steps: int) -> list[float]:
    """Measure the same with one connection that takes every channel a daemon takes."""
    wanted: list[Subscription] = [
        {"type": channel, "coin": coin} for coin in COINS for channel in ("activeAssetCtx", "l2Book", "trades")
    ]
    wanted += [{"type": "candle", "coin": coin, "interval": "15m"} for coin in COINS]
    wanted.append({"type": "practiceClock"})
    listener = _Counting()
    stream = MarketStream(venue.ws_url, tuple(wanted), listener)
    stream.start()
    try:
        deadline_s = time.perf_counter() + _PATIENCE_S
        while listener.messages < len(wanted):  # its subscriptions are confirmed
            if time.perf_counter() > deadline_s:
                raise PerpBotError(f"practice: the venue did not confirm the subscriptions: {stream.last_error}")
            time.sleep(0.005)
        before = listener.messages
        samples = [_minutes_a_second(venue) for _ in range(steps)]
        if listener.messages - before < steps * _MINUTES_A_STEP:
            raise PerpBotError("practice: the subscriber got less than a message a minute")
        return samples
    finally:
        stream.stop()
