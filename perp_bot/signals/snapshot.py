"""What the signal service publishes: immutable snapshots, every value with its quality, every gap with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Scale(StrEnum):
    """A time scale that is collected on its own schedule."""

    FAST = "fast"


@dataclass(frozen=True, slots=True)
class SignalQualityMetadata:
    """How good a value is.

    `confidence` is completeness x freshness over what was asked, 0..1: a failed fetch, an empty answer and a missing
    coin all lower it. `staleness_seconds` is the age of the oldest input by the venue's clock (None: no input).
    """

    timestamp: int  # venue time of the collection, epoch ms
    confidence: float
    staleness_seconds: float | None
    sources: tuple[str, ...]
    is_cached: bool  # at least one input is an older copy, used because a fresh one was not to be had


@dataclass(frozen=True, slots=True)
class FastSignals:
    """Fast signals of a coin. A field is None only together with its reason in `missing`."""

    symbol: str
    mid_px: float | None  # USD
    spread_bps: float | None  # best ask - best bid, of mid
    depth_usd: float | None  # both sides within 1 % of mid
    depth_coins: float | None  # the same, in coins
    depth_is_floor: bool  # the book ends before 1 %: the true depth is at least this
    slippage_bps: float | None  # of our order size against mid, the worse side
    short_term_volatility: float | None  # of one-minute log returns, fraction per square root of a minute
    metadata: SignalQualityMetadata
    missing: Mapping[str, str] = field(default_factory=dict)  # field -> why it is None
    notes: tuple[str, ...] = ()  # what lowers the confidence though a value is there

    @property
    def note(self) -> str:
        """One line for people: everything that is missing or degraded, each reason once."""
        fields_by_reason: dict[str, list[str]] = {}
        for name, reason in self.missing.items():
            fields_by_reason.setdefault(reason, []).append(name)
        gaps = (f"{', '.join(names)}: {reason}" for reason, names in fields_by_reason.items())
        floor = ("depth_usd is a floor: the book ends within 1 % of mid",) if self.depth_is_floor else ()
        return "; ".join((*gaps, *floor, *self.notes))


@dataclass(frozen=True, slots=True)
class FastSnapshot:
    """One collection of the fast scale over the watched coins."""

    venue_ms: int  # venue time at which the collection was complete
    collected_monotonic: float  # machine's monotonic clock, seconds
    coins: Mapping[str, FastSignals]
    api_latency_ms: float | None  # wall time of this collection's REST round trip
    quality: SignalQualityMetadata
    missing: Mapping[str, str] = field(default_factory=dict)

    def age_s(self, now_monotonic: float) -> float:
        """Return the wall seconds since it was collected."""
        return max(0.0, now_monotonic - self.collected_monotonic)

    def decision_values(self, symbol: str) -> dict[str, float | int | str | None] | None:
        """Return what a decision on `symbol` may see and stores; None when the coin was not collected.

        Nothing in it depends on the wall clock (no latency): a re-decision gives the identical row.
        """
        found = self.coins.get(symbol)
        if found is None:
            return None
        return {
            "fast_venue_ms": found.metadata.timestamp,
            "spread_bps": found.spread_bps,
            "depth_usd": found.depth_usd,
            "depth_is_floor": int(found.depth_is_floor),
            "slippage_bps": found.slippage_bps,
            "short_term_volatility": found.short_term_volatility,
            "fast_confidence": found.metadata.confidence,
            "fast_note": found.note or None,
        }

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-safe dictionaries (the `signals` table, `perpbot signals --json`)."""
        return {
            "venue_ms": self.venue_ms,
            "api_latency_ms": self.api_latency_ms,
            "quality": _plain(self.quality),
            "missing": dict(self.missing),
            "coins": {symbol: _plain(signals) for symbol, signals in self.coins.items()},
        }


def _plain(value: SignalQualityMetadata | FastSignals) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for item in fields(value):
        entry = getattr(value, item.name)
        if isinstance(entry, SignalQualityMetadata):
            entry = _plain(entry)
        elif isinstance(entry, Mapping):
            entry = dict(entry)
        elif isinstance(entry, tuple):
            entry = list(entry)
        out[item.name] = entry
    return out
