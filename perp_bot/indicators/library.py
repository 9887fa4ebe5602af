"""Compiles kernels: each when it is first asked for, kept on disk, and made anew when any of their sources changed."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, TypeVar

from perp_bot.indicators.kernels import averages, columns, hurst, rescaled_range, streams, wilder, windows

COLUMN = "float64[::1]"
_SOURCES = (columns, windows, averages, wilder, hurst, rescaled_range, streams)

Made = TypeVar("Made")

_log = logging.getLogger(__name__)


class Library:
    """Kernels compiled together with what they call; `signatures` names them and says what numbers they are given.

    `is_told`: say once on standard error that something is compiled, which takes seconds (research); else do it in
    silence (behind a daemon, which goes on).
    """

    def __init__(
        self,
        signatures: Mapping[str, str],
        *,
        use_cache: bool,
        is_told: bool,
        nogil: bool = True,
        fastmath: AbstractSet[str] = frozenset(),
    ) -> None:
        import numba  # 0.3 s that only research and the background thread should pay

        # no fastmath in what decides: regrouped or fused arithmetic would differ in the last bits from the interpreted.
        # numba keys its cache by source and signature, not by these flags: touch the kernels when changing them
        flags: dict[str, Any] = {"error_model": "numpy", "nogil": nogil, "fastmath": set(fastmath)}
        self._made: dict[str, Any] = {name: value for module in _SOURCES for name, value in vars(module).items()}
        self._signatures = signatures
        self._is_told = is_told
        for name, plain in list(self._made.items()):
            if not isinstance(plain, FunctionType):
                continue
            # the same code with the compiled helpers in place of the interpreted ones, which numba could not call
            function = FunctionType(plain.__code__, self._made, name)
            function.__module__, function.__qualname__ = plain.__module__, plain.__qualname__
            is_kept = use_cache and name in signatures
            how: Literal["always", "never"] = "always" if name in windows.INLINE else "never"
            self._made[name] = numba.njit(cache=is_kept, inline=how, **flags)(function)
            if is_kept:
                stamp(self._made[name], _digest())

    def kernel(self, name: str) -> Any:
        """Return a kernel, compiled or from the cache."""
        kernel = self._made[name]
        if not kernel.signatures:
            if self._is_told and not is_kept(kernel):
                tell_compiling()
            kernel.compile(self._signatures[name])
            kernel.disable_compile()
        return kernel


def cached(compile_step: Callable[..., Made]) -> Made:
    """Return what `compile_step(use_cache=...)` makes: with the cache, or without where none can be written."""
    try:
        return compile_step(use_cache=True)
    except (OSError, RuntimeError) as error:
        # numba caches beside the source, else in the user's cache folder, and raises when neither can be written
        _warn(str(error))
        return compile_step(use_cache=False)


def stamp(kernel: Any, digest: str) -> None:
    """Tie what numba keeps of a kernel to all the sources it is made of, not just to the file it is in.

    A kernel calls others in other files: without this a changed rule would run as it was.
    """
    file = kernel._cache._cache_file
    file._source_stamp = (file._source_stamp, digest)


def is_kept(kernel: Any) -> bool:
    """Return whether something compiled from these sources is kept of a kernel."""
    file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    try:
        return file is not None and bool(file._load_index())
    except OSError:
        return False


@lru_cache(maxsize=1)
def tell_compiling() -> None:
    """Say once, on standard error, why nothing moves for some seconds."""
    print("compiling the kernels of research, once (some seconds)", file=sys.stderr, flush=True)


@lru_cache(maxsize=1)
def _warn(reason: str) -> None:
    _log.warning("compiled kernels cannot be cached (%s); they are compiled anew at each start", reason)


@lru_cache(maxsize=1)
def _digest() -> str:
    files = (Path(str(module.__file__)) for module in _SOURCES)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
