"""Drives the dashboard in tests: presses keys, waits for a condition, reads the screen as text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

from perp_bot.core.clock import monotonic_s
from perp_bot.tui.app import DashboardApp
from perp_bot.tui.dialogs.base import DEAF_S
from perp_bot.tui.store import Connection, Outcome, OutcomeState, connection

DEADLINE_S = 8.0


class Driver:
    """A running dashboard."""

    def __init__(self, app: DashboardApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    async def until(self, holds: Callable[[], object], what: str = "the condition") -> None:
        """Wait until `holds()`; fail with the screen after some seconds."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not holds():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{what} never held; the screen:\n{self.screen}")
            await asyncio.sleep(0.01)
        await self.pilot.pause()

    async def until_live(self) -> None:
        """Wait until the daemon's state is shown."""
        await self.until(lambda: self.connection is Connection.LIVE, "LIVE")
        await self.until(lambda: self.app.view.history is not None, "history")

    async def until_shown(self, text: str) -> None:
        """Wait until the screen holds `text`."""
        await self.until(lambda: text in self.screen, f"{text!r}")

    async def until_outcome(self, state: OutcomeState) -> Outcome:
        """Wait until the newest command has this outcome, and return it."""
        await self.until(
            lambda: self.app.view.outcomes and self.app.view.outcomes[0].state is state, f"outcome {state}"
        )
        return self.app.view.outcomes[0]

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)

    async def type(self, text: str, *, enter: bool = True) -> None:
        """Type text into the open dialog once it listens."""
        await self.listen()
        await self.pilot.press(*text, *(["enter"] if enter else []))

    async def listen(self) -> None:
        """Wait until the open dialog is no longer deaf and has drawn itself."""
        opened_s = monotonic_s()
        dialog = self.app._dialog
        assert dialog is not None, self.screen
        field = getattr(dialog, "field", None)
        await self.until(lambda: not dialog.is_deaf and (field is None or not field.disabled), "a listening dialog")
        assert monotonic_s() - opened_s < DEAF_S + 5

    @property
    def connection(self) -> Connection:
        """The connection's state now."""
        return connection(self.app.view, monotonic_s()).state

    @property
    def screen(self) -> str:
        """The whole screen as plain text."""
        self.app.draw()
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in lines)
