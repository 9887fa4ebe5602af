"""Peers: which are installed, and the protocol between a measurement and a peer's process."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from perp_bot.bench import peers, peers_setup
from perp_bot.bench.peer_worker import PeerWorker
from perp_bot.bench.peers import Environment, Installed
from perp_bot.core.errors import PerpBotError

FAKE = Path(__file__).with_name("fake_peer.py")


def environment_with(folder: Path, name: str, version: str) -> None:
    """Lay out an environment with one distribution, as pip does."""
    package = folder / "vectorised" / "lib" / "python3.11" / "site-packages" / f"{name}-{version}.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    python = folder / "vectorised" / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)


def test_installed_peers_are_found_with_version_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder in the working directory, whatever way the name is spelt; nothing else is a peer."""
    environment_with(tmp_path / ".venv-peers", "Vectorbt_Rust", "1.2.0")
    monkeypatch.chdir(tmp_path)
    assert peers.installed() == [Installed("vectorbt-rust", "1.2.0", "vectorised")]
    assert peers.find("vectorbt-rust") == Installed("vectorbt-rust", "1.2.0", "vectorised")
    assert peers.find("jesse") is None
    assert peers.interpreter("vectorised") == tmp_path / ".venv-peers" / "vectorised" / "bin" / "python"
    assert peers.interpreter("jesse") is None


def test_every_environment_has_pins_for_its_peers() -> None:
    """What `make bench-peers` installs is a version that is written down."""
    root = Path(__file__).resolve().parents[2]
    for environment in peers.ENVIRONMENTS:
        lines = (root / peers_setup.PINS / f"{environment.name}.txt").read_text(encoding="utf-8").splitlines()
        pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
        assert {peer.lower().replace("_", "-") for peer in environment.peers} <= pinned


def test_an_environment_without_its_python_says_which_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on; nothing is left behind."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    pins = tmp_path / "pins.txt"
    pins.write_text("x==1\n", encoding="utf-8")
    reason = peers_setup.set_up(Environment("old", ("2.6",), ("x",)), tmp_path / "there", pins)
    assert reason == "needs Python 2.6, which is not on PATH nor in pyenv"
    assert not (tmp_path / "there").exists()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(60)
def test_what_pip_refuses_is_said_in_its_words_and_what_is_there_is_left_alone(tmp_path: Path) -> None:
    """A set that failed is not taken for installed; one with these very pins is not made again."""
    here = Environment("tiny", (f"{sys.version_info[0]}.{sys.version_info[1]}",), ())
    pins, place = tmp_path / "tiny.txt", tmp_path / "there" / "tiny"
    pins.write_text("!! no requirement\n", encoding="utf-8")
    reason = peers_setup.set_up(here, tmp_path / "there", pins)
    assert reason is not None
    assert "`python -m pip install` failed: ERROR: Invalid requirement" in reason
    assert (place / "bin" / "python").exists()
    assert not (place / ".installed").exists()
    shutil.copyfile(pins, place / ".installed")
    assert peers_setup.set_up(here, tmp_path / "there", pins) is None


def worker(folder: Path, manner: str, **settings: float) -> PeerWorker:
    """Return a worker of the fake peer, its task three rows long to warm up and five in all."""
    np.save(folder / "close.npy", np.arange(5.0))
    (folder / "settings.json").write_text("{}", encoding="utf-8")
    start = folder / "start.py"  # a script takes no arguments: this one hands the fake peer its own
    start.write_text(
        f"import runpy, sys\nsys.argv = ['', {str(peers.SCRIPTS)!r}, {manner!r}]\nrunpy.run_path({str(FAKE)!r})\n",
        encoding="utf-8",
    )
    return PeerWorker("fake", Path(sys.executable), start, folder, warm_up_rows=3, **settings)


@pytest.mark.slow
@pytest.mark.process
def test_a_peer_answers_with_the_seconds_it_measured_and_its_result(tmp_path: Path) -> None:
    """Runs are asked for one at a time; what its library prints does not disturb; the process ends with the block."""
    with worker(tmp_path, "well") as peer:
        assert (peer.version, peer.cases) == ("1.2.3", ("quick", "honest"))
        assert 0.0 < peer.seconds("quick") < 1.0
        assert peer.seconds("honest") == 0.125
        assert peer.result("quick").tolist() == [[0.0, 5.0, 0.0, 4.0, 1.5]]
        assert not list(tmp_path.glob("result-*"))
        pid = peer.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("dies", r"the peer fake: it ended; it said: no memory left"),
        ("hangs", r"the peer fake: no answer in 0\.5 s"),
        ("chats", r"the peer fake: it answered b'hello from a banner'"),
    ],
)
def test_a_peer_that_fails_is_one_line_with_its_name_and_words(tmp_path: Path, manner: str, message: str) -> None:
    """A figure of a crash is never given, and nothing is waited for in vain."""
    with (
        pytest.raises(PerpBotError, match=message),
        worker(tmp_path, manner, patience_s=0.5 if manner == "hangs" else 20.0),
    ):
        pytest.fail("it was taken for well")


def test_scripts_and_packages_stay_apart() -> None:
    """Every script is started by file name and hides no library by its own name; none imports ours."""
    for path in peers.SCRIPTS.glob("*.py"):
        assert path.stem in ("__init__", "worker") or path.stem.startswith("run_"), path
        assert "perp_bot" not in path.read_text(encoding="utf-8"), path


@pytest.mark.slow
def test_the_task_is_json_that_any_python_reads(tmp_path: Path) -> None:
    """The settings a peer gets are numbers under names."""
    from perp_bot.bench import research_case, research_data

    candles = research_data.candles(600)
    research_case.write_task(tmp_path, candles, research_case.signals(candles))
    assert json.loads((tmp_path / "settings.json").read_text(encoding="utf-8")) == {"fee": 0.00065}
    assert np.load(tmp_path / "enter.npy").dtype == np.bool_
    assert np.load(tmp_path / "stop_px.npy")[0] == candles.open[1] - (candles.close[0] + 1) * 3 // 100
