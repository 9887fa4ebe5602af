"""`perpbot backtest` measured as a whole process: what it runs on, and that a first use is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from perp_bot.bench import research_data
from perp_bot.bench.backtest_command import DB_NAME, first_use_s, reading, store
from perp_bot.config.load import load_config
from perp_bot.data.columns import read_candles, read_funding


@pytest.mark.slow
def test_the_stored_market_is_the_synthetic_one(tmp_path: Path) -> None:
    """The command reads the same candles and rates, by a config that points to them."""
    market = research_data.market(("BTC",), 1_500)
    store(market, tmp_path)
    config = load_config(tmp_path / "config.yaml")
    assert config.data.db_path == tmp_path / DB_NAME
    assert (config.trading.symbols, config.data.primary_timeframe) == (("BTC",), "1m")
    stored, made = read_candles(config.data.db_path, "BTC", "1m"), market.symbols[0]
    for name in ("open_ms", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(made.candles, name))
    rates = read_funding(config.data.db_path, "BTC")
    np.testing.assert_array_equal(rates.hour_ms, made.funding.hour_ms)
    np.testing.assert_array_equal(rates.rate, made.funding.rate)
    assert all(call() > 0.0 for call in reading(config.data.db_path, "BTC").values())


@pytest.mark.slow
@pytest.mark.process
def test_every_first_use_finds_an_empty_cache_of_kernels(tmp_path: Path) -> None:
    """Else the second would measure what the first compiled."""
    code = "import os; os.mkdir(os.environ['NUMBA_CACHE_DIR'])"  # fails when it is there
    assert len(first_use_s([sys.executable, "-c", code], tmp_path, os.environ, 2)) == 2
