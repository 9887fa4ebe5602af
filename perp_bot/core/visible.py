"""Text from elsewhere, made harmless for a terminal or a page: nothing moves the cursor, hides or breaks an encoder."""

from __future__ import annotations

import re

# Control characters, bidi overrides, zero-width characters, variation selectors, tags and lone surrogates.
_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffc"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def _picture(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def visible(text: str) -> str:
    """Return `text` with everything that could drive a terminal replaced by a visible glyph."""
    if text.isascii() and text.isprintable():
        return text
    return _HOSTILE.sub(_picture, text)
