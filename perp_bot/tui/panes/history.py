"""Panes from the database and from pushed events: trades, decisions, events."""

from __future__ import annotations

from perp_bot.core.money import usd
from perp_bot.core.types import ClosedTrade, DecisionRecord
from perp_bot.ipc.state import EventNote
from perp_bot.tui import formats
from perp_bot.tui.freshness import age_text
from perp_bot.tui.look import signed
from perp_bot.tui.panes.header import OUTCOME_STYLES
from perp_bot.tui.spans import PaneContent, Span
from perp_bot.tui.store import StoredEvent, ViewState
from perp_bot.tui.table import Column, Line, build

_TRADE_COLUMNS = (
    Column("CLOSED", 14, 1, right=False),
    Column("COIN", 5, 1, right=False),
    Column("SIDE", 7, 2, right=False),
    Column("SIZE", 9, 4),
    Column("ENTRY", 10, 3),
    Column("EXIT", 10, 3),
    Column("NET", 9, 1),
    Column("FEES", 7, 6),
    Column("FUNDING", 8, 7),
    Column("HELD", 6, 5),
    Column("REASON", 18, 2, right=False, stretch=True),
)


def _trouble(view: ViewState, now_s: float, what: str) -> tuple[str, str]:
    """Return the reason for an empty pane and the title's suffix."""
    if view.history is None:
        return f"reading {what} from the database ({age_text(now_s - view.started_s)})", ""
    if view.history.error:
        return view.history.error, f" ! {view.history.error}"
    return "", ""


def trades(view: ViewState, now_s: float, width: int) -> PaneContent:
    """Return the pane of closed trades, newest first, with their sum in the title."""
    reason, suffix = _trouble(view, now_s, "trades")
    rows = view.history.trades if view.history is not None else ()
    net = sum((item.net_usd for item in rows), start=0)
    title = f"Trades ({len(rows)}, net {usd(net, sign=True)})" if rows else "Trades"
    lines = [_trade(item, utc=view.facts.utc) for item in rows]
    style = "bad" if suffix else "title"
    return build(title + suffix, _TRADE_COLUMNS, lines, width, empty=reason or "no closed trade", title_style=style)


def _trade(item: ClosedTrade, *, utc: bool) -> Line:
    arrow = {"long": "▲ long", "short": "▼ short"}[item.side.value]
    cells: tuple[Span, ...] = (
        (formats.day_clock(item.closed_ms, utc=utc), "muted"),
        (item.symbol, "strong"),
        (arrow, "text"),
        (formats.size(float(item.size)), "text"),
        (formats.price(float(item.entry_px)), "text"),
        (formats.price(float(item.exit_px)), "text"),
        (usd(item.net_usd, sign=True), signed(float(item.net_usd))),
        (usd(-item.fees_usd, sign=True), "text"),
        (usd(item.funding_usd, sign=True), "text"),
        (formats.span_ms(item.closed_ms - item.opened_ms), "text"),
        (item.exit_reason, "warn" if item.stopped else "text"),
    )
    return Line(item.trade_id, cells)


_DECISION_COLUMNS = (
    Column("CANDLE TO", 14, 1, right=False),
    Column("COIN", 5, 1, right=False),
    Column("TF", 3, 4, right=False),
    Column("ACTION", 7, 1, right=False),
    Column("SIDE", 5, 3, right=False),
    Column("Z", 6, 2),
    Column("RSI", 5, 3),
    Column("ADX", 5, 3),
    Column("REGIME", 8, 6, right=False),
    Column("WHY", 24, 1, right=False, stretch=True),
)
_ACTION_STYLES = {"enter": "ok", "exit": "accent", "hold": "muted", "blocked": "warn"}


