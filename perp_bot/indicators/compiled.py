"""Runs the kernels compiled, or interpreted until the compiled ones are there; both give the same bits.

Importing numba and loading eight cached kernels takes most of a second, compiling them several. The daemon must decide
within one second of its start, so it calls `warm()` and goes on interpreted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.indicators import kernels

Column = NDArray[np.float64]

_COLUMN = "float64[::1]"
_SIGNATURES = {
    "window_moments": f"void({_COLUMN}, int64, {_COLUMN}, {_COLUMN})",
    "ema": f"void({_COLUMN}, int64, float64, {_COLUMN}, {_COLUMN})",
    "atr": f"void({_COLUMN}, {_COLUMN}, {_COLUMN}, int64, {_COLUMN}, {_COLUMN})",
    "rsi": f"void({_COLUMN}, int64, int64, {_COLUMN}, {_COLUMN})",
    "adx": f"void({_COLUMN}, {_COLUMN}, {_COLUMN}, int64, int64, {_COLUMN}, {_COLUMN})",
    "log_returns": f"void({_COLUMN}, {_COLUMN})",
    "hurst_vr": f"void({_COLUMN}, {_COLUMN}, {_COLUMN}, {_COLUMN}, int64, {_COLUMN})",
    "hurst_rs": f"void({_COLUMN}, int64, {_COLUMN})",
}


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels as callables on contiguous, writable float64 arrays."""

    is_compiled: bool
    window_moments: Callable[[Column, int, Column, Column], None]
    ema: Callable[[Column, int, float, Column, Column], None]
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


def _bundle(wrap: Callable[[str], Any], is_compiled: bool) -> Kernels:
    return Kernels(is_compiled, *(wrap(item.name) for item in fields(Kernels)[1:]))


INTERPRETED = _bundle(lambda name: _interpret(getattr(kernels, name)), is_compiled=False)

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
    """Return the compiled kernels, importing numba and compiling first if need be (0.5 s cached, several s cold)."""
    global _compiled
    with _lock:
        if _compiled is None:
            _compiled = _build()
        return _compiled


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


def _build() -> Kernels:
    try:
        return _compile(use_cache=True)
    except (OSError, RuntimeError) as error:
        # numba caches beside the source, else in the user's cache folder, and raises when neither can be written
        _log.warning("compiled kernels cannot be cached (%s); they are compiled anew at each start", error)
        return _compile(use_cache=False)


def _compile(*, use_cache: bool) -> Kernels:
    import numba  # 0.3 s that only research and the background thread should pay

    def jit(name: str) -> Any:
        # no fastmath: regrouped or fused arithmetic would differ in the last bits from the interpreted kernels.
        # numba keys its cache by source and signature, not by these flags: touch `kernels` when changing them
        compile_for = numba.njit(_SIGNATURES[name], error_model="numpy", nogil=True, cache=use_cache)
        return compile_for(getattr(kernels, name))

    return _bundle(jit, is_compiled=True)
