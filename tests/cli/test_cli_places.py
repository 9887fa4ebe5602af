"""Folders that cannot be used: one line, exit code 2, nothing made."""

from __future__ import annotations

import errno
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cli_run import RunCommand

from perp_bot.cli.places import make_folder, place_fault
from perp_bot.config.load import load_config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import ConfigError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder that even root cannot write")
@pytest.mark.parametrize("command", ["trade", "backfill"])
def test_a_database_folder_that_cannot_be_made_is_one_line(perpbot: RunCommand, tmp_path: Path, command: str) -> None:
    """With the file, the key and the value, before any venue is asked."""
    (tmp_path / "config.yaml").write_text("data: {db_path: /proc/perpbot/p.db}\n")
    ran = perpbot(command)
    assert (ran.code, ran.out) == (2, "")
    assert "config.yaml: data.db_path: " in ran.err
    assert "/proc/perpbot" in ran.err
    assert "unexpected" not in ran.err
    assert ran.err.count("\n") == 1


def test_the_line_names_file_key_value_and_reason(tmp_path: Path) -> None:
    """Something came in the way after the settings were checked."""
    found = load_config(None, env={})
    (tmp_path / "taken").write_text("a file")
    db = tmp_path / "taken" / "p.db"
    config = replace(found, source_path=tmp_path / "config.yaml", data=replace(found.data, db_path=db))
    with pytest.raises(ConfigError) as raised:
        make_folder(config, RuntimePaths(db))
    assert str(raised.value) == (
        f"{tmp_path}/config.yaml: data.db_path: {db}: the folder {tmp_path}/taken cannot be made: File exists; "
        "choose a folder where you may write"
    )


@pytest.mark.parametrize("command", ["status", "tui", "trade", "kill", "demo", "backtest"])
def test_a_folder_that_is_gone_is_said_in_one_line(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The shell still stands in a folder that was removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ran = perpbot(command)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "perpbot: the current folder no longer exists; go to another one with cd, then run this again\n"


def test_a_demo_where_nothing_can_be_written_is_one_line(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here its folder's name is taken by a file."""
    (tmp_path / ".perpbot-demo").write_text("a file")
    ran = perpbot("demo", "--headless")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"perpbot: {tmp_path}/.perpbot-demo")
    assert "go to a folder where you may write (cd)" in ran.err
    assert ran.err.count("\n") == 1


def test_every_other_error_of_the_system_stays_unexpected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file of the program itself, or a broken pipe, is no fault of the folder."""
    monkeypatch.chdir(tmp_path)
    config = load_config(None, env={})
    elsewhere = FileNotFoundError(errno.ENOENT, "No such file", "/opt/perpbot/part.dat")
    assert place_fault(elsewhere, config) is None
    assert place_fault(ConnectionResetError(errno.ECONNRESET, "reset"), config) is None
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "perp_bot.db.lock"))
    line = place_fault(full, config)
    assert line is not None
    assert line.startswith(f"defaults: data.db_path: {tmp_path}/perp_bot.db: ")
    assert "No space left on device" in line
