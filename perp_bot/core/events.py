"""What reaches the trading loop, and the sink that producers write to.

`data` and `execution` produce these; `trading.queue` implements the sink. Nothing here blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from perp_bot.core.account_events import AccountEvent
from perp_bot.core.types import AssetContext, Book, Candle, FundingRate, PublicTrade


class CloseStatus(StrEnum):
    """How sure a closed candle is."""

    CONFIRMED = "confirmed"  # the REST row: final
    PROVISIONAL = "provisional"  # the stream's last row; REST did not confirm in time: exits only
    MISSING = "missing"  # neither: nothing can be decided on it


@dataclass(frozen=True, slots=True)
class SeriesClose:
    """One series' part of a boundary. `candles` are all rows since the last boundary, oldest first (more than one
    after an outage); the last one closes at the boundary unless the status is MISSING."""

    symbol: str
    status: CloseStatus
    candles: tuple[Candle, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class BoundaryClosed:
    """All closes of one boundary of one timeframe, in config order: decided together."""

    timeframe: str
    close_ms: int
    series: tuple[SeriesClose, ...]


@dataclass(frozen=True, slots=True)
class FundingSettled:
    """A settled hourly rate arrived (by REST)."""

    funding: FundingRate


@dataclass(frozen=True, slots=True)
class MissedMinutes:
    """The whole minutes that the stream missed, by REST: their extremes stand in for the marks of that time."""

    symbol: str
    candles: tuple[Candle, ...]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The market stream's health changed."""

    connected: bool
    reconnects: int
    note: str  # e.g. "reconnected after 12.3 s, 8 subscriptions, 3 candles filled by REST"


@dataclass(frozen=True, slots=True)
class FeedOverflow:
    """A lossless queue overflowed: entries stop until the next full resync."""

    what: str


@dataclass(frozen=True, slots=True)
class ClockFrame:
    """The venue's clock frame: ends a batch at `step` (see `MarketSink.seal`)."""

    venue_ms: int


MarketEvent = BoundaryClosed | FundingSettled | MissedMinutes | StreamStatus | FeedOverflow | AccountEvent


class MarketSink(Protocol):
    """Where the data side puts what it has; safe from any thread, never blocks, never raises."""

    def put_context(self, context: AssetContext) -> None:
        """Put a mark/oracle update in its latest-value slot (extremes and their times are kept)."""

    def put_book(self, book: Book) -> None:
        """Put a book in its latest-value slot."""

    def put_trades(self, trades: tuple[PublicTrade, ...]) -> None:
        """Append public trades: lossless and bounded; an overflow becomes a FeedOverflow."""

    def put_event(self, event: MarketEvent) -> None:
        """Append an event: lossless."""

    def seal(self, frame: ClockFrame) -> None:
        """End the batch: everything put so far is handled before anything put later (practice venue at `step`)."""
