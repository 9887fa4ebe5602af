"""Shared by the indicator tests: compiled kernels loaded once, and recorded hourly candles."""

from __future__ import annotations

import csv
import gzip
import io
from importlib import resources

import numpy as np
import pytest
from indicator_reference import Candles

from perp_bot.indicators import compiled


@pytest.fixture(scope="session", autouse=True)
def _loaded_kernels() -> None:
    """Pay for compiling once, so that no test is timed out or marked slow by it."""
    compiled.load()


@pytest.fixture(scope="session", params=["btc", "eth"])
def recorded(request: pytest.FixtureRequest) -> Candles:
    """Return 800 recorded hourly candles of Hyperliquid (MIT, attribution beside the file)."""
    packed = resources.files("perp_bot.practice").joinpath(f"recorded/hyperliquid_{request.param}_1h.csv.gz")
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(packed.read_bytes()).decode())))
    high, low, close = (np.array([float(row[name]) for row in rows]) for name in ("high", "low", "close"))
    return Candles(high, low, close)
