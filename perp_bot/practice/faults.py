"""Faults switched on and off while the venue runs: what is broken, where, how badly and until when."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from perp_bot.core.errors import UsageError

SWITCHES = frozenset({"silent", "status_429", "status_502", "html", "null_500", "nan_candle"})
AMOUNTS = frozenset({"clock_skew_ms", "delay_ms"})
CHANCES = frozenset({"drop", "duplicate", "reorder"})
MUTE = "mute"
NAMES = frozenset({"delist", "close_sockets", MUTE} | SWITCHES | AMOUNTS | CHANCES)
_ANSWER_ORDER = ("status_429", "status_502", "null_500", "html")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that is on. `on` names request types or channels, or "info" / "ws" for all; empty: its default."""

    name: str
    amount: float
    on: frozenset[str]
    coins: frozenset[str]
    ends_s: float | None  # monotonic seconds

    def concerns(self, default: str, *places: str) -> bool:
        """Return whether the fault applies to one of `places`."""
        return bool((self.on or {default}) & set(places))


class Faults:
    """The faults in force. Random ones are seeded; durations are wall seconds."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._active: dict[str, Fault] = {}

    def update(self, request: Mapping[str, object]) -> bool:
        """Merge a request into the faults in force; return whether all sockets shall be closed now.

        {"clear": true} drops all first; a name with false or null ends that fault; true, a number, a coin name or
        {"on": [...], "for_s": s, "amount": x, "coin": ...} begins it; mute takes {"channels": [...], "coins": [...],
        "for_s": s}. Nothing changes when any part is wrong.
        """
        unknown = set(request) - NAMES - {"clear"}
        if unknown:
            raise UsageError(f"unknown fault {sorted(unknown)[0]!r}; faults: {', '.join(sorted(NAMES))}, clear")
        active = {} if request.get("clear") else dict(self._active)
        closes = bool(request.get("close_sockets"))
        for name, value in request.items():
            if name in ("clear", "close_sockets"):
                continue
            if value is None or value is False:
                active.pop(name, None)
            else:
                active[name] = _parse(name, value)
        self._active = active
        return closes

    def find(self, name: str) -> Fault | None:
        """Return the fault when it is in force."""
        fault = self._active.get(name)
        if fault is not None and fault.ends_s is not None and time.monotonic() >= fault.ends_s:
            del self._active[name]
            return None
        return fault

    def answer_for(self, place: str, request_type: str | None) -> str | None:
        """Return which false answer ("status_429", ...) a request gets, None for the true one."""
        for name in _ANSWER_ORDER:
            fault = self.find(name)
            if fault is not None and fault.concerns("info", place, request_type or place):
                return name
        return None

    def delay_s(self, request_type: str | None) -> float:
        """Return how long an answer is held back."""
        fault = self.find("delay_ms")
        if fault is None or not fault.concerns("info", "info", request_type or "info"):
            return 0.0
        return fault.amount / 1_000.0

    def skew_ms(self) -> int:
        """Return by how much the times the venue tells are wrong."""
        fault = self.find("clock_skew_ms")
        return int(fault.amount) if fault else 0

    def is_silent(self) -> bool:
        """Return whether sockets stay open and say nothing."""
        return self.find("silent") is not None

    def delisted(self) -> set[str]:
        """Return the coins delisted on request."""
        fault = self.find("delist")
        return set(fault.coins) if fault else set()

    def nan_candle(self, coin: str) -> bool:
        """Return whether a candle answer for this coin shall hold a NaN."""
        fault = self.find("nan_candle")
        return fault is not None and (not fault.coins or coin in fault.coins)

    def is_muted(self, channel: str, coin: str) -> bool:
        """Return whether frames of this channel and coin ("" = of no coin) are not sent."""
        fault = self.find(MUTE)
        return fault is not None and channel in fault.on and _strikes(fault, coin)

    def happens(self, name: str, channel: str, coin: str = "") -> bool:
        """Return whether a random fault of the stream strikes this frame."""
        if name not in self._active:
            return False
        fault = self.find(name)
        if fault is None or not fault.concerns("ws", "ws", channel) or not _strikes(fault, coin):
            return False
        return self._random.random() < fault.amount

    def report(self) -> dict[str, dict[str, object]]:
        """Return the faults in force with what is left of them."""
        now_s = time.monotonic()
        out: dict[str, dict[str, object]] = {}
        for name in sorted(self._active):
            fault = self.find(name)
            if fault is not None:
                out[name] = {
                    "amount": fault.amount,
                    "on": sorted(fault.on),
                    "coins": sorted(fault.coins),
                    "left_s": None if fault.ends_s is None else round(fault.ends_s - now_s, 3),
                }
        return out


def _strikes(fault: Fault, coin: str) -> bool:
    return not fault.coins or coin in fault.coins


def _parse(name: str, value: object) -> Fault:
    if name == MUTE:
        return _parse_mute(value)
    options: Mapping[str, object] = value if isinstance(value, Mapping) else {}
    unknown = set(options) - {"on", "for_s", "amount", "coin"}
    if unknown:
        raise UsageError(f"fault {name}: unknown option {sorted(unknown)[0]!r}; options: on, for_s, amount, coin")
    amount = options.get("amount", 1.0 if isinstance(value, bool | Mapping | str | list) else value)
    coins = _names(name, options.get("coin", value if name == "delist" and not options else None))
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount != amount:
        raise UsageError(f"fault {name}: amount {amount!r} is not a number")
    if name in CHANCES and not 0.0 <= amount <= 1.0:
        raise UsageError(f"fault {name}: {amount!r} is not a probability from 0 to 1")
    if name == "delist" and not coins:
        raise UsageError("fault delist: name a coin")
    return Fault(name, float(amount), _names(name, options.get("on")), coins, _ends_s(name, options.get("for_s")))


def _parse_mute(value: object) -> Fault:
    options: Mapping[str, object] = value if isinstance(value, Mapping) else {}
    unknown = set(options) - {"channels", "coins", "for_s"}
    if unknown:
        raise UsageError(f"fault mute: unknown option {sorted(unknown)[0]!r}; options: channels, coins, for_s")
    channels = _names(MUTE, options.get("channels"))
    if not channels:
        raise UsageError('fault mute: name the channels, for example {"channels": ["l2Book"], "coins": ["BTC"]}')
    return Fault(MUTE, 1.0, channels, _names(MUTE, options.get("coins")), _ends_s(MUTE, options.get("for_s")))


def _ends_s(name: str, for_s: object) -> float | None:
    if for_s is None:
        return None
    if isinstance(for_s, bool) or not isinstance(for_s, int | float) or for_s <= 0:
        raise UsageError(f"fault {name}: for_s {for_s!r} is not a number of seconds")
    return time.monotonic() + for_s


def _names(name: str, value: object) -> frozenset[str]:
    if value is None or isinstance(value, bool):
        return frozenset()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple | set | frozenset) or not all(isinstance(one, str) for one in listed):
        raise UsageError(f"fault {name}: expected a name or a list of names, found {value!r}")
    return frozenset(str(one) for one in listed)
