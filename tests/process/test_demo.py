"""`perpbot demo --headless`: the first minute of a newcomer, for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = {
    "candles_processed", "decisions", "entries", "exits", "open_positions", "equity", "realized_pnl", "fees", "funding",
    "accounting_error_usd", "loop_lag_ms_p95", "venue_speed", "stream_reconnects",
}  # fmt: skip


def perpbot(*arguments: str, folder: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perp_bot", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


@pytest.mark.process
@pytest.mark.timeout(120)
def test_the_first_25_seconds_show_an_entry_and_an_exit_and_the_books_agree(tmp_path: Path) -> None:
    """One JSON line on stdout, a line a second on stderr, exit code 0, a trade by the ordinary rules, cents that
    agree; and the printed command reproduces every decision of the session."""
    done = perpbot("demo", "--headless", "--duration", "25", folder=tmp_path, timeout_s=90)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1
    result = json.loads(lines[0])
    assert set(result) == KEYS
    assert result["entries"] >= 1
    assert result["exits"] >= 1
    assert result["accounting_error_usd"] < 0.01
    assert result["stream_reconnects"] == 0
    assert result["decisions"] >= 20
    seconds = [line for line in done.stderr.splitlines() if "| equity" in line]
    assert len(seconds) >= 20

    command = next(line for line in done.stderr.splitlines() if line.endswith(" compare"))
    config = command.split("--config ", 1)[1].removesuffix(" compare")
    again = perpbot("--config", config, "compare", "--json", folder=tmp_path, timeout_s=60)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["is_reproduced"]
    assert report["decisions"] >= result["decisions"]
    assert report["trades"] >= result["exits"]
    beside = perpbot("--config", config, "compare", "--days", "7", "--json", folder=tmp_path, timeout_s=90)
    assert beside.returncode == 0, beside.stderr
    parity = json.loads(beside.stdout)
    assert len(parity["matched"]) + len(parity["missed"]) >= result["exits"]
    assert all(abs(trade["remainder_usd"]) < 0.005 for trade in parity["matched"])
