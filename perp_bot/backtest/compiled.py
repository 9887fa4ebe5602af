"""The compiled kernels of research: each function compiled once, when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=64)
def research_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled."""
    import numba

    compiled: Callable[..., Any] = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return compiled
