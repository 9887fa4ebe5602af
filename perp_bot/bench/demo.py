"""Measures `perpbot demo` on a real terminal: from the command to the first frame, and to live prices."""

from __future__ import annotations

import tempfile
from pathlib import Path

from perp_bot.bench.measure import Measurement, summarize, user_environment
from perp_bot.bench.startup import perpbot
from perp_bot.bench.terminal import Terminal
from perp_bot.core.errors import PerpBotError

SUBJECT = "demo"
HELP = "perpbot demo on a terminal: command to first frame (goal 3 s, caches warm) and to live prices"

FIRST_FRAME = "PAPER"  # the mode, in the header: drawn with the first frame, before any data
LIVE_PRICES = "bid/ask"


def run(quick: bool) -> list[Measurement]:
    """Start the demo again and again after one that warms the caches; each is left by its `q` key."""
    frame_s: list[float] = []
    live_s: list[float] = []
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name:
        environment = user_environment(Path(name))
        for number in range(2 if quick else 10):
            with Terminal([*perpbot(), "demo"], Path(name), environment) as screen:
                seconds = screen.await_text(FIRST_FRAME), screen.await_text(LIVE_PRICES)
                code = screen.leave()
            if code != 0:
                raise PerpBotError(f"demo: it ended with {code} after its q key")
            if number:
                frame_s.append(seconds[0])
                live_s.append(seconds[1])
    detail = "practice venue, daemon and dashboard started by one command, 160x48"
    return [
        summarize(SUBJECT, "command -> first frame", "s", frame_s, detail=detail),
        summarize(SUBJECT, "command -> live prices", "s", live_s, detail=detail),
    ]
