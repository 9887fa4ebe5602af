"""Types that the dashboard tests share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tui_driver import Driver

Launch = Callable[..., AbstractAsyncContextManager[Driver]]
