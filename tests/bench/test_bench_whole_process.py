"""Whole processes: seconds, peak memory, and what a failing one says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from perp_bot.bench.whole_process import run_whole
from perp_bot.core.errors import PerpBotError


@pytest.mark.slow
@pytest.mark.process
def test_a_whole_process_has_its_own_seconds_memory_and_output(tmp_path: Path) -> None:
    """Its own: what the measuring process holds does not count as the measured one's peak."""
    held = np.ones(40_000_000 // 8)  # 40 MB here
    code = "held = b'1' * 30_000_000; print('made', len(held))"
    small = run_whole([sys.executable, "-I", "-S", "-c", "print('made nothing')"], tmp_path, os.environ)
    large = run_whole([sys.executable, "-I", "-S", "-c", code], tmp_path, os.environ)
    assert small.peak_bytes < held.nbytes
    assert 25_000_000 < large.peak_bytes - small.peak_bytes < 35_000_000
    assert large.seconds > 0.0
    assert (small.stdout, large.stdout) == ("made nothing\n", "made 30000000\n")


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([sys.executable, "-c", "raise SystemExit('no candles')"], r"ended with 1, expected 0: no candles"),
        (
            [sys.executable, "-c", "print('half a table'); raise SystemExit(3)"],
            r"ended with 3, expected 0: half a table",
        ),
        (["/nowhere/perpbot", "backtest"], r"`perpbot backtest` did not start: .*No such file"),
    ],
)
def test_a_process_that_fails_is_one_line_with_its_words(tmp_path: Path, command: list[str], message: str) -> None:
    """A figure of a crash is never given."""
    with pytest.raises(PerpBotError, match=message):
        run_whole(command, tmp_path, os.environ)
