"""Every control through the real command line against the real daemon: what it does, says, returns and leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rig import LIVELY, LIVELY_START, Rig

from perp_bot.core.errors import IpcError
from perp_bot.risk import kill_switch

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]


@contextmanager
def session(folder: Path, **settings: Any) -> Iterator[Rig]:
    """Run a lively daemon that has decided the closes 0 and 1."""
    with Rig(folder, start=LIVELY_START, settings={"signals": LIVELY, **settings}) as rig:
        rig.start()
        rig.step("15m")
        yield rig
        assert rig.stop() == 0


def result(ran: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    """Return the JSON that a control with --json printed, its exit code checked."""
    assert ran.returncode == code, ran.stdout + ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def phrase(rig: Rig) -> str:
    return f"resume {rig.venue.base_url}"


def test_pause_stops_entries_over_a_restart_until_resume(tmp_path: Path) -> None:
    """Decided closes say that they are paused, a restart changes nothing, asking twice is no error."""
    with session(tmp_path) as rig:
        assert result(rig.perpbot("pause", "--reason", "thin book", "--json"))["status"] == "done"
        assert result(rig.perpbot("pause", "--json"))["status"] == "already"
        state = rig.step("15m")
        assert state.status == "PAUSED"
        assert state.status_reasons == ("everything is paused by the operator: thin book",)
        assert rig.decided("ETH")[2] == ("blocked", "paused")
        assert rig.stop() == 0
        state = rig.start()
        assert state.status == "PAUSED"
        rig.step("15m", 4)
        assert rig.decided("BTC")[6] == ("blocked", "paused")

        assert result(rig.perpbot("resume", "--json"))["status"] == "done"
        assert result(rig.perpbot("resume", "--json"))["status"] == "already"
        state = rig.step("15m")
        assert state.status == "RUNNING"
        assert {rig.decided("BTC")[7][0], rig.decided("ETH")[7][0]} == {"enter", "blocked"}
        assert [" by pid " in text for text in rig.events("PAUSED", "RESUMED")] == [True, True]


def test_a_pause_of_one_symbol_leaves_the_other_and_lets_exits_out(tmp_path: Path) -> None:
    """ETH is paused with its position open: it leaves at its own rules, BTC enters, ETH does not."""
    with session(tmp_path) as rig:
        rig.step("15m")
        assert [position.symbol for position in rig.step("1m").positions] == ["ETH"]
        ran = rig.perpbot("pause", "--symbol", "ETH-PERP")
        assert ran.returncode == 0
        assert ran.stdout == "ETH paused: no new entries; stops and exits go on\n"
        rig.step("15m", 4)
        assert rig.decided("ETH")[3] == ("exit",)
        assert rig.decided("BTC")[6] == ("enter",)
        assert rig.decided("ETH")[6][:2] == ("blocked", "paused")
        strangers = rig.perpbot("pause", "--symbol", "SOL")
        assert strangers.returncode == 1
        assert strangers.stderr == "perpbot: SOL is not traded here; traded: BTC, ETH\n"
        unknown = rig.perpbot("pause", "--strategy", "breakout")
        assert unknown.returncode == 1
        assert unknown.stderr == "perpbot: no strategy 'breakout' runs here; running: mean_reversion\n"


def test_close_closes_one_symbol_after_its_preview(tmp_path: Path) -> None:
    """The preview is on stderr, the outcome on stdout; without a terminal --yes is needed."""
    with session(tmp_path) as rig:
        assert result(rig.perpbot("close", "ETH", "--yes", "--json"))["status"] == "already"
        rig.step("15m")
        rig.step("1m")
        refused = rig.perpbot("close", "ETH")
        assert refused.returncode == 2
        assert "add --yes" in refused.stderr
        assert len(rig.state().positions) == 1

        ran = rig.perpbot("close", "ETHUSDT", "--yes", "--json")
        assert result(ran)["status"] == "flat"
        assert "closes short 0.303 ETH" in ran.stderr
        assert "est_fee_usd" in ran.stderr
        assert rig.settle().positions == ()
        ((reason,),) = rig.rows("SELECT exit_reason FROM trades")
        assert reason == "operator_close"
        assert [order.role for order in rig.state().orders] == []
        (told,) = rig.events("OPERATOR")
        assert told.startswith("close ETH by pid ")


def test_cancel_orders_cancels_the_working_entry_and_leaves_the_stop(tmp_path: Path) -> None:
    """An entry that waits for its fill is cancelled; the resting stop of a position never is."""
    with session(tmp_path) as rig:
        state = rig.step("15m")
        assert [order.role for order in state.orders] == ["entry"]
        done = result(rig.perpbot("cancel-orders", "--yes", "--json"))
        assert done == {"status": "done", "text": "1 entry orders cancelled; protective stops stay", "preview": None}
        assert rig.settle().orders == ()
        assert result(rig.perpbot("cancel-orders", "--yes", "--json"))["status"] == "already"
        rig.step("15m", 4)
        held = rig.step("1m")
        assert [order.role for order in held.orders] == ["stop"]
        assert result(rig.perpbot("cancel-orders", "--yes", "--json"))["status"] == "already"
        assert [order.role for order in rig.settle().orders] == ["stop"]


def test_a_kill_by_command_cancels_entries_survives_restarts_and_ends_by_phrase_alone(tmp_path: Path) -> None:
    """The latch is on disk, working entries are cancelled; resume, --yes and a wrong phrase do not lift it."""
    with session(tmp_path) as rig:
        rig.step("15m")
        assert result(rig.perpbot("kill", "--reason", "news", "--json"))["status"] == "killed"
        state = rig.settle()
        assert state.status == "KILLED"
        assert state.status_reasons[0].endswith(": news")
        assert state.orders == (), "the working entry is cancelled"
        assert kill_switch.is_latched(rig.paths.kill_latch)
        assert rig.stop() == 0
        assert rig.start().status == "KILLED"
        rig.kill()
        assert rig.start().status == "KILLED"
        rig.step("15m", 4)
        assert rig.decided("BTC")[6] == ("blocked", "killed")

        resumed = result(rig.perpbot("resume", "--json"))
        assert resumed["status"] == "already"
        assert resumed["text"].endswith("a kill is latched: use perpbot unkill")
        for arguments in (["--yes"], ["--phrase", "resume practice"], ["--phrase", "yes", "--yes"]):
            refused = rig.perpbot("unkill", *arguments)
            assert refused.returncode == 2
            assert "phrase" in refused.stderr
        with rig.client() as client, pytest.raises(IpcError, match="needs the phrase"):
            client.control("prepare", action="unkill", phrase="resume")
        assert rig.settle().status == "KILLED"

        lifted = rig.perpbot("unkill", "--phrase", phrase(rig), "--json")
        assert result(lifted)["status"] == "done"
        assert not rig.paths.kill_latch.exists()
        assert rig.step("15m").status == "RUNNING"
        assert {rig.decided("BTC")[7][0], rig.decided("ETH")[7][0]} == {"enter", "blocked"}
        assert rig.stop() == 0
        assert rig.start().status == "RUNNING"


def test_a_file_dropped_by_hand_kills_and_taking_it_away_does_not_lift_it(tmp_path: Path) -> None:
    """Anything called KILL latches within a tick; removed by hand it is put back: only the phrase lifts a kill."""
    with session(tmp_path) as rig:
        rig.paths.kill_latch.touch()
        rig.await_status("KILLED")
        rig.step("15m")
        assert rig.decided("ETH")[2] == ("blocked", "killed")
        rig.paths.kill_latch.unlink()
        rig.until("the latch is put back", rig.paths.kill_latch.exists)
        rig.settle()
        assert rig.state().status == "KILLED"
        assert rig.stop() == 0
        rig.paths.kill_latch.unlink()
        assert rig.start().status == "KILLED", "the database remembers it too"
        assert rig.paths.kill_latch.exists()
        assert result(rig.perpbot("unkill", "--phrase", phrase(rig), "--json"))["status"] == "done"
        assert rig.settle().status == "RUNNING"


def test_kill_with_flatten_closes_everything_and_stays_killed(tmp_path: Path) -> None:
    """The position is closed and its stop cancelled; without a terminal and --yes only the latch is made."""
    with session(tmp_path) as rig:
        rig.step("15m")
        rig.step("1m")
        latched = rig.perpbot("kill", "--flatten", "--json")
        assert result(latched, 1)["text"] == "killed; NOT flattened: this is not a terminal, add --yes"
        state = rig.settle()
        assert (state.status, len(state.positions)) == ("KILLED", 1)
        assert [order.role for order in state.orders] == ["stop"]

        flat = rig.perpbot("kill", "--flatten", "--yes", "--json")
        assert result(flat)["status"] == "flat"
        assert "closes short 0.303 ETH" in flat.stderr
        state = rig.settle()
        assert (state.status, state.positions, state.orders) == ("KILLED", (), ())
        assert rig.rows("SELECT exit_reason FROM trades") == [("operator_flatten",)]
        assert result(rig.perpbot("kill", "--flatten", "--yes", "--json"))["status"] in ("flat", "already")
        rig.step("15m", 5)
        assert "enter" not in {action for action, *_ in [*rig.decided("BTC").values()][3:]}
        assert rig.state().account.accounting_error_max_usd < 0.01


def test_kill_works_on_a_stopped_process_and_on_none(tmp_path: Path) -> None:
    """SIGSTOP: the latch is made and the command says that the daemon did not confirm; it follows when it wakes."""
    with session(tmp_path) as rig:
        assert rig.process is not None
        rig.process.send_signal(signal.SIGSTOP)
        ran = rig.perpbot("kill", "--json")
        assert kill_switch.is_latched(rig.paths.kill_latch)
        rig.process.send_signal(signal.SIGCONT)
        assert f"the daemon (pid {rig.process.pid}) did not confirm" in result(ran)["text"]
        rig.await_status("KILLED")
        assert result(rig.perpbot("unkill", "--phrase", phrase(rig), "--json"))["status"] == "done"
        assert rig.stop() == 0
        assert result(rig.perpbot("kill", "--json"))["text"].endswith("; no daemon runs")
        assert rig.start().status == "KILLED"


def test_take_over_ends_a_process_that_hangs_and_nothing_else(tmp_path: Path) -> None:
    """A daemon that answers is not ended; a stopped one is, after which the lock is free and the latch holds."""
    with session(tmp_path) as rig:
        refused = rig.perpbot("kill", "--take-over", "--yes")
        assert refused.returncode == 2
        assert "nothing was taken over" in refused.stderr
        rig.check_alive()
        assert rig.process is not None
        rig.process.send_signal(signal.SIGSTOP)
        ran = rig.perpbot("kill", "--take-over", "--yes", "--json")
        assert result(ran)["text"].endswith(f"the hung daemon (pid {rig.process.pid}) was ended and its lock is free")
        assert rig.process.wait(5.0) == -signal.SIGKILL
        assert rig.start().status == "KILLED"


def test_a_client_that_sends_a_megabyte_without_a_newline_harms_nobody(tmp_path: Path) -> None:
    """It gets one error and loses its connection; other clients and the loop go on."""
    with session(tmp_path) as rig, rig.client() as other:
        hostile = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        hostile.settimeout(5.0)
        hostile.connect(os.fspath(rig.paths.socket))
        answer = b""
        try:
            hostile.sendall(b"x" * 1024 * 1024)
            while chunk := hostile.recv(65536):
                answer += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            hostile.close()
        if answer:
            assert json.loads(answer.splitlines()[0])["error"]["code"] == "oversized"
        before = other.state()[0].counters.decisions
        state = rig.step("15m")
        assert state.counters.decisions == before + 2
        assert other.state()[0].boot_id == state.boot_id
