"""Parameters of research: their names, the values of an axis, and grids that are counted before they are made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from perp_bot.config import rules
from perp_bot.config.load import section_fields
from perp_bot.config.model import Config
from perp_bot.config.values import BadValue, convert, nearest
from perp_bot.config.yaml_file import read_yaml
from perp_bot.core.errors import UsageError

MOST_POINTS = 200_000  # parameter sets of one run; held in memory with their figures
SECTIONS = ("trading", "signals", "macd", "risk", "execution", "backtest")
_RANGE = ("from", "to", "step")

SHORT = {
    "entry_z": "signals.zscore_entry_threshold",
    "exit_z": "signals.zscore_exit_threshold",
    "stop_z": "signals.zscore_stop_threshold",
    "rsi_high": "signals.rsi_overbought",
    "rsi_low": "signals.rsi_oversold",
    "adx": "signals.adx_threshold",
    "lookback": "signals.zscore_lookback",
    "band": "signals.bollinger_period",
    "band_std": "signals.bollinger_std",
    "macd_fast": "macd.fast",
    "macd_slow": "macd.slow",
    "macd_signal": "macd.signal",
    "macd_rsi_high": "macd.rsi_overbought",
    "macd_rsi_low": "macd.rsi_oversold",
    "risk": "risk.max_loss_per_trade_pct",
    "timeout": "risk.position_timeout_hours",
}

Value = float | int | bool
Point = dict[str, Value]  # dotted key -> value


@dataclass(frozen=True, slots=True)
class Axis:
    """The values of one parameter, in their order, made one by one: an axis may be longer than memory."""

    key: str
    values: Sequence[Value]

    @property
    def name(self) -> str:
        """The short name for people."""
        return name_of(self.key)


@dataclass(frozen=True, slots=True)
class _Steps(Sequence[Value]):
    """The values from `first` on, `step` apart, computed in decimals: 0.1 + 0.2 is 0.3."""

    first: Decimal
    step: Decimal
    length: int
    is_whole: bool

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(self.length))]
        if not -self.length <= place < self.length:
            raise IndexError(place)
        value = self.first + self.step * (place % self.length)
        return int(value) if self.is_whole else float(value)


@lru_cache(maxsize=1)
def known() -> dict[str, tuple[Field[Any], Any]]:
    """Return every parameter: dotted key -> (field, type). Numbers and yes/no of what a simulation reads."""
    found = {}
    for section, kind in section_fields().items():
        if section in SECTIONS:
            hints = get_type_hints(kind)
            for item in fields(kind):
                if hints[item.name] in (int, float, bool):
                    found[f"{section}.{item.name}"] = (item, hints[item.name])
    return found


def name_of(key: str) -> str:
    """Return the short name of a dotted key."""
    end = key.rpartition(".")[2]
    plain = end if _ends(end) == [key] else key
    return next((short for short, full in SHORT.items() if full == key), plain)


def _ends(name: str) -> list[str]:
    return [key for key in known() if key.rpartition(".")[2] == name]


def key_of(name: str) -> str:
    """Return the dotted key of a parameter: its short name, its key without section, or the key itself.

    Raises:
        UsageError: there is no such parameter; names the nearest one.
    """
    keys = known()
    plain = name.strip().replace("-", "_").lower()
    if plain in SHORT:
        return SHORT[plain]
    if plain in keys:
        return plain
    ends = _ends(plain)
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise UsageError(f"the parameter {name!r} could be {' or '.join(ends)}; write one of them")
    names = [*SHORT, *keys, *(key.rpartition(".")[2] for key in keys)]
    hint = nearest(plain, names) or f"; there are {', '.join(SHORT)}, and the keys of {', '.join(SECTIONS)}"
    raise UsageError(f"there is no parameter {name!r}{hint}")


def value_in(config: Config, key: str) -> Value:
    """Return what a config has for a parameter."""
    section, _, name = key.partition(".")
    found: Value = getattr(getattr(config, section), name)
    return found


def checked(key: str, value: Any, where: str) -> Value:
    """Return the value as the setting's type.

    Raises:
        UsageError: the setting does not allow it.
    """
    item, kind = known()[key]
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        found: Value = convert(value, kind, item.metadata)
    except BadValue as error:
        raise UsageError(f"{where}: {key}: {error}") from None
    return found


# ------------------------------------------------------------ axes


def axis_of(name: str, given: Any, where: str) -> Axis:
    """Return an axis from what a grid file says: a list of values, one value, or {from, to, step}.

    Raises:
        UsageError: unknown parameter, a value the setting does not allow, a range without end.
    """
    key = key_of(str(name))
    if isinstance(given, Mapping):
        return Axis(key, _range(key, given, where))
    values = given if isinstance(given, list) else [given]
    if not values:
        raise UsageError(f"{where}: {key}: no values are given")
    found = [checked(key, value, where) for value in values]
    if len(set(found)) != len(found):
        raise UsageError(f"{where}: {key}: a value is given twice")
    return Axis(key, tuple(found))


def axis_from_text(text: str) -> Axis | str:
    """Return `NAME=1.8..2.2:0.1` or `NAME=1.8,2.0` as an axis, a bare NAME as its dotted key.

    Raises:
        UsageError: as `axis_of`.
    """
    name, equals, values = text.partition("=")
    if not equals:
        return key_of(name)
    where = f"--param {text}"
    if ".." in values:
        ends, _, step = values.partition(":")
        low, _, high = ends.partition("..")
        return axis_of(name, {"from": _number(low, where), "to": _number(high, where),
                              "step": _number(step or "1", where)}, where)  # fmt: skip
    return axis_of(name, [_number(item, where) for item in values.split(",")], where)


def _number(text: str, where: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{where}: {text!r} is not a number; write NAME=1.8..2.2:0.1 or NAME=1.8,2.0") from None
    return int(value) if math.isfinite(value) and value.is_integer() else value


def _range(key: str, given: Mapping[Any, Any], where: str) -> Sequence[Value]:
    unknown = [str(name) for name in given if name not in _RANGE]
    lacking = [name for name in _RANGE if name not in given]
    if unknown or lacking:
        what = f"{unknown[0]!r} is unknown" if unknown else f"{lacking[0]!r} is missing"
        raise UsageError(f"{where}: {key}: {what}; a range is {{from: 1.8, to: 2.2, step: 0.1}}")
    kind = known()[key][1]
    if kind is bool:
        raise UsageError(f"{where}: {key}: is true or false and has no range; write [true, false]")
    try:
        first, last, step = (Decimal(str(given[name])) for name in _RANGE)
        is_finite = all(number.is_finite() for number in (first, last, step))
    except InvalidOperation:
        is_finite = False
    if not is_finite:
        raise UsageError(f"{where}: {key}: from, to and step must be numbers")
    if step <= 0 or last < first:
        raise UsageError(f"{where}: {key}: from {first} to {last} by {step} has no values; step is above 0, to >= from")
    count = int((last - first) / step) + 1
    checked(key, float(first) if kind is float else given["from"], where)
    steps = _Steps(first, step, count, kind is int)
    checked(key, float(first + step * (count - 1)), where)
    if kind is int and (first != int(first) or step != int(step)):
        raise UsageError(f"{where}: {key}: takes whole numbers; from and step must be whole")
    return steps


def read_grid(path: Path) -> tuple[Axis, ...]:
    """Return the axes of a grid file: YAML, one parameter a key.

    Raises:
        UsageError: no such file, not YAML, an unknown parameter, a value that is not allowed.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such grid file; it is YAML, e.g. entry_z: [1.8, 2.0, 2.2]")
    raw = read_yaml(path)
    if not raw:
        raise UsageError(f"{path}: names no parameter; write e.g. entry_z: [1.8, 2.0, 2.2]")
    axes = tuple(axis_of(str(name), given, str(path)) for name, given in raw.items())
    for place, axis in enumerate(axes):
        if any(axis.key == other.key for other in axes[:place]):
            raise UsageError(f"{path}: {axis.key} is given twice, under two names")
    return axes


