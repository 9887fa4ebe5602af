"""One database, one market."""

from __future__ import annotations

from pathlib import Path

import pytest

from perp_bot.core.clock import FixedClock
from perp_bot.core.errors import StoreError
from perp_bot.data.answers import PracticeInfo, VenueStatus
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.writer import Writer
from perp_bot.data.identity import claim, refuse_earlier, venue_identity

NOW = 1_768_446_000_000


def practice(seed: int, origin_ms: int) -> VenueStatus:
    return VenueStatus(NOW, PracticeInfo(1.0, seed, NOW, NOW, True, "", origin_ms))


def test_an_identity_tells_markets_apart() -> None:
    """Mainnet, testnet and every run of a practice venue with other prices are different markets."""
    real = VenueStatus(NOW, None)
    assert venue_identity("https://api.hyperliquid.xyz", real) == "mainnet"
    assert venue_identity("https://api.hyperliquid-testnet.xyz", real) == "testnet"
    here, there = "http://127.0.0.1:1", "http://127.0.0.1:2"
    assert venue_identity(here, practice(42, 5)) == venue_identity(there, practice(42, 5))
    assert venue_identity(here, practice(42, 5)) != venue_identity(here, practice(43, 5))
    assert venue_identity(here, practice(42, 5)) != venue_identity(here, practice(42, 6))


def test_a_database_is_claimed_once_and_refuses_another_market(tmp_path: Path) -> None:
    """The first venue owns it; the same one comes back freely; another is refused in one line that says what to do."""
    path = tmp_path / "a.db"
    with Writer(path, backups=None, emergency=None, clock=FixedClock(NOW)) as writer, Reader(path) as reader:
        row = claim(reader, "mainnet", NOW)
        assert row is not None
        writer.put(row)
        writer.flush(5)
        assert claim(reader, "mainnet", NOW) is None
        with pytest.raises(StoreError, match=r"belongs to mainnet, the venue is testnet.*data\.db_path"):
            claim(reader, "testnet", NOW)


def test_a_venue_whose_clock_went_back_is_refused() -> None:
    """More than a minute behind what was handled is another run; less is clock noise."""
    refuse_earlier(NOW, NOW - 60_000)
    with pytest.raises(StoreError, match="began again"):
        refuse_earlier(NOW, NOW - 60_001)
