"""A strict practice venue with one account, and the way to it without a daemon; truth is read from the exchange."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account

from perp_bot.config.model import Config, DataConfig, Secrets
from perp_bot.core.clock import FixedClock
from perp_bot.core.types import Order, OrderIntent, OrderRole, OrderSide, OrderState, OrderType, Position, Side
from perp_bot.data.db.rows import OrderRow, PositionRow, Row, StateRow
from perp_bot.data.db.writer import Writer
from perp_bot.execution.live.access import acting, reading
from perp_bot.execution.live.books import BASELINE
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


def write_settings(venue: PracticeServer, folder: Path, text: str = "") -> None:
    """Write what the command line reads there: the settings, and `.env` beside them."""
    (folder / "config.yaml").write_text(f"venue: {venue.base_url}\nmode: live\ndata: {{db_path: perp_bot.db}}\n{text}")
    keys = f"HL_PRIVATE_KEY={AGENT_KEY}\nHL_WATCHDOG_PRIVATE_KEY={WATCHDOG_KEY}\nHL_WALLET_ADDRESS={USER}\n"
    (folder / ".env").write_text(keys)


def store(folder: Path, *rows: Row, baseline_ms: int = 1) -> None:
    """Write rows as a daemon that has ended would have left them."""
    with Writer(
        folder / "perp_bot.db", backups=None, emergency=folder / "emergency.journal", clock=FixedClock(1)
    ) as writer:
        writer.put(StateRow(BASELINE, baseline_ms, 1), *rows)
        writer.flush(5.0)


def position(
    venue: PracticeServer, coin: str = "BTC", size: str = "0.01", stop_share: float | None = 0.95, **more: Any
) -> PositionRow:
    """Return the stored row of a position that the bot opened, with its stop at the mark times `stop_share`."""
    side = Side.LONG if Decimal(size) > 0 else Side.SHORT
    stop_px = None if stop_share is None else float(f"{mark(venue, coin) * stop_share:.4g}")
    found = Position(
        coin, side, abs(Decimal(size)), Decimal(95_000 if coin == "BTC" else 3_300), 1, "mean_reversion", "live",
        stop_px, None, "d",
    )  # fmt: skip
    return PositionRow("live", coin, replace(found, **more))


def entry(coin: str, cloid: str, created_ms: int, state: OrderState = OrderState.INTENT) -> OrderRow:
    """Return the stored row of an entry order as it was left."""
    intent = OrderIntent(
        cloid, "d", coin, OrderSide.BUY, OrderRole.ENTRY, OrderType.TAKER, Decimal("0.01"), None, None, False,
        created_ms, None, "mean_reversion", "live", "z",
    )  # fmt: skip
    return OrderRow(Order(intent, state, Decimal(0), None, created_ms))


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
