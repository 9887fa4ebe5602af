"""REST answers: the wire shapes that only REST has, and the typed values that `client` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from perp_bot.core.types import Instrument, MarginTier
from perp_bot.data.wire import Amount, EpochMs, Signed


@dataclass(frozen=True, slots=True)
class PracticeInfo:
    """What a practice venue says of itself; `speed` None means that it is stepped."""

    speed: float | None
    seed: int | None
    start_ms: int | None
    recorded_until_ms: int | None
    replays_step: bool
    note: str
    origin_ms: int | None = None  # venue time of the first recorded candle


@dataclass(frozen=True, slots=True)
class VenueStatus:
    """The venue's time, and what it is when it is a practice venue."""

    time_ms: int
    practice: PracticeInfo | None


@dataclass(frozen=True, slots=True)
class UserRateLimit:
    """Action budget of an address."""

    cum_volume_usd: float
    requests_used: int
    requests_cap: int


class WirePractice(msgspec.Struct, frozen=True):
    """The practice venue's extra key of exchangeStatus."""

    speed: float | None = None
    seed: int | None = None
    start_ms: int | None = None
    recorded_until_ms: int | None = None
    replays_step: bool = False
    note: str = ""
    origin_ms: int | None = None
    coins: dict[str, Any] = {}


class WireStatus(msgspec.Struct, frozen=True):
    """exchangeStatus."""

    time: EpochMs
    practice: WirePractice | None = None


class WireInstrument(msgspec.Struct, frozen=True):
    """An entry of meta.universe."""

    name: str
    szDecimals: int  # noqa: N815 - the venue's keys
    maxLeverage: int  # noqa: N815
    isDelisted: bool = False  # noqa: N815
    marginTableId: int | None = None  # noqa: N815


class WireMarginTier(msgspec.Struct, frozen=True):
    """A tier of a margin table: from a notional on, a lower maximum leverage."""

    lowerBound: Amount  # noqa: N815
    maxLeverage: Annotated[int, msgspec.Meta(ge=1)]  # noqa: N815 - the maintenance rate divides by it


class WireMarginTable(msgspec.Struct, frozen=True):
    """A table of meta.marginTables."""

    marginTiers: tuple[WireMarginTier, ...]  # noqa: N815


class WireMeta(msgspec.Struct, frozen=True):
    """meta. A table id below 50 that is not listed is a single tier of that leverage."""

    universe: tuple[WireInstrument, ...]
    marginTables: tuple[tuple[int, WireMarginTable], ...] = ()  # noqa: N815


class WireFunding(msgspec.Struct, frozen=True):
    """A row of fundingHistory."""

    coin: str
    fundingRate: Signed  # noqa: N815
    time: EpochMs
    premium: Signed | None = None


class WireRateLimit(msgspec.Struct, frozen=True):
    """userRateLimit."""

    cumVlm: Amount  # noqa: N815
    nRequestsUsed: int  # noqa: N815
    nRequestsCap: int  # noqa: N815


def instruments_of(meta: WireMeta) -> tuple[Instrument, ...]:
    """Return every perp with its margin tiers, lowest first; the position in the universe is the asset id."""
    tables = {
        number: tuple(
            MarginTier(tier.lowerBound, tier.maxLeverage)
            for tier in sorted(table.marginTiers, key=lambda tier: tier.lowerBound)
        )
        for number, table in meta.marginTables
    }
    return tuple(
        Instrument(
            row.name,
            asset_id,
            row.szDecimals,
            row.maxLeverage,
            row.isDelisted,
            row.marginTableId,
            tables.get(row.marginTableId, ()) if row.marginTableId is not None else (),
        )
        for asset_id, row in enumerate(meta.universe)
    )


def status_of(row: WireStatus) -> VenueStatus:
    """Return exchangeStatus as a VenueStatus."""
    if row.practice is None:
        return VenueStatus(row.time, None)
    found = row.practice
    speed = "step" if found.speed is None else f"{found.speed:g}x"
    note = found.note or f"practice venue at {speed}, seed {found.seed}, generated prices between recorded 1h candles"
    info = PracticeInfo(
        found.speed,
        found.seed,
        found.start_ms,
        found.recorded_until_ms,
        found.replays_step,
        note,
        found.origin_ms,
    )
    return VenueStatus(row.time, info)
