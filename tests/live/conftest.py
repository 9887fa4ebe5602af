"""Live trading proved from the venue's own books: real daemons trade on a practice exchange in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "process"))  # the rig


def pytest_configure(config: pytest.Config) -> None:
    """Know xdist's marker also where xdist is switched off."""
    config.addinivalue_line("markers", "xdist_group(name): run on the worker of that name")
