"""The table of `perpbot status`: every number with its age, missing as `-`, never as 0."""

from __future__ import annotations

import sys

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from perp_bot.core import timeframes
from perp_bot.core.money import pct, usd
from perp_bot.ipc.state import LimitState, PositionState, PriceState, SignalState, StateSnapshot

STALE_S = 5.0
BOOK_STALE_S = 15.0  # the venue sends a book every 5.4 s
_PIPED_COLUMNS = 160
_NUMBERS = frozenset(
    (
        *("equity", "cash", "realized", "unrealized", "fees", "funding", "today", "worst error"),
        *("mark", "bid", "ask", "oracle", "funding/h", "size", "entry", "uPnL", "stop"),
        *("filled", "limit", "trigger", "z", "RSI", "ADX"),
    )
)
_STATUS_STYLE = {"RUNNING": "bold green", "KILLED": "bold reverse red", "PAUSED": "bold yellow"}


def console() -> Console:
    """Return the console of stdout; what is piped is wide enough for every column."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_COLUMNS)


def render(state: StateSnapshot, age_s: float) -> RenderableType:
    """Return the whole status; `age_s` is how old the snapshot itself is."""
    parts: list[RenderableType] = [_headline(state), _ages(state, age_s), _account(state, age_s), _prices(state, age_s)]
    parts.append(_positions(state, age_s) if state.positions else Text("positions: none", style="dim"))
    if state.orders:
        parts.append(_orders(state))
    if state.account.actions_left is not None:
        parts.append(_actions(state))
    parts += [_signals(state), _fast_signals(state, age_s), _limits(state.limits)]
    return Group(*parts)


def age_text(seconds: float | None, stale_s: float = STALE_S) -> Text:
    """Return an age for people, marked when it is old."""
    if seconds is None:
        return Text("never", style="yellow")
    if seconds < 60:
        text = f"{seconds:.1f} s"
    elif seconds < 3600:
        text = f"{seconds / 60:.0f} min"
    else:
        text = f"{seconds / 3600:.1f} h"
    return Text(f"{text} STALE", style="bold red") if seconds > stale_s else Text(text)


def _plus(age_s: float | None, more_s: float) -> float | None:
    return None if age_s is None else age_s + more_s


def _headline(state: StateSnapshot) -> Text:
    speed = "stepped" if state.venue_speed is None else f"speed {state.venue_speed:g}"
    line = Text()
    line.append(f" {state.status} ", style=_STATUS_STYLE.get(state.status, "bold yellow"))
    line.append(f" {state.mode} on {state.venue} ({state.venue_url}, {speed})  regime {state.regime}\n")
    for reason in state.status_reasons:
        line.append(f" {reason}\n", style="yellow")
    if state.venue_note:
        line.append(f" {state.venue_note}\n", style="dim")
    line.append(
        f" venue time {timeframes.iso(state.as_of_ms)}  up {_duration(state.uptime_s)}  pid {state.pid}  "
        f"v{state.version}  viewers {state.viewers}",
        style="dim",
    )
    return line


def _duration(seconds: float) -> str:
    minutes = int(seconds) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _ages(state: StateSnapshot, age_s: float) -> Text:
    line = Text(" ages: ")
    for name, age in (
        ("loop", state.ages.loop_s),
        ("stream", state.ages.stream_s),
        ("reconcile", state.ages.reconcile_s),
        ("store", state.ages.db_write_s),
    ):
        line.append(f"{name} ")
        is_live = name in ("loop", "stream")
        shown = age_text(_plus(age, age_s))
        line.append_text(shown if is_live else Text(shown.plain.removesuffix(" STALE")))
        line.append("  ")
    line.append(f"stream {'connected' if state.stream_connected else 'DISCONNECTED'}")
    return line


def _account(state: StateSnapshot, age_s: float) -> Table:
    account = state.account
    columns = ("equity", "cash", "realized", "unrealized", "fees", "funding", "today", "worst error", "age")
    table = _table("account (USD)", *columns)
    table.add_row(
        usd(account.equity_usd),
        usd(account.cash_usd),
        usd(account.realized_usd, sign=True),
        usd(account.unrealized_usd, sign=True),
        usd(account.fees_usd),
        usd(account.funding_usd, sign=True),
        usd(account.day_realized_usd, sign=True),
        usd(account.accounting_error_max_usd),
        age_text(_plus(_oldest_input_s(state), age_s)),
    )
    return table


def _oldest_input_s(state: StateSnapshot) -> float | None:
    """Return the age of the oldest number behind equity: the loop's, or the mark of an open position."""
    ages = [state.ages.loop_s, *(position.mark_age_s for position in state.positions)]
    known = [age for age in ages if age is not None]
    return max(known) if len(known) == len(ages) else None


def _prices(state: StateSnapshot, age_s: float) -> Table:
    table = _table("prices", "coin", "mark", "age", "bid", "ask", "age", "oracle", "funding/h", "source")
    for row in state.prices:
        table.add_row(*_price(row, age_s))
    return table


