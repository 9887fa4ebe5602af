"""The trading loop hangs while the rest of the daemon lives: a kill latches and is answered within a second (I6)."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig import LIVELY, LIVELY_START, Rig

from perp_bot.config.load import load_config
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import DaemonAway, IpcError
from perp_bot.ipc.control import ControlArgs, ControlRequest, Outcome, Peer
from perp_bot.risk import kill_switch
from perp_bot.trading.daemon import Daemon

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(60)]


@contextmanager
def daemon_beside(rig: Rig) -> Iterator[Daemon]:
    """Run the daemon on a thread of this process, so that its loop can be made to hang from outside."""
    before = sys.getswitchinterval()
    daemon = Daemon(load_config(rig.config_path), force=False)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(daemon.run()), name="daemon-under-test")
    thread.start()
    try:
        await_running(rig)
        yield daemon
    finally:
        daemon.stop("the test is over")
        thread.join(10.0)
        sys.setswitchinterval(before)
    assert codes == [0]


def await_running(rig: Rig) -> None:
    deadline_s = time.monotonic() + 20.0
    while True:
        try:
            if rig.state().status == "RUNNING":
                rig.settle()
                return
        except (DaemonAway, IpcError):
            pass
        assert time.monotonic() < deadline_s, "the daemon did not begin"
        time.sleep(0.02)


def hang(daemon: Daemon, release: threading.Event) -> threading.Event:
    """Make the loop wait in the answer to a control; return the event that says that it does."""
    hangs = threading.Event()

    def respond(outcome: Outcome) -> None:
        hangs.set()
        release.wait(30.0)

    peer = Peer(os.getpid(), os.getuid())
    deadline_s = monotonic_s() + 30.0
    daemon._queue.submit(ControlRequest("resume", ControlArgs(), peer, deadline_s, respond))
    return hangs


def test_a_kill_latches_and_is_answered_while_the_loop_hangs(tmp_path: Path) -> None:
    """The socket thread makes the latch and says that the loop has not answered; state grows old instead of lying.

    Other controls end with a clear time-out, and when the loop comes back it follows the latch before it decides.
    """
    with Rig(tmp_path, start=LIVELY_START, settings={"signals": LIVELY}) as rig, daemon_beside(rig) as daemon:
        rig.step("15m", 5)
        release = threading.Event()
        try:
            assert hang(daemon, release).wait(5.0)
            with rig.client() as client:
                _, first_age_s = client.state()
                told = client.control("kill", answer_within_s=1.0, reason="it hangs")
                _, second_age_s = client.state()
            assert told.status == "killed"
            assert "latched on disk; the trading loop has not answered yet" in told.text
            latch = kill_switch.read(rig.paths.kill_latch)
            assert latch is not None
            assert latch.reason == "it hangs"
            assert second_age_s > first_age_s
            rig.venue.step(to="15m")  # the close that would enter arrives while the loop hangs
        finally:
            release.set()
        state = rig.settle()
        assert state.status == "KILLED"
        assert rig.decided("BTC")[6] == ("blocked", "killed")
        assert state.orders == ()
        with rig.client() as client, pytest.raises(IpcError, match="needs the phrase"):
            client.control("prepare", action="unkill", phrase="please")
