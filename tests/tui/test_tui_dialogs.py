"""Control flows in the running dashboard: pause, resume, close, kill, flatten, F9; accepted, refused, unanswered."""

from __future__ import annotations

import msgspec
import pytest
from fake_daemon import SILENT, FakeDaemon, a_position, a_preview, a_snapshot
from tui_driver import Driver
from tui_launch import Launch

from perp_bot.config.paths import RuntimePaths
from perp_bot.tui.dialogs import base
from perp_bot.tui.dialogs.controls import CloseDialog, KillDialog, ResumeDialog
from perp_bot.tui.store import Connection, OutcomeState

pytestmark = pytest.mark.slow

REASON = {"reason": "operator at the dashboard"}


async def open_dialog(driver: Driver, key: str, kind: type) -> None:
    """Press a key and wait for its dialog."""
    await driver.press(key)
    await driver.until(lambda: isinstance(driver.app.screen, kind))


async def test_p_pauses_at_once_and_the_outcome_is_a_row(paths: RuntimePaths, launch: Launch) -> None:
    """p acts at once; SENT, then DONE with the daemon's words, on the line and in the events."""
    with FakeDaemon(paths.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await driver.press("p")
            outcome = await driver.until_outcome(OutcomeState.DONE)
            assert (outcome.verb, outcome.text) == ("PAUSE", "entries paused")
            await driver.until_shown("✓ PAUSE DONE  entries paused")
            await driver.until_shown("PAUSE: entries paused")
            assert daemon.sent("pause") == [REASON]


async def test_r_asks_and_only_y_resumes(paths: RuntimePaths, launch: Launch) -> None:
    """r opens y/n; Enter is neither; n and esc leave it as it is."""
    with FakeDaemon(paths.socket, a_snapshot(status="PAUSED", status_reasons=("operator",))) as daemon:
        async with launch() as driver:
            await driver.until_live()
            for key in ("enter", "n"):
                if not isinstance(driver.app.screen, ResumeDialog):
                    await open_dialog(driver, "r", ResumeDialog)
                await driver.listen()
                await driver.press(key)
            await driver.until(lambda: not isinstance(driver.app.screen, ResumeDialog))
            assert daemon.sent("resume") == []
            await open_dialog(driver, "r", ResumeDialog)
            await driver.listen()
            await driver.press("y")
            await driver.until_outcome(OutcomeState.DONE)
            assert daemon.sent("resume") == [REASON]


def test_the_deaf_time_is_300_ms() -> None:
    """Long enough for a key that was meant for the dashboard, short enough not to be noticed."""
    assert base.DEAF_S == 0.3


async def test_a_dialog_is_deaf_at_first(paths: RuntimePaths, launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key on its way to the dashboard does not land in the dialog."""
    monkeypatch.setattr(base, "DEAF_S", 2.0)  # a busy machine must not make the keys late
    with FakeDaemon(paths.socket, a_snapshot(status="PAUSED")) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await driver.press("r", "y")
            assert isinstance(driver.app.screen, ResumeDialog)
            await driver.press("escape")
            await driver.press("k", *"kill", "enter")
            assert isinstance(driver.app.screen, KillDialog)
            await driver.listen()
            assert driver.app.screen.field.value == ""
            assert daemon.sent("resume") == daemon.sent("kill") == []


async def test_typing_kill_latches(paths: RuntimePaths, launch: Launch) -> None:
    """k opens; the word kill and Enter latch; flatten is not part of it."""
    with FakeDaemon(paths.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await open_dialog(driver, "k", KillDialog)
            await driver.until_shown("PAPER PRACTICE")
            await driver.type("KILL")
            outcome = await driver.until_outcome(OutcomeState.DONE)
            assert (outcome.verb, outcome.text) == ("KILL", "killed, entries blocked")
            assert daemon.sent("kill") == [{"flatten": False, **REASON}]
            assert daemon.sent("commit") == []


@pytest.mark.parametrize("typed", ["", "y", "kill now"])
async def test_nothing_else_kills(paths: RuntimePaths, launch: Launch, typed: str) -> None:
    """Enter alone and any other word do nothing, and say so; esc leaves."""
    with FakeDaemon(paths.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await open_dialog(driver, "k", KillDialog)
            await driver.type(typed)
            assert isinstance(driver.app.screen, KillDialog)
            if typed:
                await driver.until_shown("nothing was sent")
            await driver.press("escape")
            await driver.until(lambda: not isinstance(driver.app.screen, KillDialog))
            assert daemon.sent("kill") == daemon.sent("commit") == []


async def test_typing_flatten_kills_then_commits_what_was_previewed(paths: RuntimePaths, launch: Launch) -> None:
    """The daemon's preview is on screen before the word is typed; the kill latches first."""
    with FakeDaemon(paths.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await open_dialog(driver, "k", KillDialog)
            await driver.until_shown("closes 1 position, about 1,002.30 USD")
            assert "fee ~0.45" in driver.screen
            await driver.type("flatten")
            outcome = await driver.until_outcome(OutcomeState.DONE)
            assert (outcome.verb, outcome.text) == ("KILL + FLATTEN", "closed BTC, verified flat")
            assert daemon.sent("kill") == [{"flatten": True, **REASON}]
            assert daemon.sent("commit") == [{"token": "token-after-kill", **REASON}]


async def test_a_flatten_that_changed_after_the_kill_is_shown_again(paths: RuntimePaths, launch: Launch) -> None:
    """The kill holds, the new preview waits for the word once more."""
    with FakeDaemon(paths.socket) as daemon:
        changed = a_preview("flatten", token="t9", positions=[], text="closes nothing any more")
        daemon.answers["kill"] = lambda _args: {"status": "killed", "text": "killed", "preview": changed}
        async with launch() as driver:
            await driver.until_live()
            await open_dialog(driver, "k", KillDialog)
            await driver.until_shown("closes 1 position")
            await driver.type("flatten")
            await driver.until_shown("FLATTEN: THE KILL HAS LATCHED")
            assert daemon.sent("commit") == []
            daemon.answers["prepare"] = lambda _args: {"status": "done", "text": "", "preview": changed}
            await driver.until_shown("closes nothing any more")
            await driver.type("flatten")
            await driver.until_outcome(OutcomeState.DONE)
            assert daemon.sent("commit") == [{"token": "t9", **REASON}]


async def test_f9_twice_kills_from_anywhere_and_once_does_not(paths: RuntimePaths, launch: Launch) -> None:
    """The first F9 arms a red bar, esc disarms, the second within 3 s kills; in a dialog too."""
    with FakeDaemon(paths.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await driver.press("f9")
            await driver.until_shown("= KILL on paper practice    esc disarms")
            await driver.press("escape")
            await driver.until(lambda: "esc disarms" not in driver.screen)
            assert daemon.sent("kill") == []
            await driver.press("question_mark", "f9", "f9")
            await driver.until_outcome(OutcomeState.DONE)
            assert daemon.sent("kill") == [{"flatten": False, **REASON}]


async def test_an_armed_kill_disarms_by_itself(
    paths: RuntimePaths, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two presses further apart than the window are two first presses."""
    monkeypatch.setattr("perp_bot.tui.app.ARMED_S", 0.05)
    with FakeDaemon(paths.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await driver.press("f9")
            await driver.until(lambda: driver.app.view.armed_until_s is None)
            await driver.press("f9")
            await driver.until(lambda: driver.app.view.armed_until_s is None)
            assert daemon.sent("kill") == []


async def test_close_needs_the_coin_typed_under_its_preview(paths: RuntimePaths, launch: Launch) -> None:
    """e: the preview of the chosen coin, then its name; another coin shows its own preview first."""
    rows = (a_position("BTC"), a_position("ETH"))
    with FakeDaemon(paths.socket, a_snapshot(positions=rows)) as daemon:
        async with launch() as driver:
            await driver.until_live()
            await open_dialog(driver, "e", CloseDialog)
            await driver.until_shown("closes 1 position")
            await driver.type("DOGE")
            await driver.until_shown("no open position in DOGE")
            await driver.type("eth")
            await driver.until_shown("look at the preview of ETH")
            assert daemon.sent("commit") == []
            await driver.until(lambda: {"action": "close", "symbol": "ETH", **REASON} in daemon.sent("prepare"))
            await driver.until(lambda: driver.app.screen.found is not None)  # type: ignore[attr-defined]
            await driver.type("eth")
            outcome = await driver.until_outcome(OutcomeState.DONE)
            assert outcome.verb == "CLOSE ETH"
            assert daemon.sent("commit") == [{"token": "token-close", **REASON}]


async def test_close_without_a_preview_sends_nothing(paths: RuntimePaths, launch: Launch) -> None:
    """A daemon that refuses the preview is quoted."""
    with FakeDaemon(paths.socket) as daemon:
        daemon.answers["prepare"] = lambda _args: {"code": "refused", "message": "already closing BTC"}
        async with launch() as driver:
            await driver.until_live()
            await open_dialog(driver, "e", CloseDialog)
            await driver.until_shown("no preview: already closing BTC")
            await driver.type("btc")
            await driver.until_shown("nothing sent")
            assert daemon.sent("commit") == []


async def test_a_refused_commit_is_failed_and_stays_until_cleared(paths: RuntimePaths, launch: Launch) -> None:
    """FAILED stays on its line; esc clears it; it remains in the events."""
    with FakeDaemon(paths.socket) as daemon:
        daemon.answers["commit"] = lambda _args: {"code": "changed", "message": "the position changed"}
        async with launch() as driver:
            await driver.until_live()
            await open_dialog(driver, "e", CloseDialog)
            await driver.until_shown("closes 1 position")
            await driver.type("BTC")
            await driver.until_outcome(OutcomeState.FAILED)
            await driver.until_shown("✗ CLOSE BTC FAILED  the position changed")
            await driver.press("escape")
            await driver.until(lambda: "✗ CLOSE BTC" not in driver.screen)
            await driver.press("8")
            await driver.until_shown("CLOSE BTC: the position changed")


async def test_an_unanswered_kill_is_unknown_after_five_seconds(paths: RuntimePaths, launch: Launch) -> None:
    """UNKNOWN is never shown as done."""
    with FakeDaemon(paths.socket) as daemon:
        daemon.answers["kill"] = lambda _args: SILENT
        async with launch() as driver:
            await driver.until_live()
            await driver.press("f9", "f9")
            await driver.until_outcome(OutcomeState.SENT)
            await driver.until_shown("… KILL SENT")
            await driver.until_outcome(OutcomeState.UNKNOWN)
            await driver.until_shown("? KILL UNKNOWN  no answer in 5 s; it may have been done")


async def test_a_connection_lost_in_between_is_unknown_at_once(paths: RuntimePaths, launch: Launch) -> None:
    """The answer can no longer come."""
    with FakeDaemon(paths.socket) as daemon:
        daemon.answers["kill"] = lambda _args: SILENT
        async with launch() as driver:
            await driver.until_live()
            await driver.press("f9", "f9")
            await driver.until(lambda: daemon.sent("kill"))
            daemon.stop()
            outcome = await driver.until_outcome(OutcomeState.UNKNOWN)
            assert "connection ended" in outcome.text


async def test_behind_a_hung_loop_kill_works_and_flatten_is_a_line_to_copy(paths: RuntimePaths, launch: Launch) -> None:
    """UNRESPONSIVE: the socket thread latches; the dialog does not offer what the loop would have to do."""
    with FakeDaemon(paths.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            daemon.age_s = 11.0
            daemon.push_state()
            await driver.until(lambda: driver.connection is Connection.UNRESPONSIVE)
            await open_dialog(driver, "k", KillDialog)
            await driver.until_shown("flatten needs the trading loop")
            await driver.type("flatten")
            await driver.until_shown("flatten was not sent")
            await driver.type("kill")
            await driver.until_outcome(OutcomeState.DONE)
            assert daemon.sent("kill") == [{"flatten": False, **REASON}]


async def test_without_a_daemon_the_kill_dialog_gives_the_command(paths: RuntimePaths, launch: Launch) -> None:
    """The viewer sends nothing and writes nothing: it offers the line, and c copies it."""
    async with launch() as driver:
        await driver.until(lambda: driver.connection is Connection.NOT_RUNNING)
        await driver.press("f9")
        await driver.until(lambda: isinstance(driver.app.screen, KillDialog))
        await driver.until_shown("KILL FROM A SHELL")
        await driver.until(lambda: not driver.app.screen.is_deaf)  # type: ignore[attr-defined]
        await driver.press("c")
        assert driver.app.clipboard == "perpbot kill"
        assert not paths.kill_latch.exists()


async def test_the_dialogs_fit_a_terminal_of_80x24(paths: RuntimePaths, launch: Launch) -> None:
    """Heading, preview, keys and field of a close among 200 positions are on screen."""
    crowd = tuple(a_position(f"C{number}") for number in range(200))
    with FakeDaemon(paths.socket, a_snapshot(positions=crowd)) as daemon:
        many = [{"symbol": f"C{n}", "side": "long", "size": "1"} for n in range(200)]
        preview = a_preview("flatten", positions=many, text="closes 200 positions")
        daemon.answers["prepare"] = lambda _args: {"status": "done", "text": "", "preview": preview}
        async with launch((80, 24)) as driver:
            await driver.until_live()
            for key, kind in (("e", CloseDialog), ("k", KillDialog)):
                await open_dialog(driver, key, kind)
                await driver.until_shown("[esc] leave")
                await driver.until_shown("PAPER PRACTICE")
                await driver.listen()
                await driver.until_shown("type the coin" if kind is CloseDialog else "kill or flatten")
                assert "╝" in driver.screen or "┛" in driver.screen
                await driver.press("escape")
                await driver.until(lambda kind=kind: not isinstance(driver.app.screen, kind))  # type: ignore[misc]


async def test_read_only_sends_nothing_whatever_is_pressed(paths: RuntimePaths, launch: Launch) -> None:
    """READ-ONLY is in the header, and every control says why it is off."""
    with FakeDaemon(paths.socket) as daemon:
        async with launch(read_only=True) as driver:
            await driver.until_live()
            assert "READ-ONLY" in driver.screen
            await driver.press("p", "r", "e", "k", "f9", "f9")
            await driver.until_shown("read-only")
            assert {request["cmd"] for request in daemon.requests} == {"hello", "subscribe"}


async def test_no_single_key_moves_money(paths: RuntimePaths, launch: Launch) -> None:
    """Every bound key pressed once, with esc between: no kill, no commit, no resume, whatever opens."""
    from perp_bot.tui.actions import ACTIONS

    with FakeDaemon(paths.socket, msgspec.structs.replace(a_snapshot(), status="PAUSED")) as daemon:
        async with launch() as driver:
            await driver.until_live()
            for action in ACTIONS:
                if action.id in ("quit", "interrupt"):
                    continue
                for key in action.keys:
                    await driver.press(key)
                    await driver.press("escape")
            assert {request["cmd"] for request in daemon.requests} <= {"hello", "subscribe", "prepare", "pause"}
