"""The running dashboard against a fake daemon on a real socket: screens, states, sizes, hostile data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fake_daemon import T0_MS, FakeDaemon, a_position, a_signal, a_snapshot
from textual.css.query import NoMatches
from tui_launch import Launch
from tui_rows import fill_database, log_line, write_log

from perp_bot.config.paths import RuntimePaths
from perp_bot.ipc.state import EventNote, LimitState
from perp_bot.ops.run_record import RunRecord, write_run_record
from perp_bot.tui.store import Connection

pytestmark = pytest.mark.slow


@pytest.fixture
def stocked(paths: RuntimePaths) -> RuntimePaths:
    """Return paths with a database and a log."""
    fill_database(paths.db)
    write_log(paths.log, 200)
    return paths


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_the_overview_shows_what_matters_at_every_size(
    stocked: RuntimePaths, launch: Launch, size: tuple[int, int]
) -> None:
    """Header, positions, signals, risk and keys at 80x24, 120x40 and 200x50; no line is wider than the screen."""
    with FakeDaemon(stocked.socket):
        async with launch(size) as driver:
            await driver.until_live()
            shown = driver.screen
            for text in (
                "PAPER practice",
                "RUNNING",
                "● LIVE",
                "loop 0.",
                "equity 671.42",
                "uPnL -0.79",
                "regime NORMAL",
            ):
                assert text in shown, text
            for text in (
                "BTC 64,250",
                "ETH 3,120.5",
                "Positions (1)",
                "▲ long",
                "63,012",
                "Risk (1 of 7 at their limit)",
            ):
                assert text in shown, text
            for text in (
                "lost 2.1 %" if size[0] > 80 else "daily loss",
                "✗rsi",
                "HOLD: z 1.42",
                "F9 F9 KILL",
                "q Quit",
            ):
                assert text in shown, text
            lines = shown.split("\n")
            assert len(lines) == size[1]
            assert max(len(line) for line in lines) <= size[0]


async def test_the_wide_overview_holds_trades_events_and_the_log(stocked: RuntimePaths, launch: Launch) -> None:
    """120x40: history from the database and the tail of the log."""
    with FakeDaemon(stocked.socket):
        async with launch((120, 40)) as driver:
            await driver.until_live()
            await driver.until_shown("line 199")
            shown = driver.screen
            assert "Trades (2, net -2.26)" in shown
            assert "STARTED" in shown
            assert "ERROR    perp_bot.trading.loop  line 199" in shown


async def test_a_tiny_terminal_gets_a_status_card(stocked: RuntimePaths, launch: Launch) -> None:
    """Below 60x12: environment, state, age, equity, day, position, worst risk."""
    with FakeDaemon(stocked.socket):
        async with launch((40, 10)) as driver:
            await driver.until_live()
            shown = driver.screen
            for text in (
                "PAPER PRACTICE RUNNING",
                "LIVE 0.",
                "equity 671.42",
                "day +2.21",
                "BTC long -0.79",
                "positions AT LIMIT",
            ):
                assert text in shown, shown


async def test_resizing_goes_through_every_layout_and_back(stocked: RuntimePaths, launch: Launch) -> None:
    """No size breaks the screen."""
    with FakeDaemon(stocked.socket):
        async with launch((200, 50)) as driver:
            await driver.until_live()
            for size in ((120, 40), (100, 28), (80, 24), (60, 12), (30, 5), (1, 1), (200, 50)):
                await driver.pilot.resize_terminal(*size)
                await driver.until(lambda size=size: driver.app.size == size)  # type: ignore[misc]
                assert len(driver.screen.split("\n")) == size[1]
            assert "Positions (1)" in driver.screen


async def test_a_frozen_daemon_is_stale_within_six_seconds(stocked: RuntimePaths, launch: Launch) -> None:
    """SIGSTOP: LATE after 2 s, STALE after 5, every value with its time."""
    with FakeDaemon(stocked.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            daemon.is_frozen = True
            await driver.until(lambda: driver.connection is Connection.LATE)
            assert "● LATE" in driver.screen
            await driver.until(lambda: driver.connection is Connection.STALE)
            shown = driver.screen
            assert "○ STALE 5." in shown
            assert "equity 671.42 @05:31:07" in shown
            await driver.until_shown("STALE: the daemon is silent")
            daemon.is_frozen = False
            await driver.until_live()
            assert "@05:31:07" not in driver.screen


async def test_a_hung_loop_is_unresponsive_while_the_socket_answers(stocked: RuntimePaths, launch: Launch) -> None:
    """The heartbeat's age grows: UNRESPONSIVE, with the line for the shell."""
    with FakeDaemon(stocked.socket) as daemon:
        async with launch() as driver:
            await driver.until_live()
            daemon.age_s = 10.5
            daemon.push_state()
            await driver.until(lambda: driver.connection is Connection.UNRESPONSIVE)
            await driver.until_shown("perpbot kill --flatten --take-over")
            assert "○ UNRESPONSIVE" in driver.screen


