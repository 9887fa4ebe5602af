"""What is installed is whole: a wheel is built, and the program runs from it, away from the work tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from perp_bot.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "perp_bot"
CODE = {".py", ".pyc"}

RUN_FROM_THE_WHEEL = """
import pathlib, sys
import perp_bot
assert perp_bot.__file__.startswith(sys.argv[1]), perp_bot.__file__
from perp_bot.practice.market.hours import load_recorded
assert len(load_recorded("BTC")) == 800
import perp_bot.tui.app as dashboard
assert (pathlib.Path(dashboard.__file__).parent / dashboard.DashboardApp.CSS_PATH).is_file()
import perp_bot.trading.daemon
from perp_bot.__main__ import main
sys.argv = ["perpbot", "--version"]
sys.exit(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(PACKAGE, source / "perp_bot", ignore=shutil.ignore_patterns("__pycache__"))
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet",
         "--wheel-dir", str(folder), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, f"is setuptools 77 or newer in this environment? {built.stderr[-2000:]}"
    return next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Code and data alike: recorded candles with their attribution, stylesheets, the marker of types."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(ours - inside) == []
    data = {name for name in ours if Path(name).suffix not in CODE}
    assert {"perp_bot/py.typed", "perp_bot/practice/recorded/ATTRIBUTION.md"} < data
    assert any(name.endswith(".csv.gz") for name in data)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_wheel_names_command_licence_and_python(wheel: Path) -> None:
    """What an index and an installer read."""
    archive = zipfile.ZipFile(wheel)
    info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).rsplit("/", 1)[0]
    metadata = archive.read(f"{info}/METADATA").decode()
    assert f"Version: {VERSION}" in metadata
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "perpbot = perp_bot.__main__:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert any(re.search(r"dist-info/(licenses/)?LICENSE$", name) for name in archive.namelist())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_program_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Unpacked somewhere else, it imports its heaviest parts, finds its data and answers --version."""
    place = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(place)
    environment = {**os.environ, "PYTHONPATH": str(place)}
    ran = subprocess.run(
        [sys.executable, "-c", RUN_FROM_THE_WHEEL, str(place)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == f"perpbot {VERSION}"
