"""What differs between two stored runs: where they come from, settings, figures, trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perp_bot.backtest.results import BacktestResult, SimulatedTrade
from perp_bot.backtest.stored_run import MOMENTS, StoredRun, settings_of
from perp_bot.config.model import Config

_SAME = 1e-12  # relative: figures that agree to this are equal
_ORIGIN = ("kind", "strategy", "data_hash", "seed", "version", "commit", "trials")
_NOTED = ("rows", "from_ms", "to_ms", "missing_funding_hours", "is_partial", "open_positions", "resumes")
_COMPARED = (
    "opened_ms", "closed_ms", "size", "entry_px", "exit_px", "stop_px", "exit_reason", "entry_is_maker", "gross_usd",
    "fees_usd", "funding_usd", "slippage_usd", "net_usd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One value in both runs; None where a run does not have it."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class TradeChange:
    """One trade that only one run has, or that came out differently: `fields` says in what."""

    symbol: str
    side: str
    decided_ms: int
    first: SimulatedTrade | None
    second: SimulatedTrade | None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Everything that differs between two runs."""

    origin: tuple[Change, ...]
    settings: tuple[Change, ...]
    figures: tuple[Change, ...]
    trades: tuple[TradeChange, ...]
    same_trades: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.origin or self.settings or self.figures or self.trades)


def diff(
    first: StoredRun, second: StoredRun, first_result: BacktestResult | None, second_result: BacktestResult | None
) -> RunDiff:
    """Compare two runs; trades are matched by symbol, side and the close of the deciding candle."""
    same, trades = _trade_changes(first_result, second_result)
    origin = [Change(name, getattr(first, name), getattr(second, name)) for name in _ORIGIN]
    about = (first.result or {}, second.result or {})
    origin += [Change(name, about[0].get(name), about[1].get(name)) for name in _NOTED]
    return RunDiff(
        origin=tuple(item for item in origin if item.first != item.second),
        settings=tuple(_changes(first.config, second.config)),
        figures=tuple(_changes(_figures(first), _figures(second))),
        trades=tuple(trades),
        same_trades=same,
    )


def _figures(run: StoredRun) -> dict[str, Any]:
    beside = ("undefined", "incomplete", MOMENTS)
    return {name: value for name, value in (run.metrics or {}).items() if name not in beside}


def own_settings(run: StoredRun) -> list[Change]:
    """Return what a run's settings were where they are not the default (first: the default, second: the run's)."""
    return [item for item in _changes(settings_of(Config()), run.config) if not item.name.endswith("_path")]


def _changes(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[Change]:
    found: list[Change] = []
    for name in dict.fromkeys([*first, *second]):
        one, two = first.get(name), second.get(name)
        if isinstance(one, dict) and isinstance(two, dict):
            found += _changes(one, two, f"{prefix}{name}.")
        elif not _equal(one, two):
            found.append(Change(f"{prefix}{name}", one, two))
    return found


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return abs(one - two) <= _SAME * max(abs(one), abs(two))
    return bool(one == two)


def _trade_changes(first: BacktestResult | None, second: BacktestResult | None) -> tuple[int, list[TradeChange]]:
    rows = [{} if item is None else {_key(row): row for row in item.trades.rows()} for item in (first, second)]
    same, found = 0, list[TradeChange]()
    for key in sorted({*rows[0], *rows[1]}, key=lambda key: (key[2], key)):
        one, two = rows[0].get(key), rows[1].get(key)
        fields: tuple[str, ...] = ()
        if one is not None and two is not None:
            fields = tuple(name for name in _COMPARED if not _equal(getattr(one, name), getattr(two, name)))
            if not fields:
                same += 1
                continue
        found.append(TradeChange(*key, one, two, fields))
    return same, found


def _key(row: SimulatedTrade) -> tuple[str, str, int]:
    return row.symbol, row.side, row.decided_ms
