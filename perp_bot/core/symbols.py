"""Coin names as traders write them, turned into the venue's.

A config or a command may say BTC, btc, BTC-PERP, BTC/USDT, BTCUSDT or BTCUSD; the venue says BTC.
Case matters on the venue (kPEPE), so a lower-case prefix k is kept, and HIP-3 names (`xyz:TSLA`) pass unchanged.
"""

from __future__ import annotations

import re

_SUFFIX = re.compile(r"(?:[-_/]?(?:PERP|USDT|USDC|USD))+$", re.IGNORECASE)
_COIN = re.compile(r"^(?:k?[A-Z0-9]{1,12}|[a-z][a-z0-9]{0,9}:[A-Za-z0-9]{1,12})$")


def normalize_symbol(text: str) -> str:
    """Return the venue's coin name for `text`.

    Raises:
        ValueError: when what is left cannot be a coin name.
    """
    raw = text.strip()
    if ":" in raw:
        coin = raw
    else:
        stem = _SUFFIX.sub("", raw) or raw
        coin = "k" + stem[1:].upper() if re.match(r"^k[A-Z]{3,}", stem) else stem.upper()
    if not _COIN.match(coin):
        raise ValueError(f"{text!r} is not a coin name (write BTC, BTC-PERP or BTCUSDT)")
    return coin
