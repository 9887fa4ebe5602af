"""Fixtures of the dashboard tests: a folder with short paths, a config on it, an app that runs without a terminal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tui_driver import Driver
from tui_launch import Launch

from perp_bot.config.model import Config, DataConfig, TuiConfig
from perp_bot.config.paths import RuntimePaths
from perp_bot.tui.app import DashboardApp


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a fresh folder whose socket path is short enough."""
    path = Path(tempfile.mkdtemp(prefix="pbt"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def paths(folder: Path) -> RuntimePaths:
    """Return the runtime paths in the folder."""
    return RuntimePaths(folder / "perp_bot.db")


@pytest.fixture
def launch(paths: RuntimePaths) -> Launch:
    """Return a context manager that runs the dashboard in a given size."""

    @asynccontextmanager
    async def start(size: tuple[int, int] = (120, 40), **options: Any) -> AsyncIterator[Driver]:
        config = replace(
            Config(), data=replace(DataConfig(), db_path=paths.db), tui=replace(TuiConfig(), refresh_seconds=0.25)
        )
        app = DashboardApp(config, paths, **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            driver = Driver(app, pilot)
            await driver.until(lambda: app._arrangement is not None)
            yield driver

    return start
