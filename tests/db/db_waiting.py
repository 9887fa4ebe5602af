"""The type of the `until` fixture."""

from __future__ import annotations

from collections.abc import Callable

Until = Callable[[Callable[[], bool]], None]
