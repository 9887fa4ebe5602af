"""Every limit with its use: numerator, denominator and window, one sentence for gate, screen and log alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perp_bot.config.model import Config
from perp_bot.core.money import usd
from perp_bot.core.timeframes import DAY_MS, iso, week_of
from perp_bot.core.types import ClosedTrade
from perp_bot.risk.state import RiskState, fall_from
from perp_bot.risk.wording import share

WEEK_MS = 7 * DAY_MS
# Limits that forbid entries whatever else is open; a cooldown ends by itself, soon.
PAUSING = ("session_drawdown", "max_drawdown", "daily_loss", "losing_weeks")
HALTING = (*PAUSING, "cooldown")
_TOLERANCE = 1e-9  # relative: a size truncated to the limit itself is within it


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit: used of limit, in its unit, with the full sentence (the fields of `ipc.state.LimitState`)."""

    name: str  # daily_loss, session_drawdown, max_drawdown, positions, cooldown, losing_weeks, margin, entries_today
    key: str  # config key; of a strategy's own limit the name of its property
    used: float
    limit: float
    unit: str  # "fraction", "usd", "count", "seconds"
    breached: bool
    text: str


@dataclass(frozen=True, slots=True)
class RiskView:
    """What the limits are measured on, at `now_ms` of the venue."""

    now_ms: int
    state: RiskState
    equity_usd: float | None
    open_symbols: tuple[str, ...] = ()  # with a position
    entry_symbols: tuple[str, ...] = ()  # flat, with an entry order that can still fill, or intended just now
    margin_used_usd: float | None = 0.0  # of positions (mark) and of entry orders; None when a mark is missing
    losing_weeks: int = 0  # see `losing_weeks`
    force: bool = False  # --force: overrides the losing-weeks halt and nothing else
    mode: str = "paper"
    entries_today: int = 0  # of the deciding strategy in this UTC day: opened, working, or intended just now


def limits(config: Config, view: RiskView) -> tuple[LimitUse, ...]:
    """Return every limit's use, in a fixed order."""
    return (
        _daily_loss(config, view),
        _session_drawdown(config, view),
        _max_drawdown(config, view),
        _positions(config, view),
        _cooldown(config, view),
        _losing_weeks(config, view),
        _margin(config, view),
    )


def entries_today(strategy: str, most: int, view: RiskView) -> LimitUse:
    """Return the use of a strategy's own limit of entries a UTC day."""
    text = f"{view.entries_today} of {most} entries of {strategy} this UTC day"
    return LimitUse(
        "entries_today",
        "max_trades_per_day",
        float(view.entries_today),
        float(most),
        "count",
        view.entries_today >= most,
        text,
    )


def margin_limit_usd(config: Config) -> float:
    """Return the most margin that may be in use: capital_usd x margin_usage_limit."""
    return config.trading.capital_usd * config.trading.margin_usage_limit


def exceeds(amount_usd: float, limit_usd: float) -> bool:
    """Whether an amount is above a limit by more than rounding."""
    return amount_usd > limit_usd * (1 + _TOLERANCE)


def weekly_nets(trades: Iterable[ClosedTrade]) -> dict[int, float]:
    """Return net USD by the start (Monday 00:00 UTC, ms) of the calendar week in which trades closed."""
    nets: dict[int, float] = {}
    for trade in trades:
        week = week_of(trade.closed_ms)
        nets[week] = nets.get(week, 0.0) + float(trade.net_usd)
    return nets


def losing_weeks(nets: Mapping[int, float], now_ms: int) -> int:
    """Return how many finished calendar weeks with trades, counted back from now, lost money in a row.

    A week without trades has no entry in `nets`: it neither adds nor breaks. A week that nets 0 or more breaks the
    row. The running week does not count, neither way: it is not over, and a halt must not come and go with one trade.
    """
    this_week = week_of(now_ms)
    count = 0
    for week in sorted((week for week in nets if week < this_week), reverse=True):
        if nets[week] >= 0:
            break
        count += 1
    return count


