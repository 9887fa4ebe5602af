"""Pictures are of the real program: the SVG shows what the daemon sent, or there is no picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon
from tui_rows import fill_database, write_log

from perp_bot.config.model import Config, DataConfig
from perp_bot.config.paths import RuntimePaths
from perp_bot.tui import picture

pytestmark = pytest.mark.slow


async def test_a_picture_shows_the_running_daemon(paths: RuntimePaths, folder: Path) -> None:
    """80x24 as SVG, with the dialog that a key opens."""
    fill_database(paths.db)
    write_log(paths.log, 20)
    config = replace(Config(), data=replace(DataConfig(), db_path=paths.db))
    with FakeDaemon(paths.socket):
        out = folder / "pictures" / "kill.svg"
        assert await picture.take(config, out, size=(80, 24), keys=("k",), settle_s=0.3)
    drawn = out.read_text().replace("&#160;", " ")
    assert drawn.startswith("<svg")
    assert "PAPER practice" in drawn
    assert "kill or flatten" in drawn


async def test_without_a_daemon_there_is_no_picture_of_one(paths: RuntimePaths, folder: Path) -> None:
    """Nothing is drawn that the program did not draw."""
    config = replace(Config(), data=replace(DataConfig(), db_path=paths.db))
    out = folder / "none.svg"
    assert not await picture.take(config, out, wait_s=0.3)
    assert not out.exists()
