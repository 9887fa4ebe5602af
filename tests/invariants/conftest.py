"""The invariants, each disproved where it can be: pure where possible, else against the real daemon, stepped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "process"))  # the rig


def pytest_configure(config: pytest.Config) -> None:
    """Know xdist's marker also where xdist is switched off."""
    config.addinivalue_line("markers", "xdist_group(name): run on the worker of that name")


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[[object], object]:
    """Return what the uninterrupted run of a stretch left, and the crash points it reached; run once a worker."""
    from sessions import Stretch, live_through

    known: dict[str, object] = {}

    def find(stretch: object) -> object:
        assert isinstance(stretch, Stretch)
        if stretch.name not in known:
            folder = tmp_path_factory.mktemp(stretch.name)
            log = folder / "points"
            outcome = live_through(stretch, folder / "run", env={"PERPBOT_CRASH_LOG": str(log)})
            known[stretch.name] = (outcome, tuple(log.read_text().split()))
        return known[stretch.name]

    return find
