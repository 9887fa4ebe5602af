"""Fields of an /info request, checked as the venue's typed reading does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LATEST_TIME_MS = 1 << 53
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CLOID = re.compile(r"0x[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class ServerNull:
    """The venue's answer to some unknown names: status 500 with the body null."""


NULL_500 = ServerNull()


class BadRequest(Exception):
    """A missing or wrong field, or an unknown type: 422 over HTTP, an error payload over the socket."""


def user_of(request: Mapping[str, Any]) -> str:
    """Return the address asked about, in lower case."""
    user = request.get("user")
    if not isinstance(user, str) or not _ADDRESS.fullmatch(user):
        raise BadRequest
    return user.lower()


def text_of(request: Mapping[str, Any], key: str) -> str:
    """Return a text."""
    value = request.get(key)
    if not isinstance(value, str):
        raise BadRequest
    return value


def time_of(request: Mapping[str, Any], key: str) -> int:
    """Return an epoch time in ms."""
    value = request.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LATEST_TIME_MS:
        raise BadRequest
    return value


def time_or(request: Mapping[str, Any], key: str, default: int) -> int:
    """Return an epoch time in ms, or the default when it is not given."""
    return default if request.get(key) is None else time_of(request, key)


def flag_of(request: Mapping[str, Any], key: str) -> bool:
    """Return a flag; not given is False."""
    value = request.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadRequest
    return bool(value)


def oid_of(request: Mapping[str, Any]) -> int | str:
    """Return the order asked about: a number, or a client order id in lower case."""
    oid = request.get("oid")
    if isinstance(oid, str) and _CLOID.fullmatch(oid):
        return oid.lower()
    if isinstance(oid, bool) or not isinstance(oid, int):
        raise BadRequest
    return oid


def is_foreign_dex(request: Mapping[str, Any]) -> bool:
    """Return whether another dex than the first is asked about; the practice venue has none."""
    dex = request.get("dex")
    if dex is not None and not isinstance(dex, str):
        raise BadRequest
    return bool(dex)
