"""Locks and nonces of signing keys stand in a folder of each test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "practice"))  # signed_rig


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests from the user's nonces and from each other's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
