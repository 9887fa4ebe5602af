"""What a client can listen to: one normalised subscription, and the frames as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

encode = msgspec.json.encode


class UnknownSubscription(Exception):
    """Not a subscription at all: answered by an error frame."""


class FatalSubscription(Exception):
    """A coin or aggregation that does not exist: the venue closes the socket without a word."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One normalised subscription; `key` names the stream, equal for equal ones."""

    kind: str
    key: str
    echo: Mapping[str, Any]  # as acknowledged, defaults filled in
    coin: str = ""
    interval: str = ""
    sig_figs: int | None = None
    mantissa: int | None = None
    fast: bool = False
    user: str = ""
    by_time: bool = False  # fills of one order at one moment as one


def subscription(echo: Mapping[str, Any], **fields: Any) -> Subscription:
    """Return the subscription that is acknowledged with `echo`."""
    return Subscription(kind=echo["type"], key=encode(echo).decode(), echo=echo, **fields)


def frame(channel: str, data: Any) -> str:
    """Return one frame as text."""
    return encode({"channel": channel, "data": data}).decode()
