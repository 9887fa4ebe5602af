"""Faults switched on and off while the venue runs: what is broken, where, how badly and until when."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from perp_bot.core.errors import UsageError
from perp_bot.practice.latency import Latency

SWITCHES = frozenset({"silent", "status_429", "status_502", "html", "null_500", "nan_candle"})
AMOUNTS = frozenset({"clock_skew_ms", "delay_ms", "late_answer_ms", "close_every_s"})
CHANCES = frozenset({"drop", "duplicate", "reorder"})
ACTIONS = frozenset({"lost_answer", "order_error", "nonce_refused", "part_fill"})
MUTE = "mute"
NAMES = frozenset({"delist", "close_sockets", MUTE} | SWITCHES | AMOUNTS | CHANCES | ACTIONS)
REQUESTS = frozenset({"info", "exchange"})
_ANSWER_ORDER = ("status_429", "status_502", "null_500", "html")
_OPTIONS = ("on", "for_s", "amount", "coin", "times")
_MORE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "delay_ms": ("mean", "p95"),
    "late_answer_ms": ("mean", "p95"),
    "lost_answer": ("as",),
    "nonce_refused": ("as",),
    "order_error": ("text", "count"),
    "part_fill": ("then",),
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "lost_answer": ("cut", *_ANSWER_ORDER),
    "nonce_refused": ("low", "high", "duplicate"),
    "part_fill": ("cancel", "rest"),
}
_ORDER_ERROR = "Insufficient margin to place order."


@dataclass(slots=True)
class Fault:
    """One fault that is on. `on` names request types or channels, or "info", "exchange", "ws" for all of them."""

    name: str
    amount: float
    on: frozenset[str]
    coins: frozenset[str]
    ends_s: float | None  # monotonic seconds
    left: int | None = None  # how often it still strikes; None: until it ends
    latency: Latency | None = None  # how an amount is spread
    choice: str = ""  # which of its forms
    text: str = ""
    count: int | None = None
    extra: dict[str, object] = field(default_factory=dict)  # for the report

    def concerns(self, default: str | frozenset[str], *places: str) -> bool:
        """Return whether the fault applies to one of `places`."""
        usual = {default} if isinstance(default, str) else default
        return bool((self.on or usual) & set(places))


class Faults:
    """The faults in force. Random ones are seeded; durations are wall seconds."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._active: dict[str, Fault] = {}

    def update(self, request: Mapping[str, object]) -> bool:
        """Merge a request into the faults in force; return whether all sockets shall be closed now.

        {"clear": true} drops all first; a name with false or null ends that fault; true, a number, a coin name or
        {"on": [...], "for_s": s, "amount": x, "coin": ..., "times": n} begins it; mute takes {"channels": [...],
        "coins": [...], "for_s": s}. Nothing changes when any part is wrong.
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

    def strike(self, name: str, *places: str) -> Fault | None:
        """Return the fault when it strikes a request at one of `places`, and count it."""
        fault = self.find(name)
        if fault is None or not fault.concerns(REQUESTS, *places):
            return None
        if fault.left is not None:
            fault.left -= 1
            if not fault.left:
                del self._active[name]
        return fault

    def answer_for(self, place: str, request_type: str | None) -> str | None:
        """Return which false answer ("status_429", ...) a request gets, None for the true one."""
        for name in _ANSWER_ORDER:
            if self.strike(name, place, request_type or place) is not None:
                return name
        return None

    def delay_s(self, request_type: str | None, place: str = "info") -> float:
        """Return how long a request is held back before it is looked at."""
        return self._wait_s("delay_ms", place, request_type)

    def late_answer_s(self, request_type: str) -> float:
        """Return how long the answer to an action is held back after it was carried out."""
        return self._wait_s("late_answer_ms", "exchange", request_type)

    def _wait_s(self, name: str, place: str, request_type: str | None) -> float:
        fault = self.strike(name, place, request_type or place)
        if fault is None:
            return 0.0
        return (fault.amount if fault.latency is None else fault.latency.draw_ms(self._random)) / 1_000.0

    def skew_ms(self) -> int:
        """Return by how much the times the venue tells are wrong."""
        fault = self.find("clock_skew_ms")
        return int(fault.amount) if fault else 0

    def is_silent(self) -> bool:
        """Return whether sockets stay open and say nothing."""
        return self.find("silent") is not None

    def close_every_s(self) -> float | None:
        """Return after how many wall seconds all sockets are cut again and again."""
        fault = self.find("close_every_s")
        return None if fault is None else fault.amount

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
                    **({} if fault.left is None else {"times": fault.left}),
                    **fault.extra,
                }
        return out


def _strikes(fault: Fault, coin: str) -> bool:
    return not fault.coins or coin in fault.coins


def _parse(name: str, value: object) -> Fault:
    if name == MUTE:
        return _parse_mute(value)
    options: Mapping[str, object] = value if isinstance(value, Mapping) else {}
    known = (*_OPTIONS, *_MORE_OPTIONS.get(name, ()))
    unknown = set(options) - set(known)
    if unknown:
        raise UsageError(f"fault {name}: unknown option {sorted(unknown)[0]!r}; options: {', '.join(known)}")
    amount = options.get("amount", 1.0 if isinstance(value, bool | Mapping | str | list) else value)
    coins = _names(name, options.get("coin", value if name == "delist" and not options else None))
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount != amount:
        raise UsageError(f"fault {name}: amount {amount!r} is not a number")
    if name in CHANCES and not 0.0 <= amount <= 1.0:
        raise UsageError(f"fault {name}: {amount!r} is not a probability from 0 to 1")
    if name == "part_fill":
        amount = 0.5 if value is True or ("amount" not in options and isinstance(value, Mapping)) else amount
        if not 0.0 < amount < 1.0:
            raise UsageError(f"fault part_fill: {amount!r} is not a share between 0 and 1")
    if name in AMOUNTS - {"clock_skew_ms"} and (amount < 0 or (name == "close_every_s" and amount == 0)):
        raise UsageError(f"fault {name}: {amount!r} is not a time")
    if name == "delist" and not coins:
        raise UsageError("fault delist: name a coin")
    fault = Fault(name, float(amount), _names(name, options.get("on")), coins, _ends_s(name, options.get("for_s")))
    fault.left = _whole(name, "times", options.get("times"))
    _parse_more(fault, options)
    fault.extra = {key: options[key] for key in _MORE_OPTIONS.get(name, ()) if key in options}
    return fault


def _parse_more(fault: Fault, options: Mapping[str, object]) -> None:
    """Read the options that only some faults have."""
    name = fault.name
    if "mean" in options or "p95" in options:
        fault.latency = Latency.of(name, options.get("mean"), options.get("p95"))
    choices = _CHOICES.get(name)
    if choices is not None:
        option = _MORE_OPTIONS[name][0]
        fault.choice = str(options.get(option, choices[0]))
        if fault.choice not in choices:
            raise UsageError(f"fault {name}: {option} {fault.choice!r} is not one of {', '.join(choices)}")
    if name == "order_error":
        text = options.get("text", _ORDER_ERROR)
        if not isinstance(text, str) or not text:
            raise UsageError(f"fault {name}: text {text!r} is not the text of an error")
        fault.text, fault.count = text, _whole(name, "count", options.get("count"))


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


def _whole(name: str, option: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"fault {name}: {option} {value!r} is not a whole number from 1")
    return value


def _names(name: str, value: object) -> frozenset[str]:
    if value is None or isinstance(value, bool):
        return frozenset()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple | set | frozenset) or not all(isinstance(one, str) for one in listed):
        raise UsageError(f"fault {name}: expected a name or a list of names, found {value!r}")
    return frozenset(str(one) for one in listed)
