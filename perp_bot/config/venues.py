"""Names of venues and their addresses."""

from __future__ import annotations

PRACTICE_PORT = 8642

MAINNET = "mainnet"
TESTNET = "testnet"
PRACTICE = "practice"

BASE_URLS: dict[str, str] = {
    MAINNET: "https://api.hyperliquid.xyz",
    TESTNET: "https://api.hyperliquid-testnet.xyz",
    PRACTICE: f"http://127.0.0.1:{PRACTICE_PORT}",
}


def base_url(venue: str) -> str:
    """Return the REST base URL of a venue name or explicit URL (no trailing slash: the socket path needs that)."""
    return BASE_URLS.get(venue, venue.rstrip("/"))


def ws_url(base: str) -> str:
    """Return the socket URL that belongs to a REST base URL."""
    return "ws" + base[len("http") :] + "/ws"
