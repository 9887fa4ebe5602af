"""The dashboard against the daemon's own socket server: the protocol as it is spoken, and a loop that hangs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from fake_daemon import a_preview, a_snapshot
from tui_launch import Launch

from perp_bot.config.paths import RuntimePaths
from perp_bot.ipc.control import ControlRequest
from perp_bot.ipc.protocol import ControlResult, Hello, Preview
from perp_bot.ipc.server import IpcServer
from perp_bot.ipc.state import EventNote
from perp_bot.tui.dialogs.controls import CloseDialog
from perp_bot.tui.store import Connection, OutcomeState

pytestmark = pytest.mark.slow


class Loop:
    """Answers like the trading loop, or hangs."""

    def __init__(self) -> None:
        self.is_hung = False
        self.requests: list[ControlRequest] = []

    def submit(self, request: ControlRequest) -> None:
        """Answer at once."""
        self.requests.append(request)
        if self.is_hung:
            return
        preview = msgspec.convert(a_preview("close"), Preview) if request.cmd == "prepare" else None
        request.respond(ControlResult("done", f"{request.cmd} done", preview))


@pytest.fixture
def loop() -> Loop:
    """Return a loop."""
    return Loop()


@pytest.fixture
def server(paths: RuntimePaths, loop: Loop) -> Iterator[IpcServer]:
    """Return a running server that has published a state."""
    found = IpcServer(
        paths.socket,
        kill_latch=paths.kill_latch,
        hello=Hello(1, "boot-1", 4242, "0.2.0", "paper", "practice"),
        control=loop,
    )
    found.start()
    found.publish(a_snapshot())
    yield found
    found.stop()


async def test_states_events_and_controls_pass_through_the_real_server(
    server: IpcServer, loop: Loop, launch: Launch
) -> None:
    """Frames, pushed events, prepare and commit, as the daemon speaks them."""
    async with launch() as driver:
        await driver.until_live()
        await driver.until(lambda: server.viewers == 1)
        server.push_event(EventNote(1, "RECONNECT", None, "reconnected after 12.3 s"))
        await driver.until_shown("RECONNECT")
        server.publish(a_snapshot(seq=2, regime="HIGH_RISK"))
        await driver.until_shown("regime HIGH_RISK")
        await driver.press("e")
        await driver.until(lambda: isinstance(driver.app.screen, CloseDialog))
        await driver.until_shown("closes 1 position")
        await driver.type("BTC")
        outcome = await driver.until_outcome(OutcomeState.DONE)
        assert outcome.text == "commit done"
        assert [(item.cmd, item.args.symbol, item.args.token) for item in loop.requests] == [
            ("prepare", "BTC", None),
            ("commit", None, "token-close"),
        ]


async def test_a_kill_latches_within_a_second_while_the_loop_hangs(
    server: IpcServer, loop: Loop, launch: Launch, paths: RuntimePaths
) -> None:
    """The socket thread latches and answers; the dashboard shows the outcome as done, in its words."""
    async with launch() as driver:
        await driver.until_live()
        loop.is_hung = True
        await driver.press("f9", "f9")
        outcome = await driver.until_outcome(OutcomeState.DONE)
        assert paths.kill_latch.exists()
        assert "latched on disk" in outcome.text
        sent = next(item for item in loop.requests if item.cmd == "kill")
        assert sent.args.reason == "operator at the dashboard"


async def test_a_loop_that_stops_publishing_becomes_unresponsive_by_the_servers_own_heartbeat(
    server: IpcServer, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is published any more; the heartbeat's age grows until the threshold, here lowered from 10 s to 1.5 s."""
    from perp_bot.tui import store
    from perp_bot.tui.freshness import Thresholds

    monkeypatch.setattr(store, "LOOP", Thresholds(1.0, 1.5))
    async with launch() as driver:
        await driver.until(lambda: driver.app.view.frame is not None)
        await driver.until(lambda: driver.connection is Connection.UNRESPONSIVE)
        frame = driver.app.view.frame
        assert frame is not None
        assert frame.age_s > 1.0  # it came by heartbeat, not by waiting here