def _daily_loss(config: Config, view: RiskView) -> LimitUse:
    limit = config.risk.daily_loss_limit_pct
    start, net = view.state.day_start_equity_usd, view.state.day_realized_net_usd
    key = "risk.daily_loss_limit_pct"
    if start is None or start <= 0:
        known = start is not None
        text = f"day-start equity is {usd(start)}" if known else "day-start equity is not known yet"
        return LimitUse("daily_loss", key, 0.0, limit, "fraction", known, f"{text}, limit {share(limit)} of it")
    lost = max(0.0, -net) / start
    day = "" if view.state.day_start_ms is None else f" on {iso(view.state.day_start_ms)[:10]} UTC"
    text = (
        f"lost {share(lost)} of {usd(start)} day-start equity, limit {share(limit)} "
        f"(realized net {usd(net, sign=True)}{day})"
    )
    return LimitUse("daily_loss", key, lost, limit, "fraction", lost >= limit, text)


def _session_drawdown(config: Config, view: RiskView) -> LimitUse:
    return _drawdown(
        "session_drawdown",
        "risk.session_drawdown_pct",
        config.risk.session_drawdown_pct,
        "the session's peak",
        view.state.session_peak_usd,
        view.equity_usd,
        paused=view.state.session_paused,
    )


def _max_drawdown(config: Config, view: RiskView) -> LimitUse:
    return _drawdown(
        "max_drawdown",
        "risk.max_drawdown_pct",
        config.risk.max_drawdown_pct,
        "the highest equity",
        view.state.peak_usd,
        view.equity_usd,
        paused=view.state.drawdown_paused,
    )


def _drawdown(
    name: str, key: str, limit: float, of_what: str, peak: float | None, equity: float | None, *, paused: bool
) -> LimitUse:
    fall = fall_from(peak, equity)
    tail = "; paused until the operator resumes" if paused else ""
    if fall is None:
        text = f"equity {usd(equity)} against {of_what} of {usd(peak)}: not known, limit {share(limit)}{tail}"
        return LimitUse(name, key, 0.0, limit, "fraction", paused, text)
    text = f"equity {usd(equity)} is {share(fall)} below {of_what} of {usd(peak)}, limit {share(limit)}{tail}"
    return LimitUse(name, key, fall, limit, "fraction", paused or fall >= limit, text)


def _positions(config: Config, view: RiskView) -> LimitUse:
    limit = config.risk.max_positions
    taken = (*view.open_symbols, *(f"{symbol} entering" for symbol in view.entry_symbols))
    which = f" ({', '.join(taken)})" if taken else ""
    text = f"{len(taken)} of {limit} positions taken{which}"
    return LimitUse(
        "positions", "risk.max_positions", float(len(taken)), float(limit), "count", len(taken) >= limit, text
    )


def _cooldown(config: Config, view: RiskView) -> LimitUse:
    length = config.risk.cooldown_seconds
    until = view.state.cooldown_until_ms
    left_s = 0.0 if until is None else max(0.0, (until - view.now_ms) / 1000)
    if until is None or left_s == 0:
        text = f"no stop within the last {length} s"
    else:
        text = f"cooldown until {iso(until)} after a stop ({length} s)"
    return LimitUse("cooldown", "risk.cooldown_seconds", left_s, float(length), "seconds", left_s > 0, text)


def _losing_weeks(config: Config, view: RiskView) -> LimitUse:
    limit = config.risk.losing_weeks
    over = view.losing_weeks >= limit
    text = f"{view.losing_weeks} finished calendar weeks in a row with a net loss ({view.mode} only), limit {limit}"
    if over and view.force:
        text += "; overridden by --force"
    return LimitUse(
        "losing_weeks",
        "risk.losing_weeks",
        float(view.losing_weeks),
        float(limit),
        "count",
        over and not view.force,
        text,
    )


def _margin(config: Config, view: RiskView) -> LimitUse:
    limit = margin_limit_usd(config)
    key = "trading.margin_usage_limit"
    part = f"{share(config.trading.margin_usage_limit)} of {usd(config.trading.capital_usd)} capital"
    used = view.margin_used_usd
    if used is None or not math.isfinite(used):
        return LimitUse(
            "margin", key, 0.0, limit, "usd", True, f"margin in use is not known, limit {usd(limit)} ({part})"
        )
    text = f"margin {usd(used)} of {usd(limit)} in use ({part})"
    return LimitUse("margin", key, used, limit, "usd", exceeds(used, limit), text)