def _price(row: PriceState, age_s: float) -> tuple[str | Text, ...]:
    return (
        row.symbol,
        _px(row.mark_px),
        age_text(_plus(row.mark_age_s, age_s)),
        _px(row.best_bid),
        _px(row.best_ask),
        age_text(_plus(row.book_age_s, age_s), BOOK_STALE_S),
        _px(row.oracle_px),
        pct(row.funding_hourly, digits=4),
        Text("generated", style="dim") if row.generated else "venue",
    )


def _positions(state: StateSnapshot, age_s: float) -> Table:
    table = _table("positions", "coin", "side", "size", "entry", "mark", "age", "uPnL", "stop", "opened", "strategy")
    for row in state.positions:
        table.add_row(*_position(row, age_s))
    return table


def _position(row: PositionState, age_s: float) -> tuple[str | Text, ...]:
    return (
        row.symbol,
        row.side.upper(),
        f"{row.size:g}",
        _px(row.entry_px),
        _px(row.mark_px),
        age_text(_plus(row.mark_age_s, age_s)),
        usd(row.unrealized_usd, sign=True),
        _stop(row),
        _short_time(row.opened_ms),
        row.strategy,
    )


def _stop(row: PositionState) -> str | Text:
    """Return the stop, and live how much of the position rests behind it when that is not all."""
    if row.coverage is None or row.coverage >= 1:
        return _px(row.stop_px)
    return Text(f"{_px(row.stop_px)} COVERS {row.coverage:.0%}", style="bold red")


def _orders(state: StateSnapshot) -> Table:
    table = _table("orders", "coin", "role", "side", "type", "size", "filled", "limit", "trigger", "state")
    for row in state.orders:
        sizes = (f"{row.size:g}", f"{row.filled:g}")
        table.add_row(
            row.symbol, row.role, row.side, row.order_type, *sizes, _px(row.limit_px), _px(row.trigger_px), row.state
        )
    return table


def _actions(state: StateSnapshot) -> Text:
    """Return what is left of the address's budget of actions at the venue."""
    account = state.account
    left, days = account.actions_left, account.actions_days_left
    pace = "" if days is None else f", {days:,.1f} days at this session's pace"
    return Text(f"actions left at the venue: {left:,}{pace}", style="dim")


def _signals(state: StateSnapshot) -> Table:
    table = _table("signals", "coin", "close", "z", "RSI", "ADX", "action", "why")
    for row in state.signals:
        table.add_row(*_signal(row))
    return table


def _signal(row: SignalState) -> tuple[str | Text, ...]:
    why = row.starved or row.reason or ("-" if row.bars >= row.warmup_bars else f"warm-up {row.bars}/{row.warmup_bars}")
    if row.blocked_by:
        why = f"{why}; blocked by {', '.join(row.blocked_by)}"
    return (
        row.symbol,
        _short_time(row.close_ms),
        _number(row.zscore, 2),
        _number(row.rsi, 1),
        _number(row.adx, 1),
        row.action or "-",
        Text(why),
    )


def _fast_signals(state: StateSnapshot, age_s: float) -> RenderableType:
    if not state.fast_signals:
        return Text("fast signals: none collected yet", style="dim")
    latency = "-" if state.api_latency_ms is None else f"{state.api_latency_ms:.1f} ms"
    table = _table(
        f"fast signals (API latency {latency})", "coin", "spread", "depth", "slippage", "volatility", "age", "note"
    )
    for row in state.fast_signals:
        table.add_row(
            row.symbol,
            _unit(row.spread_bps, "bps"),
            "-" if row.depth_usd is None else f"{row.depth_usd:,.0f} USD",
            _unit(row.slippage_bps, "bps"),
            "-" if row.volatility is None else f"{pct(row.volatility, digits=3)}/min",
            age_text(_plus(row.age_s, age_s), BOOK_STALE_S),
            Text(row.note or "-"),
        )
    return table


def _unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f} {unit}"


def _limits(limits: tuple[LimitState, ...]) -> Table:
    table = _table("limits", "name", "state", "used")
    for row in limits:
        mark = Text("AT LIMIT", style="bold red") if row.breached else Text("ok", style="green")
        table.add_row(row.name, mark, Text(row.text))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=True, padding=(0, 1))
    for name in columns:
        # Folded, never cut: a shortened number is another number.
        justify: JustifyMethod = "right" if name in _NUMBERS else "left"
        table.add_column(name, header_style="dim", overflow="fold", justify=justify)
    return table


def _short_time(at_ms: int | None) -> str:
    """Return month, day and minute in UTC (the headline has the year)."""
    return "-" if at_ms is None else timeframes.iso(at_ms)[5:16].replace("T", " ")


def _px(price: float | None) -> str:
    return "-" if price is None else f"{price:,.10g}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
