"""I2, of the whole daemon: no stored value depends on where its history began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rig import Rig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(60), pytest.mark.xdist_group("any_start")]


def rows_of(folder: Path, start: str, closes: int) -> dict[str, tuple[Any, ...]]:
    """Return indicators, conditions, thresholds and reason by decision, of a daemon that started at `start`."""
    with Rig(folder, start=start) as rig:
        rig.start()
        rig.step("15m", closes)
        found = rig.rows("SELECT decision_id, indicators_json, conditions_json, thresholds_json, reason FROM decisions")
    return {row[0]: row[1:] for row in found}


def test_daemons_that_started_apart_compute_the_same_bits(tmp_path: Path) -> None:
    """One started half an hour later: the closes both decided carry identical indicators (both flat before 400.75)."""
    early = rows_of(tmp_path / "early", "399.5", 4)
    late = rows_of(tmp_path / "late", "400", 2)
    shared = sorted(set(early) & set(late))
    assert len(shared) == 6
    assert {name: early[name] for name in shared} == {name: late[name] for name in shared}
    assert all(json.loads(early[name][0])["adx"] is not None for name in shared)
