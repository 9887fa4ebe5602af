"""Wallets, signed requests and a strict venue with one funded master, its agent, and strangers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import requests
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hyperliquid.utils import signing as sdk

from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer

PLENTY = Limits(weight_per_minute=1_000_000, new_connections_per_minute=1_000, connections=100)
MASTER: LocalAccount = Account.from_key("0x" + "11" * 32)
AGENT: LocalAccount = Account.from_key("0x" + "22" * 32)
STRANGER: LocalAccount = Account.from_key("0x" + "33" * 32)
USER = MASTER.address.lower()
ACCOUNTS = [{"address": USER, "usd": 10_000, "agents": [{"address": AGENT.address.lower(), "name": "bot"}]}]

_started_ms = time.time_ns() // 1_000_000
_nonces = itertools.count(_started_ms)


def next_nonce() -> int:
    """Return a nonce that no test has used."""
    return next(_nonces)


def order(px: str, *, size: str = "0.01", is_buy: bool = True, tif: str = "Gtc", **more: Any) -> dict[str, Any]:
    """Return the wire of a BTC order."""
    return {"a": 0, "b": is_buy, "p": px, "s": size, "r": False, "t": {"limit": {"tif": tif}}, **more}


def orders(*wires: Mapping[str, Any], grouping: str = "na") -> dict[str, Any]:
    """Return an action of these orders."""
    return {"type": "order", "orders": [dict(wire) for wire in wires], "grouping": grouping}


def signed(
    action: dict[str, Any],
    wallet: LocalAccount = MASTER,
    *,
    nonce: int | None = None,
    vault: str | None = None,
    expires: int | None = None,
) -> dict[str, Any]:
    """Return the body that the SDK would send for an action of the exchange."""
    nonce = next_nonce() if nonce is None else nonce
    signature = sdk.sign_l1_action(wallet, action, vault, nonce, expires, False)
    return {"action": action, "nonce": nonce, "signature": signature, "vaultAddress": vault, "expiresAfter": expires}


def post(venue: PracticeServer, body: object, timeout: float = 10) -> requests.Response:
    """Send a body to /exchange."""
    return requests.post(f"{venue.base_url}/exchange", json=body, timeout=timeout)


def act(venue: PracticeServer, action: dict[str, Any], wallet: LocalAccount = MASTER, **how: Any) -> dict[str, Any]:
    """Sign and send an action; return the venue's reply."""
    answer = post(venue, signed(action, wallet, **how))
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


def info(venue: PracticeServer, request_type: str, **fields: Any) -> Any:
    """Ask /info."""
    answer = requests.post(f"{venue.base_url}/info", json={"type": request_type, **fields}, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def mid(venue: PracticeServer, coin: str = "BTC") -> float:
    """Return a coin's mid price."""
    return float(info(venue, "allMids")[coin])


def px_at(venue: PracticeServer, share: float) -> str:
    """Return BTC's mid times `share` as a valid price: a whole number."""
    return str(int(mid(venue) * share))
