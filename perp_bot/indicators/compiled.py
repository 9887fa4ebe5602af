"""Runs the kernels compiled, or interpreted until the compiled ones are there; both give the same bits.

Importing numba and loading eight cached kernels takes most of a second, compiling them several. The daemon must decide
within one second of its start, so it calls `warm()` and goes on interpreted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.indicators.kernels import averages, hurst, wilder, windows
from perp_bot.indicators.library import COLUMN, Library, cached

Column = NDArray[np.float64]

_SIGNATURES = {
    "window_moments": f"void({COLUMN}, int64, {COLUMN}, {COLUMN}, {COLUMN})",
    "zscore": f"void({COLUMN}, int64, {COLUMN}, {COLUMN})",
    "bollinger": f"void({COLUMN}, int64, float64, {COLUMN}, {COLUMN}, {COLUMN}, {COLUMN})",
    "scores_and_bands": f"void({COLUMN}, int64, float64, {COLUMN}, {COLUMN}, {COLUMN}, {COLUMN}, {COLUMN})",
    "ema": f"void({COLUMN}, int64, float64, {COLUMN}, {COLUMN})",
    "macd": f"void({COLUMN}, int64, int64, int64, {COLUMN}, {COLUMN}, {COLUMN}, {COLUMN}, {COLUMN})",
    "atr": f"void({COLUMN}, {COLUMN}, {COLUMN}, int64, {COLUMN}, {COLUMN})",
    "rsi": f"void({COLUMN}, int64, int64, {COLUMN}, {COLUMN})",
    "adx": f"void({COLUMN}, {COLUMN}, {COLUMN}, int64, int64, {COLUMN}, {COLUMN})",
    "log_returns": f"void({COLUMN}, {COLUMN})",
    "hurst_vr": f"void({COLUMN}, {COLUMN}, {COLUMN}, {COLUMN}, int64, {COLUMN})",
    "hurst_rs": f"void({COLUMN}, int64, {COLUMN})",
}


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels as callables on contiguous, writable float64 arrays."""

    is_compiled: bool
    window_moments: Callable[[Column, int, Column, Column, Column], None]
    zscore: Callable[[Column, int, Column, Column], None]
    bollinger: Callable[[Column, int, float, Column, Column, Column, Column], None]
    scores_and_bands: Callable[[Column, int, float, Column, Column, Column, Column, Column], None]
    ema: Callable[[Column, int, float, Column, Column], None]
    macd: Callable[[Column, int, int, int, Column, Column, Column, Column, Column], None]
    atr: Callable[[Column, Column, Column, int, Column, Column], None]
    rsi: Callable[[Column, int, int, Column, Column], None]
    adx: Callable[[Column, Column, Column, int, int, Column, Column], None]
    log_returns: Callable[[Column, Column], None]
    hurst_vr: Callable[[Column, Column, Column, Column, int, Column], None]
    hurst_rs: Callable[[Column, int, Column], None]


def _interpret(kernel: Callable[..., None]) -> Callable[..., None]:
    """Return `kernel` fed with memoryviews: same memory, but Python floats (fast, no numpy warnings)."""

    def call(*arguments: Any) -> None:
        kernel(*(item.data if isinstance(item, np.ndarray) else item for item in arguments))

    return call


_NAMES = tuple(item.name for item in fields(Kernels)[1:])
_PLAIN = {**vars(windows), **vars(averages), **vars(wilder), **vars(hurst)}
INTERPRETED = Kernels(is_compiled=False, **{name: _interpret(_PLAIN[name]) for name in _NAMES})

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_compiled: Kernels | None = None
_thread: threading.Thread | None = None
_failure: str | None = None


def is_ready() -> bool:
    """Return whether the compiled kernels are loaded."""
    return _compiled is not None


def failure() -> str | None:
    """Return why the background load failed, or None; the interpreted kernels then stay in use."""
    return _failure


def active() -> Kernels:
    """Return the compiled kernels if they are loaded, else the interpreted ones. Never waits."""
    return _compiled or INTERPRETED


def load() -> Kernels:
    """Return the compiled kernels, importing numba and compiling first if need be (0.5 s cached, several s cold).

    Those of `on_demand` where it was called before: each then still waits for its own first call.
    """
    global _compiled
    with _lock:
        if _compiled is None:
            _compiled = cached(_compile)
        return _compiled


def on_demand() -> Kernels:
    """Return the compiled kernels, each compiled or read from the cache when it is first called.

    For research, which may wait and is told so: decisions of this process then wait for them too, and run compiled.
    """
    global _compiled
    with _lock:
        if _compiled is None:
            _compiled = Kernels(is_compiled=True, **{name: _OnDemand(name) for name in _NAMES})
        return _compiled


class _OnDemand:
    """A kernel that is compiled when it is first called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kernel: Callable[..., None] | None = None

    def __call__(self, *arguments: Any) -> None:
        if self._kernel is None:
            self._kernel = cached(self._compile)
        self._kernel(*arguments)

    def _compile(self, *, use_cache: bool) -> Callable[..., None]:
        kernel: Callable[..., None] = _library(use_cache=use_cache, is_told=True).kernel(self._name)
        return kernel


def warm() -> threading.Thread:
    """Load the compiled kernels in a background thread; return it. Further calls return the same thread."""
    global _thread
    if _thread is None:
        _thread = threading.Thread(target=_load_behind, name="indicator-kernels", daemon=True)
        _thread.start()
    return _thread


def _load_behind() -> None:
    global _failure
    try:
        load()
    except Exception as error:  # noqa: BLE001 - the edge of a thread; decisions go on interpreted, only slower
        _failure = f"{type(error).__name__}: {error}"
        _log.exception("indicator kernels could not be compiled; going on interpreted")


def _compile(*, use_cache: bool) -> Kernels:
    library = _library(use_cache=use_cache, is_told=False)
    return Kernels(is_compiled=True, **{name: library.kernel(name) for name in _NAMES})


@lru_cache(maxsize=4)
def _library(*, use_cache: bool, is_told: bool) -> Library:
    return Library(_SIGNATURES, use_cache=use_cache, is_told=is_told)
