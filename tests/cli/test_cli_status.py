"""perpbot status: a table with ages, JSON for scripts, exit code 3 when nobody answers."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from cli_run import RunCommand
from ipc_samples import serving, snapshot, until
from rich.console import Console

from perp_bot.cli.status_view import age_text, render
from perp_bot.ipc.state import StateSnapshot
from perp_bot.ops.instance_lock import InstanceLock


def _text(state: StateSnapshot, age_s: float, width: int = 140) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(render(state, age_s))
    console.file.close()
    return console.export_text()


def test_without_a_daemon_it_is_one_line_and_exit_code_3(perpbot: RunCommand) -> None:
    """Also with --json and --watch."""
    for arguments in ([], ["--json"], ["--watch"]):
        ran = perpbot("status", *arguments)
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith("perpbot: no daemon runs here (nothing answers at ")
        assert ran.err.count("\n") == 1


def test_a_daemon_without_a_socket_is_told_apart(perpbot: RunCommand, tmp_path: Path) -> None:
    """IPC DOWN: the lock says that a process lives."""
    lock = InstanceLock(tmp_path / "perp_bot.db.lock")
    lock.acquire()
    try:
        ran = perpbot("status")
    finally:
        lock.release()
    assert ran.code == 3
    assert f"a daemon lives (pid {os.getpid()} holds the lock)" in ran.err


def test_the_table_shows_state_and_ages(perpbot: RunCommand, tmp_path: Path) -> None:
    """Mode, venue, equity, prices, position, signals, limits."""
    with serving(tmp_path):
        ran = perpbot("status")
    assert (ran.code, ran.err) == (0, "")
    for part in ("RUNNING", "paper on practice", "672.50", "BTC", "ETH", "mean_reversion", "LONG", "daily_loss"):
        assert part in ran.out


def test_tui_on_a_dumb_terminal_is_the_status_once(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM=dumb is a terminal that cannot show the dashboard: the same facts as text, and what goes on from there."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with serving(tmp_path):
        ran = perpbot("tui")
    assert ran.code == 0
    assert ran.err.startswith("TERM=dumb cannot show the dashboard; this is the status once")
    assert "672.50" in ran.out
    ran = perpbot("tui")
    assert (ran.code, ran.out) == (3, "")


def test_json_is_one_line_with_age_and_snapshot(perpbot: RunCommand, tmp_path: Path) -> None:
    """What scripts read; the state is the snapshot as it was published."""
    with serving(tmp_path):
        ran = perpbot("status", "--json")
    assert ran.out.count("\n") == 1
    found = json.loads(ran.out)
    assert found["age_s"] >= 0
    assert msgspec.convert(found["state"], StateSnapshot) == snapshot()


@pytest.mark.slow
def test_watch_goes_on_until_the_daemon_leaves(perpbot: RunCommand, tmp_path: Path) -> None:
    """One object a line; the end of the daemon is exit code 3."""
    with serving(tmp_path) as server:

        def leave() -> None:
            until(lambda: server.viewers == 1)
            server.publish(snapshot(2))
            until(lambda: any(item.pushed_publication == 2 for item in server._subscribers))
            server.stop()

        thread = threading.Thread(target=leave)
        thread.start()
        ran = perpbot("status", "--watch", "--json")
        thread.join()
    assert ran.code == 3
    assert [json.loads(line)["state"]["seq"] for line in ran.out.splitlines()] == [1, 2]


def test_every_age_grows_with_the_snapshots_own_age() -> None:
    """A hung loop looks stale although its last snapshot said 0.1 s."""
    fresh, old = _text(snapshot(), 0.0), _text(snapshot(), 30.0)
    assert "STALE" not in fresh
    assert "loop 0.1 s" in fresh
    assert "loop 30.1 s STALE" in old
    assert old.count("30.3 s STALE") == 4  # the marks of two coins, of the position, and the equity that rests on it
    assert old.count("30.5 s STALE") == 2  # their books


def test_missing_is_shown_as_missing_never_as_zero() -> None:
    """None is `-`, an age of None is `never`."""
    state = snapshot(loop_s=None)
    prices = tuple(
        msgspec.structs.replace(row, mark_px=None, best_bid=None, funding_hourly=None, mark_age_s=None)
        for row in state.prices
    )
    account = msgspec.structs.replace(state.account, equity_usd=None)
    text = _text(msgspec.structs.replace(state, prices=prices, account=account), 0.0)
    assert "loop never" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("BTC"))
    assert row.split()[1:4] == ["-", "never", "-"]
    assert "0.00 " not in next(line for line in text.splitlines() if "300.00" in line).split("300.00")[0]


def test_live_shows_what_is_left_of_the_action_budget_and_what_no_stop_covers() -> None:
    """On paper neither line is there; a covered position shows its stop alone."""
    state = snapshot()
    assert "actions left" not in _text(state, 0.0)
    account = msgspec.structs.replace(state.account, actions_left=9_100)
    live = msgspec.structs.replace(state, account=account)
    assert "actions left at the venue: 9,100\n" in _text(live, 0.0)
    paced = msgspec.structs.replace(live, account=msgspec.structs.replace(account, actions_days_left=12.34))
    assert "actions left at the venue: 9,100, 12.3 days at this session's pace" in _text(paced, 0.0)
    for coverage, shown in ((None, False), (1.0, False), (0.4, True)):
        held = tuple(msgspec.structs.replace(row, coverage=coverage) for row in state.positions)
        text = _text(msgspec.structs.replace(state, positions=held), 0.0)
        assert ("COVERS 40%" in text) is shown


def test_reasons_limits_and_starvation_are_shown_and_markup_is_not_obeyed() -> None:
    """What people must see; text from outside cannot style or hide anything."""
    state = snapshot(status="KILLED")
    signal = msgspec.structs.replace(
        state.signals[0], starved="no [bold]book[/bold] producer", blocked_by=("cooldown",)
    )
    limit = msgspec.structs.replace(state.limits[0], breached=True, text="lost 9 % of [red]670[/red]")
    text = _text(
        msgspec.structs.replace(
            state, status_reasons=("killed by [link]x[/link]",), signals=(signal,), limits=(limit,), positions=()
        ),
        0.0,
    )
    for part in (
        "KILLED",
        "killed by [link]x[/link]",
        "no [bold]book[/bold] producer",
        "blocked by cooldown",
        "AT LIMIT",
        "[red]670[/red]",
        "positions: none",
    ):
        assert part in text


def test_it_fits_eighty_columns() -> None:
    """Nothing is lost to an exception on a narrow terminal."""
    assert all(len(line) <= 80 for line in _text(snapshot(), 0.0, width=80).splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (0.04, "0.0 s"),
        (5.0, "5.0 s"),
        (5.1, "5.1 s STALE"),
        (61, "1 min STALE"),
        (7200, "2.0 h STALE"),
    ],
)
def test_ages_for_people(seconds: float | None, text: str) -> None:
    """Older than 5 s is marked."""
    assert age_text(seconds).plain == text
