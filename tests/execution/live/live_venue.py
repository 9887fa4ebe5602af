"""A strict practice venue with one account, and the way to it without a daemon; truth is read from the exchange."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account

from perp_bot.config.model import Config, DataConfig, Secrets
from perp_bot.execution.live.access import acting, reading
from perp_bot.execution.live.direct import Direct
from perp_bot.execution.live.signer import signer_of
from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer

AGENT_KEY, WATCHDOG_KEY = "0x" + "22" * 32, "0x" + "44" * 32
USER = Account.from_key("0x" + "11" * 32).address.lower()
AGENT = Account.from_key(AGENT_KEY).address.lower()
WATCHDOG = Account.from_key(WATCHDOG_KEY).address.lower()
PLENTY = Limits(weight_per_minute=1_000_000, new_connections_per_minute=1_000, connections=100)
ASSETS = {"BTC": 0, "ETH": 1}


@contextmanager
def venue_with(
    *positions: dict[str, Any], mode: str = "standard", speed: float | None = None
) -> Iterator[PracticeServer]:
    """Serve a venue (stepped unless `speed`) where USER has 10,000 USD, two agents and these positions."""
    account = {
        "address": USER,
        "usd": 10_000,
        "mode": mode,
        "agents": [{"address": AGENT, "name": "bot"}, {"address": WATCHDOG, "name": "watchdog"}],
        "positions": list(positions),
    }
    with PracticeServer(speed=speed, limits=PLENTY, accounts={"accounts": [account]}) as venue:
        yield venue


def config_of(venue: PracticeServer, folder: Path, **more: Any) -> Config:
    """Return the settings of live trading there."""
    secrets = Secrets(hl_private_key=AGENT_KEY, hl_wallet_address=USER)
    return Config(
        venue=venue.base_url, mode="live", data=DataConfig(db_path=folder / "perp_bot.db"), secrets=secrets, **more
    )


@contextmanager
def direct_to(venue: PracticeServer, folder: Path, within_s: float = 8.0) -> Iterator[Direct]:
    """Go to the venue as the command line does."""
    config = config_of(venue, folder)
    with ExitStack() as stack:
        access = stack.enter_context(reading(config))
        signer = signer_of(config.secrets, venue.base_url)
        yield stack.enter_context(acting(access, signer, folder / "KILL", within_s=within_s))


# ------------------------------------------------------------ the venue's own books


def held(venue: PracticeServer) -> dict[str, Decimal]:
    """Return the positions that the exchange has."""
    rows = venue.venue.exchange.clearinghouse_state(USER)["assetPositions"]
    return {row["position"]["coin"]: Decimal(row["position"]["szi"]) for row in rows}


def resting(venue: PracticeServer) -> list[dict[str, Any]]:
    """Return the open orders that the exchange has, oldest first."""
    return sorted(venue.venue.exchange.frontend_open_orders(USER), key=lambda row: row["oid"])


def sent(venue: PracticeServer) -> list[dict[str, Any]]:
    """Return every order the exchange has ever had of the account, oldest first."""
    rows = [row["order"] for row in venue.venue.exchange.historical_orders(USER)]
    return sorted(rows, key=lambda row: row["oid"])


def mark(venue: PracticeServer, coin: str = "BTC") -> float:
    """Return a coin's mark."""
    return float(venue.venue.exchange._core.mark(coin))


# ------------------------------------------------------------ the owner's hand


def by_hand(venue: PracticeServer, *orders: dict[str, Any], grouping: str = "na") -> list[dict[str, Any]]:
    """Let the owner send orders; return the venue's statuses."""
    action = {"type": "order", "orders": list(orders), "grouping": grouping}
    reply = venue.set_faults(act={"user": USER, "action": action})["act"]
    statuses: list[dict[str, Any]] = reply["response"]["data"]["statuses"]
    assert not any("error" in status for status in statuses), statuses
    return statuses


def limit(venue: PracticeServer, share: float, *, coin: str = "BTC", size: str = "0.01", buy: bool = True) -> Any:
    """Return a limit order at the mark times `share`."""
    px = f"{mark(venue, coin) * share:.4g}"
    px = f"{float(px):.10g}"
    return {"a": ASSETS[coin], "b": buy, "p": px, "s": size, "r": False, "t": {"limit": {"tif": "Gtc"}}}


def stop(venue: PracticeServer, share: float, *, coin: str = "BTC", size: str = "0.01", buy: bool = False) -> Any:
    """Return a reduce-only stop at the mark times `share`."""
    px = f"{float(f'{mark(venue, coin) * share:.4g}'):.10g}"
    worst = f"{float(f'{mark(venue, coin) * share * (1.1 if buy else 0.9):.4g}'):.10g}"
    trigger = {"isMarket": True, "triggerPx": px, "tpsl": "sl"}
    return {"a": ASSETS[coin], "b": buy, "p": worst, "s": size, "r": True, "t": {"trigger": trigger}}