def decisions(view: ViewState, now_s: float, width: int) -> PaneContent:
    """Return the pane of evaluations, newest first, each with why it did not trade."""
    reason, suffix = _trouble(view, now_s, "decisions")
    rows = view.history.decisions if view.history is not None else ()
    lines = [_decision(item, utc=view.facts.utc) for item in rows]
    style = "bad" if suffix else "title"
    title = f"Decisions ({len(rows)} newest)" if rows else "Decisions"
    return build(title + suffix, _DECISION_COLUMNS, lines, width, empty=reason or "no decision yet", title_style=style)


def _first(indicators: dict[str, float | None], *names: str) -> float | None:
    return next((indicators[name] for name in names if name in indicators), None)


def _decision(item: DecisionRecord, *, utc: bool) -> Line:
    why = item.reason
    if item.blocked_by:
        why += "  BLOCKED BY " + "; ".join(gate.text for gate in item.blocked_by)
    if item.provisional:
        why = "provisional candle; " + why
    cells: tuple[Span, ...] = (
        (formats.day_clock(item.close_ms, utc=utc), "muted"),
        (item.symbol, "strong"),
        (item.timeframe, "muted"),
        (item.action.value, _ACTION_STYLES.get(item.action.value, "text")),
        (item.side.value if item.side is not None else "-", "text"),
        (formats.number(_first(item.indicators, "zscore", "z"), 2, sign=True), "text"),
        (formats.number(_first(item.indicators, "rsi"), 1), "text"),
        (formats.number(_first(item.indicators, "adx"), 1), "text"),
        (item.regime.value, "text"),
        (why, "warn" if item.blocked_by else "text"),
    )
    return Line(item.decision_id, cells)


_EVENT_COLUMNS = (
    Column("TIME", 14, 1, right=False),
    Column("KIND", 10, 1, right=False),
    Column("COIN", 5, 3, right=False),
    Column("WHAT", 24, 1, right=False, stretch=True),
)
_KIND_STYLES = {
    "OPEN": "accent",
    "CLOSE": "accent",
    "STOP": "warn",
    "TIMEOUT": "warn",
    "RECONNECT": "warn",
    "DEGRADED": "warn",
    "PAUSED": "warn",
    "HALTED": "bad",
    "KILLED": "bad",
}


def events(view: ViewState, now_s: float, width: int) -> PaneContent:
    """Return the events pane: commands of this viewer first, then pushed and stored events, newest first."""
    reason, suffix = _trouble(view, now_s, "events")
    lines = [
        Line(
            f"command:{item.key}",
            (
                (formats.day_clock(item.wall_ms, utc=view.facts.utc), "muted"),
                (item.state.value, OUTCOME_STYLES[item.state]),
                ("you", "muted"),
                (f"{item.verb}: {item.text}", "text"),
            ),
        )
        for item in view.outcomes
    ]
    stored = view.history.events if view.history is not None else ()
    seen = {(item.venue_ms, item.kind, item.symbol, item.text) for item in stored}
    fresh = [item for item in view.notes if (item.venue_ms, item.kind, item.symbol, item.text) not in seen]
    count: dict[tuple[int, str, str | None, str], int] = {}
    noted: list[EventNote | StoredEvent] = [*fresh, *stored]
    for note in sorted(noted, key=lambda item: -item.venue_ms):
        identity = (note.venue_ms, note.kind, note.symbol, note.text)
        count[identity] = count.get(identity, 0) + 1
        lines.append(
            Line(
                f"{identity}:{count[identity]}",
                (
                    (formats.day_clock(note.venue_ms, utc=view.facts.utc), "muted"),
                    (note.kind, _KIND_STYLES.get(note.kind, "text")),
                    (note.symbol or "-", "strong" if note.symbol else "muted"),
                    (note.text, "text"),
                ),
            )
        )
    title = f"Events ({len(lines)})" if lines else "Events"
    style = "bad" if suffix else "title"
    return build(
        title + suffix, _EVENT_COLUMNS, lines, width, empty=reason or "nothing happened yet", title_style=style
    )
