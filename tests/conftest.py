"""For all tests: a run on several workers keeps the tests of a group together, or does not begin."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to run where `--dist loadgroup` does nothing.

    With pytest 9.2 and pytest-xdist 3.8 it did, without a word: both workers then lived through the same days of the
    groups' fixtures, which made the whole run half as long again.
    """
    if not getattr(config.option, "loadgroup", False):
        return
    lost = [item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
    if lost:
        raise pytest.UsageError(f"--dist loadgroup does not see the group of {lost[0]}: use the pinned pytest")