async def test_killed_turns_the_header_solid_and_names_the_way_back(stocked: RuntimePaths, launch: Launch) -> None:
    """KILLED stays on every screen."""
    snapshot = a_snapshot(status="KILLED", status_reasons=("killed by cli: test",))
    with FakeDaemon(stocked.socket, snapshot):
        async with launch() as driver:
            await driver.until_live()
            for key in ("1", "9"):
                await driver.press(key)
                assert "KILLED: killed by cli: test. Entries blocked. Back: perpbot unkill" in driver.screen
                assert driver.app.lines("header").has_class("killed")


async def test_without_a_daemon_the_offline_screen_tells_what_is_known(stocked: RuntimePaths, launch: Launch) -> None:
    """NOT RUNNING: last exit, positions as of, commands, log tail; it stays and reconnects."""
    write_run_record(stocked.run_record, RunRecord(4242, "b", T0_MS, T0_MS + 5_000, 1, "VenueAway: gone"))
    async with launch((120, 40)) as driver:
        await driver.until(lambda: driver.connection is Connection.NOT_RUNNING)
        await driver.until_shown("Last known positions (1)")
        await driver.until_shown("line 199")
        shown = driver.screen
        for text in (
            "NOT RUNNING",
            "code 1   VenueAway: gone",
            "UNWATCHED",
            "perpbot trade --paper",
            "Trades (2, net -2.26)",
        ):
            assert text in shown, shown
        with FakeDaemon(stocked.socket):
            await driver.press("ctrl+r")
            await driver.until_live()
            assert "Positions (1)" in driver.screen


