"""Process scenarios: real daemons against a practice venue in this process."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker of pytest-xdist also where the plugin is switched off."""
    config.addinivalue_line("markers", "xdist_group(name): tests that share a daemon run on one worker")
