"""Keep what looks like a secret out of messages about the config file."""

from __future__ import annotations

import re
from typing import Any

SECRET_NAMES = (
    "HL_PRIVATE_KEY",
    "HL_WALLET_ADDRESS",
    "HL_WATCHDOG_PRIVATE_KEY",
    "DISCORD_WEBHOOK_URL",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_CHAT_ID",
)

_SECRET_VALUE = re.compile(
    r"(?:0x)?[0-9a-fA-F]{40,}"  # keys and addresses
    r"|\d{6,}:[A-Za-z0-9_-]{20,}"  # Telegram tokens
    r"|https?://\S*(?:webhook|token|key)\S*"
    r"|https?://[^\s/@]+@\S*",  # credentials in a URL
    re.IGNORECASE,
)
_SECRET_KEY = re.compile(
    r"private|secret|token|webhook|password|passphrase|mnemonic|seed_phrase|api_?key", re.IGNORECASE
)
_MAX_SHOWN = 60


def is_secret_key(name: str) -> bool:
    """Return whether a key of this name would hold a secret."""
    return name.upper() in SECRET_NAMES or bool(_SECRET_KEY.search(name))


def redacted(text: str) -> str:
    """Return `text` with everything that looks like a key, a token or a webhook taken out."""
    return _SECRET_VALUE.sub("<hidden>", text)


def shown_name(name: Any) -> str:
    """Return a key as it stands in the file, as one short word for a message."""
    return "_".join(redacted(str(name)).split())[:_MAX_SHOWN]


def shown(value: Any) -> str:
    """Return a value as one short line, for a message."""
    text = " ".join(redacted(repr(value)).split())
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
