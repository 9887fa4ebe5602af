"""Runs the kernels compiled, or interpreted until the compiled ones are there; both give the same bits.

Importing numba and loading eight cached kernels takes most of a second, compiling them several. The daemon must decide
within one second of its start, so it calls `warm()` and goes on interpreted.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from perp_bot.indicators import kernels, range_kernel, stream_kernels

Column = NDArray[np.float64]

_COLUMN = "float64[::1]"
# What the kernels call. The second list is written into its callers before the compiler looks at the loops: it then
# sees that the columns of one scratch lie apart.
_HELPERS = (
    "weights", "four_on", "next_average", "true_range", "fill", "copy", "doubled", "joined", "join_scale",
    "settled", "score", "band", "scores", "bands", "block_sums", "block_moments",
    "ema_step", "ema_stretch", "ema_resume", "macd_stretch", "signal_stretch", "atr_step", "atr_stretch",
    "next_rsi", "rsi_step", "movement", "is_still", "next_adx", "adx_step", "pair_moments", "double_moments",
    "join_moments", "settle_moments",
)  # fmt: skip
_INLINE = ("pair_moments", "double_moments", "join_moments", "settle_moments")
_STREAM_HELPERS = (
    "row", "moments_one", "moments_many", "average_many", "true_range_many", "rsi_many", "adx_many",
    "subtract_many",
)  # fmt: skip
_SIGNATURES = {
    "window_moments": f"void({_COLUMN}, int64, {_COLUMN}, {_COLUMN}, {_COLUMN})",
    "zscore": f"void({_COLUMN}, int64, {_COLUMN}, {_COLUMN})",
    "bollinger": f"void({_COLUMN}, int64, float64, {_COLUMN}, {_COLUMN}, {_COLUMN}, {_COLUMN})",
    "ema": f"void({_COLUMN}, int64, float64, {_COLUMN}, {_COLUMN})",
    "macd": f"void({_COLUMN}, int64, int64, int64, {_COLUMN}, {_COLUMN}, {_COLUMN}, {_COLUMN}, {_COLUMN})",
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
    window_moments: Callable[[Column, int, Column, Column, Column], None]
    zscore: Callable[[Column, int, Column, Column], None]
    bollinger: Callable[[Column, int, float, Column, Column, Column, Column], None]
    ema: Callable[[Column, int, float, Column, Column], None]
    macd: Callable[[Column, int, int, int, Column, Column, Column, Column, Column], None]
    atr: Callable[[Column, Column, Column, int, Column, Column], None]
    rsi: Callable[[Column, int, int, Column, Column], None]
    adx: Callable[[Column, Column, Column, int, int, Column, Column], None]
    log_returns: Callable[[Column, Column], None]
    hurst_vr: Callable[[Column, Column, Column, Column, int, Column], None]
    hurst_rs: Callable[[Column, int, Column], None]


@dataclass(frozen=True, slots=True)
class Streams:
    """The kernels that take one candle of one symbol, and of many."""

    one: Callable[[Column, float, float, float], None]
    many: Callable[[Column, Column, Column, Column], None]
    owner: object  # of the code of `one`, which goes with it


Made = TypeVar("Made")


def _interpret(kernel: Callable[..., None]) -> Callable[..., None]:
    """Return `kernel` fed with memoryviews: same memory, but Python floats (fast, no numpy warnings)."""

    def call(*arguments: Any) -> None:
        kernel(*(item.data if isinstance(item, np.ndarray) else item for item in arguments))

    return call


INTERPRETED = Kernels(
    is_compiled=False, **{item.name: _interpret(getattr(kernels, item.name)) for item in fields(Kernels)[1:]}
)

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
            _compiled = _cached(_compile)
        return _compiled


def on_demand() -> Kernels:
    """Return the compiled kernels, each compiled or read from the cache when it is first called.

    For research, which may wait: decisions of this process then wait for them too, and run compiled.
    """
    global _compiled
    with _lock:
        if _compiled is None:
            kernels_by_name = {item.name: _OnDemand(item.name) for item in fields(Kernels)[1:]}
            _compiled = Kernels(is_compiled=True, **kernels_by_name)
        return _compiled


class _OnDemand:
    """A kernel that is compiled when it is first called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kernel: Callable[..., None] | None = None

    def __call__(self, *arguments: Any) -> None:
        if self._kernel is None:
            self._kernel = _cached(self._compile)
        self._kernel(*arguments)

    def _compile(self, *, use_cache: bool) -> Callable[..., None]:
        kernel: Callable[..., None] = _library(use_cache=use_cache).kernel(self._name)
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


