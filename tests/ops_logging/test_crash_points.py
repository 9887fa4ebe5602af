"""Crash points: nothing without the variables, and exactly the k-th hit with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perp_bot.core.errors import UsageError
from perp_bot.ops.crash_points import AT_VARIABLE, LOG_VARIABLE, crash_point, parse_crash_at

CODE = """
from perp_bot.ops.crash_points import crash_point
for k in range(5):
    crash_point("a")
    crash_point("b")
    print(k, flush=True)
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=os.environ | environment)


def test_the_kth_hit_ends_the_process(tmp_path: Path) -> None:
    """Counted from 1, of that name only, and logged before the end."""
    log = tmp_path / "points"
    ended = run(**{AT_VARIABLE: "b:3", LOG_VARIABLE: str(log)})
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "0\n1\n"
    assert log.read_text().split() == ["a", "b"] * 3


def test_the_log_alone_ends_nothing(tmp_path: Path) -> None:
    """A test first lists the points of a run, then crashes at each."""
    log = tmp_path / "points"
    assert run(**{LOG_VARIABLE: str(log)}).returncode == 0
    assert log.read_text().split() == ["a", "b"] * 5


def test_without_the_variables_a_point_does_nothing() -> None:
    """This very process lives on."""
    crash_point("writer.before_commit")


@pytest.mark.parametrize("text", ["", "name", "name:", ":3", "name:0", "name:-1", "name:x"])
def test_a_mistyped_variable_is_refused(text: str) -> None:
    """A crash test that silently tests nothing would be worse than none."""
    with pytest.raises(UsageError, match="must be name:k"):
        parse_crash_at(text)


def test_a_name_may_hold_colons() -> None:
    """The last one parts name and count."""
    assert parse_crash_at("journal.before_commit:7") == ("journal.before_commit", 7)
    assert parse_crash_at("a:b:2") == ("a:b", 2)
