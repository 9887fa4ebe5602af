"""The coins' rules: margin tables decoded, kept with the data, the bundled ones where none are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from perp_bot.core.errors import StoreError
from perp_bot.core.types import Instrument, MarginTier
from perp_bot.data.answers import WireMeta, instruments_of
from perp_bot.data.db import statements
from perp_bot.data.db.connection import open_writable
from perp_bot.data.db.rows import Row, StateRow
from perp_bot.data.meta import KEY, meta_row, stored_instruments

T0 = 1_767_225_600_000
BTC = Instrument("BTC", 0, 5, 40, margin_tiers=(MarginTier(0.0, 40), MarginTier(150_000_000.0, 20)))


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "perp_bot.db"
    open_writable(path).close()
    return path


def put(db: Path, row: Row) -> None:
    connection = open_writable(db)
    statements.apply(connection, row)
    connection.close()


def test_a_coin_has_the_tiers_of_its_table_lowest_first() -> None:
    """As the venue sends them; a table that is not sent is one tier at the coin's own leverage."""
    answer = {
        "universe": [
            {"name": "BTC", "szDecimals": 5, "maxLeverage": 40, "marginTableId": 56},
            {"name": "ATOM", "szDecimals": 2, "maxLeverage": 5, "marginTableId": 5},
            {"name": "OLD", "szDecimals": 1, "maxLeverage": 3, "isDelisted": True},
        ],
        "marginTables": [
            [56, {"description": "", "marginTiers": [
                {"lowerBound": "150000000.0", "maxLeverage": 20}, {"lowerBound": "0.0", "maxLeverage": 40}]}],
        ],
        "collateralToken": 0,
    }  # fmt: skip
    found = instruments_of(msgspec.convert(answer, WireMeta, strict=False))
    assert found == (
        replace(BTC, margin_table_id=56),
        Instrument("ATOM", 1, 2, 5, False, 5),
        Instrument("OLD", 2, 1, 3, True, None),
    )


@pytest.mark.parametrize("leverage", [0, -1, "many"])
def test_a_tier_without_leverage_is_a_bad_answer(leverage: object) -> None:
    """The maintenance rate divides by it."""
    answer = {
        "universe": [],
        "marginTables": [[56, {"marginTiers": [{"lowerBound": "0.0", "maxLeverage": leverage}]}]],
    }
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(answer, WireMeta, strict=False)


def test_without_stored_rules_the_bundled_ones_serve_and_say_so(db: Path) -> None:
    """A fresh clone knows the rules of the main network, tiers included."""
    found, text = stored_instruments(db)
    assert text == "bundled recording of mainnet (go-hyperliquid @ 5dbb746)"
    assert found["BTC"] == BTC
    assert found["ETH"].margin_tiers == (MarginTier(0.0, 25), MarginTier(100_000_000.0, 15))
    assert found["ATOM"].margin_tiers == ()
    assert found["MATIC"].is_delisted
    assert len(found) == 223


def test_what_the_venue_said_last_is_used(db: Path) -> None:
    """Rules survive the database, tiers and asset ids too, with the day they are from."""
    coins = {"BTC": BTC, "OLD": Instrument("OLD", 1, 1, 3, True)}
    put(db, meta_row([Instrument("OTHER", 0, 1, 1)], T0 - 1))
    put(db, meta_row(coins.values(), T0))
    assert stored_instruments(db) == (coins, "stored 2026-01-01")


@pytest.mark.parametrize("value", [7, {}, {"coins": [{"symbol": 1}], "at_ms": 1}, {"coins": [], "at_ms": "x"}])
def test_rules_that_cannot_be_read_are_one_line(db: Path, value: object) -> None:
    """Never a default in silence."""
    put(db, StateRow(KEY, value, T0))
    with pytest.raises(StoreError, match="the stored meta cannot be read"):
        stored_instruments(db)
