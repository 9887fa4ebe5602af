"""A practice market at speed 1 goes on after a restart in a later hour."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from perp_bot.core.timeframes import HOUR_MS
from perp_bot.practice.market.hours import RECORDED_START_MS
from perp_bot.practice.origin_file import Remembered, recall, remember

NOW = RECORDED_START_MS + 9_000 * HOUR_MS + 1_234_567
ORIGIN = RECORDED_START_MS + 8_600 * HOUR_MS
SERVE = "from pathlib import Path; from perp_bot.practice.app import serve; serve(port=0, state=Path({path!r}){more})"


def test_the_same_seed_without_a_start_goes_on_days_later(tmp_path: Path) -> None:
    """The origin stays where it was, whatever hour it is now."""
    path = tmp_path / "practice-venue.json"
    assert remember(path, seed=42, origin_ms=ORIGIN, began_ms=NOW) is None
    found = recall(path, seed=42, start=None, now_ms=NOW + 77 * HOUR_MS)
    assert found.origin_ms == ORIGIN
    assert found.note == "continues the market of 2027-01-08T11:20:34Z"
    assert [item.name for item in tmp_path.iterdir()] == ["practice-venue.json"]


@pytest.mark.parametrize(
    ("seed", "start", "note"),
    [(7, None, "new market (the one before had seed 42)"), (42, "400", "new market (--start given)")],
)
def test_another_seed_or_a_start_is_a_new_market(tmp_path: Path, seed: int, start: str | None, note: str) -> None:
    """Both are said."""
    path = tmp_path / "practice-venue.json"
    remember(path, seed=42, origin_ms=ORIGIN, began_ms=NOW)
    assert recall(path, seed=seed, start=start, now_ms=NOW) == Remembered(None, note)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"seed": 42}',
        '{"seed": 42, "origin_ms": null, "began_ms": 1}',
        json.dumps({"seed": 42, "origin_ms": ORIGIN + 1, "began_ms": NOW}),
        json.dumps({"seed": 42, "origin_ms": NOW - NOW % HOUR_MS + HOUR_MS, "began_ms": NOW}),
        json.dumps({"seed": 42, "origin_ms": ORIGIN, "began_ms": NOW + 1}),
    ],
)
def test_a_file_that_cannot_be_is_a_new_market_and_said(tmp_path: Path, text: str) -> None:
    """Damaged, off the hour, or from the future."""
    path = tmp_path / "practice-venue.json"
    path.write_text(text)
    found = recall(path, seed=42, start=None, now_ms=NOW)
    assert found.origin_ms is None
    assert found.note.startswith(f"new market ({path} ")


def test_no_file_is_a_new_market(tmp_path: Path) -> None:
    """The first start of all."""
    assert recall(tmp_path / "none", seed=42, start=None, now_ms=NOW) == Remembered(None, "new market")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The venue serves all the same."""
    (tmp_path / "file").write_text("")
    told = remember(tmp_path / "file" / "practice-venue.json", seed=42, origin_ms=ORIGIN, began_ms=NOW)
    assert told is not None
    assert "cannot be written" in told


def served(path: Path, more: str = "") -> tuple[str, int]:
    """Serve once; return the ready line and the origin told."""
    command = [sys.executable, "-c", SERVE.format(path=str(path), more=more)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = line.split()[3].rstrip(":")
        told = requests.post(f"{address}/info", json={"type": "exchangeStatus"}, timeout=5).json()["practice"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        return line, told["origin_ms"]
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.mark.slow
def test_the_venue_says_which_market_it_serves(tmp_path: Path) -> None:
    """A new one is remembered; 30 hours later it goes on, with the history of those hours; --start begins another."""
    path = tmp_path / "practice-venue.json"
    line, origin_ms = served(path)
    assert ", new market; prices" in line
    found = json.loads(path.read_text())
    assert (found["seed"], found["origin_ms"]) == (42, origin_ms)

    remember(path, seed=42, origin_ms=origin_ms - 30 * HOUR_MS, began_ms=found["began_ms"] - 30 * HOUR_MS)
    line, again_ms = served(path)
    assert ", continues the market of " in line
    assert again_ms == origin_ms - 30 * HOUR_MS

    line, third_ms = served(path, ", start='500'")
    assert ", new market (--start given); prices" in line
    assert third_ms == origin_ms - 100 * HOUR_MS
    assert json.loads(path.read_text())["origin_ms"] == third_ms
