"""Loading the compiled kernels: behind the daemon's start, and where no cache can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perp_bot.indicators import compiled


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.process
def test_a_decision_needs_no_numba_and_warm_brings_the_same_row() -> None:
    """The first decisions run interpreted, numba not even imported; after `warm` they run compiled, equal."""
    done = python(
        "import sys\n"
        "from perp_bot.indicators import compiled\n"
        "from perp_bot.indicators.decision import decision_row\n"
        "from perp_bot.indicators.row import IndicatorParams\n"
        "close = [60000.0 + (i * 7919 % 101) for i in range(600)]\n"
        "high, low = [c + 3 for c in close], [c - 2 for c in close]\n"
        "before = decision_row(high, low, close, IndicatorParams())\n"
        "assert 'numba' not in sys.modules and not compiled.is_ready()\n"
        "thread = compiled.warm()\n"
        "assert compiled.warm() is thread\n"
        "thread.join()\n"
        "assert compiled.is_ready() and compiled.failure() is None and compiled.active().is_compiled\n"
        "assert decision_row(high, low, close, IndicatorParams()) == before\n"
        "print('equal')\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("equal\n", "", 0)


@pytest.mark.slow
@pytest.mark.process
def test_research_decides_compiled_once_it_has_computed_a_column() -> None:
    """The plain engine decides bar by bar: interpreted, it would take a hundred times as long."""
    done = python(
        "from perp_bot.indicators import batch, compiled\n"
        "assert not compiled.active().is_compiled\n"
        "batch.sma([1.0, 2.0, 3.0], 3)\n"
        "print(compiled.active().is_compiled, compiled.load() is compiled.active())\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True True\n", "", 0)


@pytest.mark.slow
@pytest.mark.process
def test_the_first_wait_of_research_is_told_before_it_begins_and_once(tmp_path: Path) -> None:
    """Seconds of silence look like a hang; a daemon's terminal, which does not wait, is left alone."""
    told = "compiling the kernels of research, once (some seconds)\n"
    twice = "from perp_bot.indicators import batch\nbatch.ema([1.0, 2.0, 3.0], 2)\nbatch.atr([2.0], [1.0], [1.5], 1)\n"
    cache = str(tmp_path)
    assert python(twice, NUMBA_CACHE_DIR=cache).stderr == told
    assert python(twice, NUMBA_CACHE_DIR=cache).stderr == ""
    behind = (
        "from perp_bot.indicators import compiled\ncompiled._library(use_cache=True, is_told=False).kernel('rsi')\n"
    )
    done = python(behind, NUMBA_CACHE_DIR=cache)
    assert (done.stderr, done.returncode) == ("", 0)


class _NoCache:
    """Stands in for the compile step: fails as numba does when no cache folder can be written."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.caching: list[bool] = []

    def __call__(self, *, use_cache: bool) -> compiled.Kernels:
        self.caching.append(use_cache)
        if use_cache:
            raise self.error
        return compiled.INTERPRETED


@pytest.mark.parametrize(
    "error", [RuntimeError("cannot cache function: no locator available"), OSError(28, "No space left on device")]
)
def test_kernels_are_compiled_without_a_cache_when_none_can_be_written(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only installation or a full disk costs start-up time, not the compiled kernels, and is logged."""
    compile_step = _NoCache(error)
    monkeypatch.setattr(compiled, "_compile", compile_step)
    monkeypatch.setattr(compiled, "_compiled", None)
    assert compiled.load() is compiled.INTERPRETED
    assert compile_step.caching == [True, False]
    assert "compiled anew at each start" in caplog.text


@pytest.mark.slow
@pytest.mark.process
def test_an_unusable_cache_folder_does_not_stop_the_compiler(tmp_path: Path) -> None:
    """The real compiler with a cache folder that is a file: kernels still compile and compute."""
    blocked = tmp_path / "cache"
    blocked.write_text("a file, not a folder")
    done = python(
        "from perp_bot.indicators import batch, compiled\n"
        "print(batch.sma([1.0, 2.0, 3.0], 3)[2], compiled.load().is_compiled)\n",
        NUMBA_CACHE_DIR=str(blocked),
    )
    assert done.stdout == "2.0 True\n", done.stderr


def test_a_failed_background_load_is_told_and_decisions_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When compiling fails altogether, the reason is logged and kept, and the interpreted kernels stay in use."""

    def broken(*, use_cache: bool) -> compiled.Kernels:
        raise ImportError(f"no numba here (cache {use_cache})")

    monkeypatch.setattr(compiled, "_compile", broken)
    for name in ("_compiled", "_thread", "_failure"):
        monkeypatch.setattr(compiled, name, None)
    compiled.warm().join(timeout=10)
    assert compiled.failure() == "ImportError: no numba here (cache True)"
    assert not compiled.is_ready()
    assert compiled.active() is compiled.INTERPRETED
    assert "could not be compiled" in caplog.text