@lru_cache(maxsize=1)
def streams() -> Streams:
    """Return the compiled kernels of the streams, compiling them first if need be."""
    return _cached(_compile_streams)


def _compile_streams(*, use_cache: bool) -> Streams:
    library = _Library(
        {**vars(kernels), **vars(stream_kernels)},
        (*_HELPERS, *_STREAM_HELPERS),
        {
            "stream_one": f"void({_COLUMN}, float64, float64, float64)",
            "stream_many": f"void({_COLUMN}, {_COLUMN}, {_COLUMN}, {_COLUMN})",
        },
        use_cache=use_cache,
        nogil=False,  # a call of one symbol takes less time than letting others run in between
    )
    one, many = library.kernel("stream_one"), library.kernel("stream_many")
    # what numba calls once it knows the types, which here are always the same: to find out takes as long as the rest
    (entry,) = (overload.entry_point for overload in one.overloads.values())
    return Streams(entry, many, owner=one)


@lru_cache(maxsize=1)
def rescaled_ranges() -> Callable[[Column, int, Column, Column], None]:
    """Return the compiled kernel of the rescaled range, compiling it first if need be."""
    return _cached(_compile_rescaled_ranges)


def _compile_rescaled_ranges(*, use_cache: bool) -> Callable[[Column, int, Column, Column], None]:
    library = _Library(
        {**vars(kernels), **vars(range_kernel)},
        _HELPERS,
        {"rescaled_ranges": f"void({_COLUMN}, int64, {_COLUMN}, {_COLUMN})"},
        use_cache=use_cache,
        fastmath={"contract"},  # nothing is decided on it, and a multiply-add is a quarter of its work
    )
    kernel: Callable[[Column, int, Column, Column], None] = library.kernel("rescaled_ranges")
    return kernel


def _cached(compile_step: Callable[..., Made]) -> Made:
    try:
        return compile_step(use_cache=True)
    except (OSError, RuntimeError) as error:
        # numba caches beside the source, else in the user's cache folder, and raises when neither can be written
        _warn(str(error))
        return compile_step(use_cache=False)


@lru_cache(maxsize=1)
def _warn(reason: str) -> None:
    _log.warning("compiled kernels cannot be cached (%s); they are compiled anew at each start", reason)


def _compile(*, use_cache: bool) -> Kernels:
    library = _library(use_cache=use_cache)
    return Kernels(is_compiled=True, **{item.name: library.kernel(item.name) for item in fields(Kernels)[1:]})


@lru_cache(maxsize=2)
def _library(*, use_cache: bool) -> _Library:
    return _Library(vars(kernels), _HELPERS, _SIGNATURES, use_cache=use_cache)


class _Library:
    """Functions compiled together: helpers into whatever calls them, kernels each when it is asked for."""

    def __init__(
        self,
        functions: Mapping[str, Any],
        helpers: Sequence[str],
        signatures: Mapping[str, str],
        *,
        use_cache: bool,
        nogil: bool = True,
        fastmath: AbstractSet[str] = frozenset(),
    ) -> None:
        import numba  # 0.3 s that only research and the background thread should pay

        # no fastmath in what decides: regrouped or fused arithmetic would differ in the last bits from the interpreted.
        # numba keys its cache by source and signature, not by these flags: touch the kernels when changing them
        flags: dict[str, Any] = {"error_model": "numpy", "nogil": nogil, "fastmath": set(fastmath)}
        files = [Path(str(module.__file__)) for module in (kernels, stream_kernels, range_kernel)]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        self._made: dict[str, Any] = dict(functions)
        self._signatures = signatures
        for name in (*helpers, *signatures):
            plain = functions[name]
            # the same code with the compiled helpers in place of the interpreted ones, which numba could not call
            function = FunctionType(plain.__code__, self._made, name)
            function.__module__, function.__qualname__ = plain.__module__, plain.__qualname__
            is_kept = use_cache and name in signatures
            how: Literal["always", "never"] = "always" if name in _INLINE else "never"
            self._made[name] = numba.njit(cache=is_kept, inline=how, **flags)(function)
            if is_kept:
                stamp(self._made[name], digest)

    def kernel(self, name: str) -> Any:
        """Return a kernel, compiled or from the cache."""
        kernel = self._made[name]
        if not kernel.signatures:
            kernel.compile(self._signatures[name])
            kernel.disable_compile()
        return kernel


def stamp(kernel: Any, digest: str) -> None:
    """Tie what numba keeps of a kernel to all the sources it is made of, not just to the file it is in.

    A kernel calls others in other files: without this a changed rule would run as it was.
    """
    file = kernel._cache._cache_file
    file._source_stamp = (file._source_stamp, digest)
