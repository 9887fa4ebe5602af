"""Which peers there are to be measured beside, and which of them are installed here.

`make bench-peers` (see `peers_setup`) makes an environment a set of peers that go together, under `.venv-peers/`.
Nothing else needs them: a measurement names the ones that are missing and goes on.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import perp_bot

FOLDER_NAME = ".venv-peers"
HOW = "make bench-peers"
SCRIPTS = Path(__file__).with_name("peer_scripts")


@dataclass(frozen=True, slots=True)
class Environment:
    """Peers that can be installed together, with the Python versions that they run on, best first."""

    name: str
    pythons: tuple[str, ...]
    peers: tuple[str, ...]  # distributions that are measured; the rest is what they need


ENVIRONMENTS = (
    Environment(
        "vectorised",
        ("3.11", "3.12", "3.13"),
        (
            "vectorbt", "vectorbt-rust", "backtesting", "TA-Lib", "kand", "tulipy", "talipp", "bottleneck", "numbagg",
            "pandas", "polars",
        ),
    ),
    Environment("freqtrade", ("3.11", "3.12", "3.13"), ("freqtrade",)),
    Environment("jesse", ("3.11", "3.12"), ("jesse",)),
    Environment("nautilus", ("3.12", "3.13"), ("nautilus_trader",)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Installed:
    """A peer that is there."""

    peer: str
    version: str
    environment: str


def folder() -> Path:
    """Return where the environments are: `.venv-peers` here when there is one, else beside the package."""
    here = Path.cwd() / FOLDER_NAME
    return here if here.is_dir() else Path(perp_bot.__path__[0]).parent / FOLDER_NAME


def interpreter(environment: str) -> Path | None:
    """Return the Python of an environment, None when it is not there."""
    python = folder() / environment / "bin" / "python"
    return python if python.exists() else None


def installed() -> list[Installed]:
    """Return the peers that are there, read from their metadata: no interpreter is started."""
    found: list[Installed] = []
    for environment in ENVIRONMENTS:
        places = [str(place) for place in (folder() / environment.name).glob("lib/python*/site-packages")]
        versions = {_key(item.metadata["Name"]): item.version for item in importlib.metadata.distributions(path=places)}
        found += [
            Installed(peer, versions[_key(peer)], environment.name)
            for peer in environment.peers
            if _key(peer) in versions
        ]
    return found


def find(peer: str) -> Installed | None:
    """Return a peer by the name of its distribution, None when it is not installed."""
    return next((item for item in installed() if item.peer == peer), None)


def _key(name: str) -> str:
    return name.lower().replace("_", "-")
