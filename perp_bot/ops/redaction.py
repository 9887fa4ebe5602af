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
_DEEPEST = 8


class Redactor:
    """Replace secrets by `[redacted]`; never raises and never shows what it knows."""

    def __init__(self, secrets: Iterable[str]) -> None:
        patterns = {pattern for secret in secrets if secret.strip() for pattern in _patterns(secret.strip())}
        # Longest first: a whole address goes before its pieces do.
        ordered = sorted(patterns, key=lambda pattern: (-len(pattern), pattern))
        self._pattern = re.compile("|".join([*ordered, *_KNOWN_SHAPES]), re.IGNORECASE)

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
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


def _patterns(secret: str) -> set[str]:
    forms = {secret, *_pieces(secret)}
    hexadecimal = _HEX.match(secret)
    patterns: set[str] = set()
    if hexadecimal:
        digits = hexadecimal.group(1)
        patterns.add(f"(?:0x)?{digits}")
        if len(digits) == _KEY_HEX_DIGITS:
            raw = bytes.fromhex(digits)
            forms |= {str(int(digits, 16)), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
            patterns.add(re.escape(repr(raw)[2:-1]))
    for form in forms:
        encoded = {form, quote(form, safe=""), quote(form), quote_plus(form), quote(quote(form, safe=""), safe="")}
        encoded |= {json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1], repr(form)[1:-1]}
        encoded.add(form.replace("/", r"\/"))  # how some JSON writers spell a slash
        patterns |= {_bounded(text) for text in encoded if text}
    return patterns


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