# ------------------------------------------------------------ points


def count_of(axes: Sequence[Axis]) -> int:
    """Return how many points the grid of the axes has, without making one."""
    return math.prod(len(axis.values) for axis in axes)


def refuse_too_many(count: int, where: str) -> None:
    """Raise UsageError for a grid above the limit, before anything is computed."""
    if count > MOST_POINTS:
        raise UsageError(
            f"{where}: {count:,} parameter sets are too many; the most is {MOST_POINTS:,}. Take fewer values or wider "
            "steps (the more sets are tried, the less the best one means)"
        )


def grid_points(axes: Sequence[Axis]) -> Iterator[Point]:
    """Yield every point of the grid, the last axis fastest, one at a time."""
    if not axes:
        yield {}
        return
    *before, last = axes
    for point in grid_points(before):
        for value in last.values:
            yield {**point, last.key: value}


def lawful(config: Config, points: Iterator[Point]) -> tuple[list[Point], int, str | None]:
    """Return the points that can be configs, how many break a rule between settings, and how the first of them does."""
    from perp_bot.backtest.sweep import with_values

    kept, left_out, reason = list[Point](), 0, None
    anyway = set(rules.value_faults(config))  # e.g. another timeframe was asked for: not the point's doing
    for point in points:
        fault = next((fault for fault in rules.value_faults(with_values(config, point)) if fault not in anyway), None)
        if fault is None:
            kept.append(point)
        else:
            left_out, reason = left_out + 1, reason or ": ".join(fault)
    return kept, left_out, reason
