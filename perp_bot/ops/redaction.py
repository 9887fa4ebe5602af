"""Take secrets out of text, in every form in which they are known to appear.

Forms of a secret: as it is and in any letter case; with and without `0x`; percent-encoded (once and twice); as JSON and
as Python text; a private key also as a decimal number and in base64; the long pieces of a token or webhook address.
Telegram and Discord addresses are recognised by their shape too, known or not.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

REDACTED = "[redacted]"

_HEX = re.compile(r"^(?:0x)?([0-9a-f]{32,})$", re.IGNORECASE)
_SHORT = 6  # a shorter secret is replaced only where it stands alone
_PIECE = 16  # a part of a token that is this long is a secret of its own
_KEY_HEX_DIGITS = 64
_KNOWN_SHAPES = (
    r"(?<=bot)\d{6,12}(?::|%3a)[A-Za-z0-9_-]{30,}",  # Telegram: https://api.telegram.org/bot<token>/...
    r"(?<=/api/webhooks/)\d+/[A-Za-z0-9._-]{30,}",  # Discord
)
_HINT = re.compile(r"bot\d{6}|/api/webhooks/\d")  # of a known shape, in lower case
_DEEPEST = 8


class Redactor:
    """Replace secrets by `[redacted]`; never raises and never shows what it knows."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret.strip() for form in _forms(secret.strip())}
        # Longest first: a whole address goes before its pieces do.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join([*map(_bounded, ordered), *_KNOWN_SHAPES]), re.IGNORECASE)
        self._needles = tuple({form.lower() for form in forms})

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        # The pattern costs 50 times as much as looking for its fixed texts, and nearly no line holds any of them.
        lowered = text.lower()
        if not _HINT.search(lowered) and not any(needle in lowered for needle in self._needles):
            return text
        return self._pattern.sub(REDACTED, text)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return `value` as plain JSON values without secrets, keys included.

        What JSON does not know becomes text; NaN and infinities become text too, so that a line stays valid JSON.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            shown = repr(value)
            is_plain = isinstance(value, int) or value - value == 0.0
            return value if is_plain and self.text(shown) == shown else self.text(shown)
        if depth >= _DEEPEST:
            return self.text(str(value))
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            return self.text(bytes(value).decode("utf-8", "backslashreplace"))
        return self.text(str(value))

    def __repr__(self) -> str:
        return "Redactor(...)"


def _forms(secret: str) -> set[str]:
    """Return every text that shows `secret`, in one letter case."""
    plain = {secret, *_pieces(secret)}
    forms: set[str] = set()
    if match := _HEX.match(secret):
        digits = match.group(1)
        plain |= {digits, f"0x{digits}"}
        if len(digits) == _KEY_HEX_DIGITS:
            raw = bytes.fromhex(digits)
            plain |= {str(int(digits, 16)), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
            forms.add(repr(raw)[2:-1])
    for text in plain:
        forms |= {text, quote(text, safe=""), quote(text), quote_plus(text), quote(quote(text, safe=""), safe="")}
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        forms.add(text.replace("/", r"\/"))  # how some JSON writers spell a slash
    return forms


def _bounded(text: str) -> str:
    escaped = re.escape(text)
    if text.lstrip("-").isdigit():
        # A number is not a secret inside a longer number (a chat id within a time stamp).
        return rf"(?<!\d){escaped}(?!\d)"
    return rf"(?<!\w){escaped}(?!\w)" if len(text) < _SHORT else escaped


def _pieces(secret: str) -> set[str]:
    rest = secret
    if "://" in secret:
        parts = urlsplit(secret)
        host = parts.hostname or ""
        rest = " ".join((parts.username or "", parts.password or "", parts.path, parts.query, parts.fragment))
        rest = rest.replace(host, " ") if host else rest
    return {piece for piece in re.split(r"[\s/:?&=#@,;]+", rest) if len(piece) >= _PIECE}
