"""Locks and nonces of a test's own; the rigs of the live executor's and the socket's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TESTS / "execution" / "live"))  # live_venue
sys.path.insert(0, str(_TESTS / "ipc"))  # ipc_samples
sys.path.insert(0, str(_TESTS / "practice"))  # signed_rig


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests from the user's nonces and from each other's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