@pytest.fixture
def lock_holder(stocked: RuntimePaths) -> Iterator[int]:
    """Return the pid of another process that holds the instance lock."""
    code = (
        "import sys; from pathlib import Path; from perp_bot.ops.instance_lock import InstanceLock\n"
        "lock = InstanceLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(stocked.lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "held\n"
        yield child.pid
        child.stdin.close()
        child.wait(5)


async def test_a_held_lock_without_a_socket_is_ipc_down(
    stocked: RuntimePaths, launch: Launch, lock_holder: int
) -> None:
    """The process lives: its pid is named and another command offered."""
    async with launch((120, 40)) as driver:
        await driver.until(lambda: driver.connection is Connection.IPC_DOWN)
        await driver.until_shown(f"pid {lock_holder}")
        assert "IPC DOWN" in driver.screen
        assert "perpbot kill --flatten --take-over" in driver.screen


async def test_an_incompatible_daemon_leaves_history_and_log_working(stocked: RuntimePaths, launch: Launch) -> None:
    """INCOMPATIBLE: both versions, history and log go on."""
    with FakeDaemon(stocked.socket) as daemon:
        daemon.protocol = 9
        async with launch((120, 40)) as driver:
            await driver.until(lambda: driver.connection is Connection.INCOMPATIBLE)
            await driver.until_shown("line 199")
            assert "protocol 9, this dashboard 1" in driver.screen
            assert "Trades (2, net -2.26)" in driver.screen


async def test_nothing_at_all_is_still_a_screen(paths: RuntimePaths, launch: Launch) -> None:
    """No daemon, no database, no log: each says so."""
    async with launch((120, 40)) as driver:
        await driver.until(lambda: driver.connection is Connection.NOT_RUNNING)
        await driver.until_shown("no daemon ever ran on this database")
        await driver.until_shown("no log at")
        assert "perpbot trade --paper" in driver.screen


async def test_two_hundred_positions_and_hostile_names_do_not_break_the_screen(
    stocked: RuntimePaths, launch: Launch
) -> None:
    """Markup, escapes and crowds: drawn as text, scrolled, never obeyed."""
    hostile = "[red]X[/] \x1b[2J\u202e"
    positions = (*(a_position(f"COIN{number}") for number in range(199)), a_position(hostile))
    changes: dict[str, Any] = {
        "positions": positions,
        "signals": tuple(a_signal(f"C{number}", reason=hostile) for number in range(12)),
        "limits": (LimitState(hostile, "k", 3, 1, "count", True, hostile),),
        "status": "DEGRADED",
        "status_reasons": (hostile,),
    }
    with FakeDaemon(stocked.socket, a_snapshot(**changes)) as daemon:
        async with launch((120, 40)) as driver:
            await driver.until_live()
            daemon.push_event(EventNote(T0_MS, hostile, hostile, hostile))
            await driver.until_shown("Positions (200)")
            await driver.press("2", "end")
            shown = driver.screen
            assert "[red]X[/] ␛[2J\ufffd" in shown
            assert "\x1b" not in shown
            assert "\u202e" not in shown


async def test_the_cursor_follows_its_row_when_rows_move(stocked: RuntimePaths, launch: Launch) -> None:
    """Rows do not jump under the cursor."""
    rows = tuple(a_position(name) for name in ("BTC", "ETH", "SOL"))
    with FakeDaemon(stocked.socket, a_snapshot(positions=rows)) as daemon:
        async with launch((120, 40)) as driver:
            await driver.until_live()
            await driver.press("down")
            pane = driver.app.pane("positions")
            assert pane.cursor_key == "ETH"
            daemon.show(positions=(a_position("AAA"), *rows))
            await driver.until_shown("Positions (4)")
            assert pane.cursor_key == "ETH"
            daemon.show(positions=(a_position("AAA"),))
            await driver.until_shown("Positions (1)")
            assert pane.cursor_key == "AAA"


async def test_only_changed_rows_are_repainted(stocked: RuntimePaths, launch: Launch) -> None:
    """A frame that changes one position repaints that row of the pane, not the pane; none changed, none repainted."""
    rows = tuple(a_position(name) for name in ("BTC", "ETH", "SOL", "XRP", "DOGE"))
    with FakeDaemon(stocked.socket, a_snapshot(positions=rows), heartbeat_s=60) as daemon:
        async with launch((120, 40)) as driver:
            await driver.until(lambda: driver.app.view.frame is not None)
            pane = driver.app.pane("risk")
            driver.app.draw()
            await driver.pilot.pause()
            before = pane.rows_repainted
            for _ in range(3):
                driver.app.draw()
                await driver.pilot.pause()
            assert pane.rows_repainted == before
            limits = list(daemon.snapshot.limits)
            worst = LimitState("positions", "risk.max_positions", 1, 2, "count", True, "1 of 2 positions open")
            daemon.show(limits=tuple(worst if item.name == "positions" else item for item in limits))
            await driver.until_shown("1 of 2 positions open")
            await driver.pilot.pause()
            assert 1 <= pane.rows_repainted - before <= 3


async def test_the_log_is_filtered_by_level_and_text_and_survives_rotation(
    stocked: RuntimePaths, launch: Launch
) -> None:
    """Levels by < and >, text by /, the tail over a rotation."""
    with FakeDaemon(stocked.socket):
        async with launch((120, 40)) as driver:
            await driver.until_live()
            await driver.press("9", "greater_than_sign", "greater_than_sign")
            await driver.until_shown("level>=ERROR  4 of 200")
            await driver.press("slash")
            await driver.type("line 49")
            await driver.until_shown("with 'line 49'  1 of 200")
            await driver.press("escape")
            await driver.until_shown("level>=ERROR  4 of 200")
            for number in range(3):
                for backup in (2, 1):
                    path = stocked.log.with_name(f"perp-bot.log.{backup}")
                    if path.exists():
                        path.rename(stocked.log.with_name(f"perp-bot.log.{backup + 1}"))
                stocked.log.rename(stocked.log.with_name("perp-bot.log.1"))
                stocked.log.write_text(log_line(1000 + number, "ERROR", note="[b]after\x1b[0m"))
            await driver.until_shown("level>=ERROR  7 of 203")
            assert "line 1002  note=[b]after␛[0m" in driver.screen
            assert "gap" not in driver.screen


async def test_scrolling_the_log_up_leaves_the_tail_and_end_returns(stocked: RuntimePaths, launch: Launch) -> None:
    """Scrolled up, new lines are counted and do not move the text."""
    with FakeDaemon(stocked.socket):
        async with launch((120, 40), screen="log") as driver:
            await driver.until_live()
            await driver.until_shown("line 199")
            await driver.press("home")
            await driver.until_shown("  line 0  ")
            with stocked.log.open("a") as file:
                file.write(log_line(200))
            await driver.until_shown("+1 new")
            assert "  line 0  " in driver.screen
            await driver.press("end")
            await driver.until_shown("  line 200")


async def test_tab_walks_the_panes_and_on_a_narrow_screen_the_tabs(stocked: RuntimePaths, launch: Launch) -> None:
    """tab and shift+tab; number keys; f for full and back; esc only goes back."""
    with FakeDaemon(stocked.socket):
        async with launch((120, 40)) as driver:
            await driver.until_live()
            seen = []
            for _ in range(6):
                seen.append(driver.app.screen.focused.id if driver.app.screen.focused else None)
                await driver.press("tab")
            assert seen == ["positions", "signals", "risk", "trades", "events", "log"]
            await driver.press("shift+tab", "f")
            assert driver.app.shown_view == "log"
            await driver.press("escape")
            assert driver.app.shown_view == "overview"
            await driver.pilot.resize_terminal(80, 24)
            await driver.until(lambda: driver.app.size.width == 80)
            await driver.press("tab", "tab")
            assert driver.app.shown_view == "orders"
            await driver.until_shown("stop_market")


async def test_help_and_health_open_and_esc_closes_them(stocked: RuntimePaths, launch: Launch) -> None:
    """? and H."""
    with FakeDaemon(stocked.socket):
        async with launch((120, 40)) as driver:
            await driver.until_live()
            await driver.press("question_mark")
            await driver.until_shown("Pause entries at once")
            await driver.press("escape")
            await driver.until(lambda: "Pause entries at once" not in driver.screen)
            await driver.press("H")
            await driver.until_shown("late from 3 s, stale from 10 s")


async def test_copy_takes_the_command_under_the_cursor(stocked: RuntimePaths, launch: Launch) -> None:
    """y copies by the terminal's clipboard, and says what."""
    async with launch((120, 40)) as driver:
        await driver.until(lambda: driver.connection is Connection.NOT_RUNNING)
        await driver.until_shown("perpbot trade --paper")
        pane = driver.app.pane("offline")
        await driver.until(lambda: pane.content.selectable)
        pane.cursor_key = "command:perpbot trade --paper"
        await driver.press("y")
        assert driver.app.clipboard == "perpbot trade --paper"


async def test_an_unreadable_database_costs_its_panes_and_nothing_else(paths: RuntimePaths, launch: Launch) -> None:
    """ERROR in the pane with the reason; the rest lives."""
    paths.db.write_bytes(b"this is not a database, not at all" * 50)
    with FakeDaemon(paths.socket):
        async with launch((120, 40)) as driver:
            await driver.until_live()
            assert driver.app.view.history is not None
            assert "database" in driver.app.view.history.error
            assert "● LIVE" in driver.screen


async def test_leaving_stops_every_thread_and_says_that_the_bot_goes_on(stocked: RuntimePaths, launch: Launch) -> None:
    """q leaves the viewer alone; the daemon hears nothing of it."""
    import threading

    with FakeDaemon(stocked.socket) as daemon:
        async with launch((120, 40)) as driver:
            await driver.until_live()
            app = driver.app
            farewell = app.farewell()
            await driver.press("q")
        assert app.return_code == 0
        assert farewell == "perpbot: dashboard closed; the bot goes on (RUNNING, paper practice, pid 4242)"
        assert [request["cmd"] for request in daemon.requests] == ["hello", "subscribe"]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("tui-")]


async def test_ticks_of_a_dashboard_that_is_closing_draw_nothing(paths: RuntimePaths, launch: Launch) -> None:
    """Its widgets go one by one while timers still fire."""
    async with launch((120, 40)) as driver:
        app = driver.app
        app._running = False  # what closing begins with
        await app.screen.remove_children()
        app._tick()
        app.draw()
        with pytest.raises(NoMatches):
            app.lines("header")  # what drawing would have met
        app._is_ready = False
        app._running = True
