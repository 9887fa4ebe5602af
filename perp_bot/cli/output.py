"""stdout is data, stderr is talk."""

from __future__ import annotations

import sys
from typing import Any


def say(text: str) -> None:
    """Write a line of talk on stderr."""
    print(text, file=sys.stderr, flush=True)


def put(text: str) -> None:
    """Write a line of data on stdout."""
    print(text, flush=True)


def put_json(value: Any) -> None:
    """Write one JSON object on one line of stdout (NaN and infinities as null)."""
    import msgspec

    put_raw(msgspec.json.encode(value))


def put_raw(encoded: bytes) -> None:
    """Write JSON that is encoded already, as one line."""
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded + b"\n")
    sys.stdout.buffer.flush()
