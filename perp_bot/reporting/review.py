"""What was traded in the last weeks, by mode and strategy, beside the weeks before; from the database alone.

Now is the newest row of the database, not the clock on the wall: a practice session of last month can be reviewed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.types import ClosedTrade
from perp_bot.data.db.review_reader import ReviewReader
from perp_bot.reporting.interval import MeanInterval, mean_interval

WEEK_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Sums:
    """What closed trades came to, USD; fees positive = cost, funding positive = received."""

    trades: int
    won: int
    gross_usd: float
    fees_usd: float
    funding_usd: float
    net_usd: float


@dataclass(frozen=True, slots=True)
class TradeLine:
    """One trade in a sentence."""

    symbol: str
    side: str
    opened_ms: int
    closed_ms: int
    exit_reason: str
    strategy: str
    net_usd: float


@dataclass(frozen=True, slots=True)
class StrategyReview:
    """One strategy in one mode."""

    strategy: str
    sums: Sums
    before: Sums  # the span before
    best: TradeLine | None
    worst: TradeLine | None
    net_per_trade: MeanInterval | None  # None: fewer than two trades


@dataclass(frozen=True, slots=True)
class ModeReview:
    """One mode (paper or live): all strategies together, and each."""

    source: str
    sums: Sums
    before: Sums
    net_per_trade: MeanInterval | None
    strategies: tuple[StrategyReview, ...]
    equity_begin_usd: float | None
    equity_end_usd: float | None
    open_positions: tuple[str, ...]  # "BTC long": in the equity, not in the trades
    funding_due_hours: int  # held hours whose rate has not come: net lacks them
    decisions: dict[str, int]  # by outcome
    blocked: dict[str, int]  # entries that a rule forbade, by rule, most first


@dataclass(frozen=True, slots=True)
class Review:
    """The span from `begin_ms` to `end_ms`, and the one of equal length before it."""

    begin_ms: int
    end_ms: int
    modes: tuple[ModeReview, ...]
    events: dict[str, int]  # by kind, most first


def review(reader: ReviewReader, weeks: int, source: str | None = None) -> Review | None:
    """Return the review; None when nothing was ever decided or traded (in this mode)."""
    newest = reader.newest_ms()
    sources = [name for name in reader.sources() if source in (None, name)]
    if newest is None or not sources:
        return None
    end = newest + 1
    begin = end - weeks * WEEK_MS
    return Review(
        begin_ms=begin,
        end_ms=end,
        modes=tuple(_mode(reader, name, begin, end) for name in sources),
        events=reader.events_by_kind(begin, end),
    )


def _mode(reader: ReviewReader, source: str, begin: int, end: int) -> ModeReview:
    both = reader.trades(source, since_ms=2 * begin - end)
    trades = [trade for trade in both if begin <= trade.closed_ms < end]
    before = [trade for trade in both if trade.closed_ms < begin]
    equity = reader.equity(source, begin)
    names = sorted({trade.strategy for trade in both})
    return ModeReview(
        source=source,
        sums=_sums(trades),
        before=_sums(before),
        net_per_trade=mean_interval([float(trade.net_usd) for trade in trades]),
        strategies=tuple(
            _strategy(name, [t for t in trades if t.strategy == name], [t for t in before if t.strategy == name])
            for name in names
        ),
        equity_begin_usd=equity[0].equity_usd if equity else None,
        equity_end_usd=equity[-1].equity_usd if equity else None,
        open_positions=tuple(f"{item.symbol} {item.side}" for item in reader.positions(source)),
        funding_due_hours=len(reader.funding_due(source)),
        decisions=reader.decisions_by_action(source, begin, end),
        blocked=reader.blocked_by_rule(source, begin, end),
    )


def _strategy(name: str, trades: Sequence[ClosedTrade], before: Sequence[ClosedTrade]) -> StrategyReview:
    return StrategyReview(
        strategy=name,
        sums=_sums(trades),
        before=_sums(before),
        best=_line(max(trades, key=lambda trade: trade.net_usd)) if trades else None,
        worst=_line(min(trades, key=lambda trade: trade.net_usd)) if trades else None,
        net_per_trade=mean_interval([float(trade.net_usd) for trade in trades]),
    )


def _sums(trades: Sequence[ClosedTrade]) -> Sums:
    def total(name: str) -> float:
        return float(sum((getattr(trade, name) for trade in trades), Decimal(0)))

    return Sums(
        trades=len(trades),
        won=sum(trade.net_usd > 0 for trade in trades),
        gross_usd=total("gross_usd"),
        fees_usd=total("fees_usd"),
        funding_usd=total("funding_usd"),
        net_usd=total("net_usd"),
    )


def _line(trade: ClosedTrade) -> TradeLine:
    return TradeLine(
        trade.symbol, str(trade.side), trade.opened_ms, trade.closed_ms, trade.exit_reason, trade.strategy,
        float(trade.net_usd),
    )  # fmt: skip
