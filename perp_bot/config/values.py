"""Check one value of the config against the type and the rules of its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from perp_bot.config.redact import shown


class BadValue(Exception):
    """A value does not fit its field; the text says what was found and what is allowed."""


def convert(value: Any, kind: Any, rule: Mapping[str, Any]) -> Any:
    """Return `value` as the field's type.

    Raises:
        BadValue: wrong type, not finite, out of range or not one of the choices.
    """
    if value is None:
        raise BadValue(f"is empty; expected {allowed_text(kind, rule)} (leave the key out for its default)")
    if get_origin(kind) is tuple:
        return _list(value, get_args(kind)[0], rule)
    if kind is bool:
        return _flag(value, rule)
    if kind is int:
        return _in_range(_whole(value, rule), kind, rule)
    if kind is float:
        return _in_range(_number(value, rule), kind, rule)
    return _words(value, kind, rule)


def allowed_text(kind: Any, rule: Mapping[str, Any]) -> str:
    """Return what a field takes, for messages and for the documentation."""
    if get_origin(kind) is tuple:
        choices = rule.get("item_choices")
        if choices:
            return f"a list of {', '.join(choices)}"
        return "a list" if isinstance(get_args(kind)[0], type) and get_args(kind)[0] is not str else "a list of names"
    if "choices" in rule:
        return f"one of {', '.join(rule['choices'])}"
    if kind is bool:
        return "true or false"
    if kind is Path:
        return "a path"
    if kind is str:
        return "text"
    base = "a whole number" if kind is int else "a number"
    return f"{base} {_range_text(rule)}".rstrip()


def _range_text(rule: Mapping[str, Any]) -> str:
    low, above, high = rule.get("low"), rule.get("above"), rule.get("high")
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    if above is not None and high is not None:
        return f"above {above:g} and at most {high:g}"
    if low is not None:
        return f"of at least {low:g}"
    if above is not None:
        return f"above {above:g}"
    return f"of at most {high:g}" if high is not None else ""


def _fault(value: Any, kind: Any, rule: Mapping[str, Any], hint: str = "") -> BadValue:
    return BadValue(f"{shown(value)} is not allowed; expected {allowed_text(kind, rule)}{hint}")


def _flag(value: Any, rule: Mapping[str, Any]) -> bool:
    if not isinstance(value, bool):
        raise _fault(value, bool, rule)
    return value


def _whole(value: Any, rule: Mapping[str, Any]) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _fault(value, int, rule, _number_hint(value))
    return value


def _number(value: Any, rule: Mapping[str, Any]) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _fault(value, float, rule, _number_hint(value))
    try:
        number = float(value)
    except OverflowError:
        raise _fault(value, float, rule) from None
    if not math.isfinite(number):
        raise _fault(value, float, rule, " (finite)")
    return number


def _number_hint(value: Any) -> str:
    """Say how to write a number that YAML took for text: quoted, or an exponent without a point (5e-4)."""
    if not isinstance(value, str):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    return f"; write it as {number:.10f}".rstrip("0").rstrip(".") + " without quotes" if math.isfinite(number) else ""


def _in_range(number: Any, kind: Any, rule: Mapping[str, Any]) -> Any:
    too_low = "low" in rule and number < rule["low"]
    not_above = "above" in rule and number <= rule["above"]
    too_high = "high" in rule and number > rule["high"]
    if too_low or not_above or too_high:
        raise _fault(number, kind, rule)
    return number


def _words(value: Any, kind: Any, rule: Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        hint = "; put it in quotes" if isinstance(value, (bool, int, float)) else ""
        raise _fault(value, kind, rule, hint)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise _fault(value, kind, rule, " without control characters")
    if "choices" in rule and value not in rule["choices"]:
        raise _fault(value, kind, rule, nearest(value, rule["choices"]))
    if kind is Path:
        if not value.strip():
            raise _fault(value, kind, rule)
        return Path(value).expanduser()
    return value


def _list(value: Any, item_kind: Any, rule: Mapping[str, Any]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _fault(value, tuple[item_kind, ...], rule, "; write it as [a, b]")
    item_rule = {"choices": rule["item_choices"]} if "item_choices" in rule else {}
    return tuple(convert(item, item_kind, item_rule) for item in value)


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """Return `; did you mean X?` when something known is close to `name`, else nothing."""
    import difflib

    match = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not match:
        match = [item for item in known if item.lower() == name.lower()][:1]
    return f"; did you mean {match[0]}?" if match else ""
