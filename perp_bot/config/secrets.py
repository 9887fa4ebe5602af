"""Secrets, from `.env` beside the config file and from the environment, which wins."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from perp_bot.config.model import Secrets
from perp_bot.config.redact import SECRET_NAMES
from perp_bot.core.errors import ConfigError

_OURS = ("HL_", "DISCORD_", "TELEGRAM_")
_PRIVATE_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def read_secrets(folder: Path, env: Mapping[str, str]) -> tuple[Secrets, list[str]]:
    """Return the secrets and the lines about what is wrong with them; no line ever shows a value."""
    dotenv = _read_dotenv(folder / ".env")
    origin = {name: ("the environment" if env.get(name, "").strip() else str(folder / ".env")) for name in SECRET_NAMES}
    found = {name: (env.get(name, "").strip() or dotenv.get(name, "").strip() or None) for name in SECRET_NAMES}
    secrets = Secrets(
        hl_private_key=found["HL_PRIVATE_KEY"],
        hl_wallet_address=found["HL_WALLET_ADDRESS"],
        hl_watchdog_private_key=found["HL_WATCHDOG_PRIVATE_KEY"],
        discord_webhook_url=found["DISCORD_WEBHOOK_URL"],
        telegram_bot_token=found["TELEGRAM_BOT_TOKEN"],
        telegram_chat_id=found["TELEGRAM_CHAT_ID"],
    )
    unknown = [name for name in dotenv if name.startswith(_OURS) and name not in SECRET_NAMES]
    strangers = [_stranger(folder / ".env", name) for name in unknown]
    faults = [f"{origin[name]}: {name}: {wrong} (its value is not shown)" for name, wrong in _faults(secrets)]
    return secrets, strangers + faults


def _stranger(path: Path, name: str) -> str:
    """Say that a name looks like one of ours and is none: a secret that is not read is a silent failure."""
    near = difflib.get_close_matches(name, SECRET_NAMES, n=1)
    hint = f"; nearest: {near[0]}" if near else ""
    return f"{path}: {name}: no such secret; known: {', '.join(SECRET_NAMES)}{hint}"


def _faults(secrets: Secrets) -> Iterator[tuple[str, str]]:
    address, webhook = secrets.hl_wallet_address, secrets.discord_webhook_url
    keys = (("HL_PRIVATE_KEY", secrets.hl_private_key), ("HL_WATCHDOG_PRIVATE_KEY", secrets.hl_watchdog_private_key))
    for name, key in keys:
        if key is not None and not _PRIVATE_KEY.fullmatch(key):
            yield name, f"expected 32 bytes as 64 hex digits, found {len(key)} characters of another form"
    if address is not None and not _ADDRESS.fullmatch(address):
        yield "HL_WALLET_ADDRESS", f"expected 0x and 40 hex digits, found {len(address)} characters of another form"
    if webhook is not None and not re.match(r"https?://\S+$", webhook):
        yield "DISCORD_WEBHOOK_URL", "expected a URL that begins with https://"


def _read_dotenv(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    # Imported only when there is a file: it costs more than all the rest of the settings.
    from io import StringIO

    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            raise ConfigError(f"{path}:{binding.original.line}: expected NAME=value")
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value  # taken as written: a secret may hold a $
    return values
