"""A desk on a fresh database for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_rig import START, DeskRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DeskRig]:
    """A flat desk that has seen marks and books of both coins at `START`."""
    with DeskRig(tmp_path) as made:
        made.step(START)
        yield made
