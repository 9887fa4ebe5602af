"""Who signs for whom is found out before anything is traded: each wrong pair of key and address is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from perp_bot.config.model import Config, Secrets, TradingConfig
from perp_bot.core.account_events import AccountEvent
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import ConfigError, DaemonBusy
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import WeightLimiter
from perp_bot.execution.live.signer import Signer
from perp_bot.practice.thread import PracticeServer
from perp_bot.trading.live_account import LiveAccount, start_cash_of

KEYS = {
    name: digit * 64 for name, digit in (("master", "1"), ("agent", "2"), ("old", "3"), ("other", "4"), ("uni", "5"))
}
ADDRESSES = {name: Signer(key, is_mainnet=False).address for name, key in KEYS.items()}


@pytest.fixture(scope="module")
def venue() -> Iterator[PracticeServer]:
    """A stepped venue with a master of two agents, one of them ended, and a unified account."""
    accounts = {
        "accounts": [
            {
                "address": ADDRESSES["master"],
                "usd": 10_000,
                "agents": [
                    {"address": ADDRESSES["agent"], "name": "bot"},
                    {"address": ADDRESSES["old"], "name": "old", "valid_until": "2025-01-01T00:00:00Z"},
                ],
                "positions": [{"coin": "ETH", "size": "-0.5", "entry_px": 3300}],
            },
            {"address": ADDRESSES["other"], "usd": 100},
            {"address": ADDRESSES["uni"], "usd": 100, "mode": "unified"},
        ]
    }
    with PracticeServer(speed=None, start="400", accounts=accounts) as served:
        yield served


def account(venue: PracticeServer, key: str, address: str | None, **trading: object) -> LiveAccount:
    """Return the account of a key for an address."""
    clock = VenueClock(venue.now_ms, None)
    client = VenueClient(venue.base_url, clock=clock, limiter=WeightLimiter(clock, weight_per_minute=10**6))
    secrets = Secrets(hl_private_key=KEYS[key], hl_wallet_address=None if address is None else ADDRESSES[address])
    config = replace(Config(secrets=secrets), trading=replace(TradingConfig(), **trading))  # type: ignore[arg-type]
    return LiveAccount(config, client, Path("KILL"))


def opened(found: LiveAccount, stack: ExitStack) -> None:
    """Open it; its events go nowhere."""

    def forget(event: AccountEvent) -> None:
        """Nobody listens."""

    found.open(stack, forget)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_an_agent_signs_for_its_master(venue: PracticeServer) -> None:
    """And a second process with the same key does not."""
    with ExitStack() as stack:
        opened(account(venue, "agent", "master"), stack)
        with pytest.raises(DaemonBusy), ExitStack() as other:
            opened(account(venue, "agent", "master"), other)


@pytest.mark.parametrize(
    ("key", "address", "says"),
    [
        ("agent", "other", "is an API wallet of"),
        ("agent", None, "is an API wallet of"),
        ("master", "other", "is the key of the account"),
        ("old", "master", "ended at 2025-01-01T00:00:00Z"),
        ("uni", None, "is in mode unifiedAccount"),
    ],
)
def test_a_wrong_pair_is_one_line(venue: PracticeServer, key: str, address: str | None, says: str) -> None:
    """It names what was found, and what to do."""
    with pytest.raises(ConfigError, match=says) as caught, ExitStack() as stack:
        opened(account(venue, key, address), stack)
    assert "\n" not in str(caught.value)
    assert KEYS[key] not in str(caught.value)


def test_a_stranger_is_told_so(venue: PracticeServer) -> None:
    """A key that the venue has never seen."""
    clock = VenueClock(venue.now_ms, None)
    client = VenueClient(venue.base_url, clock=clock, limiter=WeightLimiter(clock))
    found = LiveAccount(Config(secrets=Secrets(hl_private_key="9" * 64)), client, Path("KILL"))
    with pytest.raises(ConfigError, match="knows no account or API wallet"), ExitStack() as stack:
        opened(found, stack)


def test_leverage_is_set_while_flat_and_left_with_a_position(venue: PracticeServer) -> None:
    """ETH is held at its 20x; BTC gets what is configured, and reads it back."""
    with ExitStack() as stack:
        found = account(venue, "agent", "master", leverage=7)
        opened(found, stack)
        start = found.read(None)
        instruments = {item.symbol: item for item in found._client.instruments()}
        found.set_leverage(start.account, instruments)
        assert found.reads.coin("BTC").leverage == 7
        assert found.reads.coin("ETH").leverage == 20
        wild = account(venue, "agent", "master", leverage=50)
        wild.nonces = found.nonces
        with pytest.raises(ConfigError, match="BTC: leverage 50 cross was asked for, the venue has 7 cross"):
            wild.set_leverage(start.account, instruments)


def test_books_begin_with_the_cash_before_what_is_held_was_paid(venue: PracticeServer) -> None:
    """So that booking the position at its entry price leaves the venue's own cash."""
    start = account(venue, "agent", "master").read(None)
    assert start_cash_of(start.account) == start.account.total_raw_usd - Decimal("0.5") * 3300
    assert start.fills == ()


def test_a_position_of_a_coin_that_is_not_traded_ends_the_start(venue: PracticeServer) -> None:
    """Nobody would watch it."""
    found = account(venue, "agent", "master", symbols=("BTC",))
    with pytest.raises(ConfigError, match=r"ETH is missing and the account holds -0\.5 of it"):
        found.refuse_unwatched(found.read(None))
