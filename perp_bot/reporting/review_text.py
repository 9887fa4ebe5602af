"""The review in plain words: what happened, gross and net, and with what certainty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from perp_bot.core.money import pct, usd
from perp_bot.core.timeframes import DAY_MS
from perp_bot.reporting.interval import MeanInterval
from perp_bot.reporting.review import ModeReview, Review, StrategyReview, Sums, TradeLine
from perp_bot.reporting.words import minute

_QUIET = ("OPEN", "CLOSE", "STARTED", "STOPPED", "CONNECTED", "FUNDING")  # told by the trades, or everyday
_FEW = 30  # below: "too few"
_FORECAST = 10  # below, mean and spread are too uncertain to say how many it would take


def headline(review: Review) -> str:
    """Return the span in words."""
    days = (review.end_ms - review.begin_ms) // DAY_MS
    return f"The {days} days to {minute(review.end_ms - 1)} UTC, the newest row of the database"


def lines(review: Review) -> Iterator[tuple[str, str]]:
    """Yield a label and a sentence each, mode by mode."""
    for mode in review.modes:
        yield from _mode_lines(mode, (review.end_ms - review.begin_ms) // DAY_MS)
    told = {kind: count for kind, count in review.events.items() if kind not in _QUIET}
    if told:
        yield "events", _counts(told)


def _mode_lines(mode: ModeReview, days: int) -> Iterator[tuple[str, str]]:
    yield mode.source, sums_words(mode.sums)
    if mode.equity_begin_usd is not None and mode.equity_end_usd is not None:
        change = usd(mode.equity_end_usd - mode.equity_begin_usd, sign=True)
        yield "equity", f"{usd(mode.equity_begin_usd)} to {usd(mode.equity_end_usd)} USD ({change}), open PnL included"
    if mode.open_positions:
        yield "open", f"{', '.join(mode.open_positions)}: in the equity, not in the trades"
    if mode.funding_due_hours:
        hours = "1 hour" if mode.funding_due_hours == 1 else f"{mode.funding_due_hours:,} hours"
        yield "incomplete", f"funding of {hours} is due and its rate has not come: equity and net lack it"
    yield "luck", luck_words(mode.net_per_trade, mode.sums.trades)
    for strategy in mode.strategies:
        if len(mode.strategies) > 1:
            yield from _strategy_lines(strategy)
        elif strategy.best is not None and strategy.worst is not None and mode.sums.trades > 1:
            yield "best", trade_words(strategy.best)
            yield "worst", trade_words(strategy.worst)
    yield "before", f"the {days} days before: {sums_words(mode.before)}{_change(mode)}"
    yield "blocked", _blocked(mode)


def sums_words(sums: Sums) -> str:
    """Return what trades came to, gross and net."""
    if not sums.trades:
        return "no trade was closed"
    trades = "1 trade" if sums.trades == 1 else f"{sums.trades:,} trades"
    return (
        f"{trades}, {sums.won:,} won; gross {usd(sums.gross_usd, sign=True)}, fees {usd(-sums.fees_usd, sign=True)}, "
        f"funding {usd(sums.funding_usd, sign=True)}, net {usd(sums.net_usd, sign=True)} USD"
    )


def luck_words(found: MeanInterval | None, trades: int) -> str:
    """Return whether it was luck, with interval and sample size."""
    if found is None:
        return "one trade says nothing about skill" if trades else "no trade: nothing to tell"
    span = (
        f"between {usd(found.low, sign=True)} and {usd(found.high, sign=True)} USD a trade with "
        f"{pct(found.confidence, digits=0)} confidence"
    )
    method = "(t interval of the mean net; it takes trades for independent)"
    if found.low > 0:
        return f"luck alone is unlikely: {found.count:,} trades earn {span} {method}"
    if found.high < 0:
        return f"bad luck alone is unlikely: {found.count:,} trades lose, {span} {method}"
    few = "are too few to" if found.count < _FEW else "do not"
    more = ""
    if found.enough is not None and found.count >= _FORECAST:
        more = f"; at this mean and spread it takes about {found.enough:,}"
    return f"{found.count:,} trades {few} tell skill from luck: {span} {method}{more}"


def trade_words(trade: TradeLine) -> str:
    """Return a trade in one phrase."""
    return (
        f"{trade.symbol} {trade.side}, closed {_short(trade.closed_ms)} by {trade.exit_reason}: "
        f"net {usd(trade.net_usd, sign=True)}"
    )


def _strategy_lines(strategy: StrategyReview) -> Iterator[tuple[str, str]]:
    yield strategy.strategy, sums_words(strategy.sums)
    if strategy.sums.trades > 1:
        yield "", luck_words(strategy.net_per_trade, strategy.sums.trades)
    if strategy.best is not None and strategy.worst is not None and strategy.sums.trades > 1:
        yield "", f"best {trade_words(strategy.best)}; worst {trade_words(strategy.worst)}"


def _change(mode: ModeReview) -> str:
    if not mode.before.trades or not mode.sums.trades:
        return ""
    difference = mode.sums.net_usd - mode.before.net_usd
    return f"; now {usd(abs(difference))} {'more' if difference >= 0 else 'less'}"


def _blocked(mode: ModeReview) -> str:
    blocked, entered = mode.decisions.get("blocked", 0), mode.decisions.get("enter", 0)
    wanted = blocked + entered
    if not wanted:
        return f"no entry was wanted in {sum(mode.decisions.values()):,} decisions"
    if not blocked:
        return f"none of {wanted:,} entries"
    return f"{blocked:,} of {wanted:,} entries: {_counts(mode.blocked)}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _short(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%d %H:%M")
