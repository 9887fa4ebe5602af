"""Leverage and margin mode are watched in turn, set again while flat, and stop entries while they are wrong."""

from __future__ import annotations

from perp_bot.config.model import Config
from perp_bot.core.account_events import CoinRead
from perp_bot.core.types import Instrument
from perp_bot.execution.live.leverage import READ_EVERY_S, LeverageWatch
from perp_bot.execution.live.voice import Voice

COINS = {"BTC": Instrument("BTC", 0, 5, 40), "ETH": Instrument("ETH", 1, 4, 25)}


def watch() -> tuple[LeverageWatch, Voice]:
    """Return a watch of two coins at the defaults: 3x cross."""
    voice = Voice()
    return LeverageWatch(Config(), COINS, voice), voice


def test_each_coin_is_read_in_its_turn() -> None:
    """The start has read them all: the first turn comes after a pause."""
    leverage, _ = watch()
    half_s = READ_EVERY_S / 2
    assert leverage.due(100.0) is None
    assert leverage.due(100.0 + half_s - 1) is None
    first = leverage.due(100.0 + half_s)
    second = leverage.due(100.0 + 2 * half_s)
    assert {first, second} == {"BTC", "ETH"}


def test_a_flat_coin_is_set_again_and_told_once() -> None:
    """Entries stop until a reading shows that it took."""
    leverage, voice = watch()
    action = leverage.take(CoinRead(1, "ETH", 20, True), is_flat=True)
    assert action == {"type": "updateLeverage", "asset": 1, "isCross": True, "leverage": 3}
    leverage.take(CoinRead(2, "ETH", 20, True), is_flat=True)
    assert leverage.coin_troubles() == {"ETH": "ETH: leverage is 20x cross at the venue, 3x cross is configured"}
    assert [(told.kind, told.is_grave) for told in voice.take()] == [("DRIFT", True)]
    assert leverage.take(CoinRead(3, "ETH", 3, True), is_flat=True) is None
    assert leverage.coin_troubles() == {}
    assert [told.text for told in voice.take()] == ["ETH: leverage is 3x cross again"]


def test_with_a_position_nothing_is_changed() -> None:
    """The margin of an open position is its owner's; entries stop all the same."""
    leverage, _ = watch()
    assert leverage.take(CoinRead(1, "BTC", 3, False), is_flat=False) is None
    assert leverage.coin_troubles() == {"BTC": "BTC: leverage is 3x isolated at the venue, 3x cross is configured"}


def test_a_wrong_coin_is_looked_at_again_soon() -> None:
    """Not after its whole turn."""
    leverage, _ = watch()
    leverage.due(0.0)
    leverage.take(CoinRead(1, "ETH", 20, True), is_flat=True)
    assert leverage.due(READ_EVERY_S / 2) == "ETH"
    assert leverage.due(READ_EVERY_S / 2 + 5.0) == "ETH"
