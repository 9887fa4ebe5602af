"""Open positions and live orders."""

from __future__ import annotations

from perp_bot.core.money import usd
from perp_bot.ipc.state import OrderStateRow, PositionState, StateSnapshot
from perp_bot.tui import formats
from perp_bot.tui.freshness import MARK, Lens, oldest
from perp_bot.tui.look import signed
from perp_bot.tui.spans import PaneContent, Span
from perp_bot.tui.store import ViewState, connection, lens
from perp_bot.tui.table import Column, Line, build

_POSITION_COLUMNS = (
    Column("COIN", 5, 1, right=False),
    Column("SIDE", 7, 1, right=False),
    Column("SIZE", 9, 1),
    Column("ENTRY", 10, 2),
    Column("MARK", 10, 2),
    Column("uPNL", 9, 1),
    Column("AGE", 5, 1),
    Column("STOP", 10, 3),
    Column("TO STOP", 7, 4),
    Column("NOTIONAL", 9, 5),
    Column("FEES", 7, 7),
    Column("FUNDING", 8, 7),
    Column("OPEN FOR", 8, 6),
    Column("TIMES OUT", 9, 8),
    Column("TARGET", 10, 9),
    Column("STRATEGY", 14, 10, right=False),
)
_MISSING: Span = ("-", "muted")


def decimals_of(snapshot: StateSnapshot, symbol: str) -> int | None:
    """Return szDecimals of a coin, None when the frame does not say."""
    return next((item.sz_decimals for item in snapshot.prices if item.symbol == symbol), None)


def content(view: ViewState, now_s: float, width: int) -> PaneContent:
    """Return the positions pane."""
    if view.frame is None:
        return build("Positions", _POSITION_COLUMNS, (), width, empty=connection(view, now_s).text)
    snapshot = view.frame.snapshot
    glass = lens(view, now_s)
    lines = [_position(item, snapshot, glass) for item in snapshot.positions]
    title = f"Positions ({len(lines)})"
    empty = "no open position" if not glass.all_stale else "no open position when the daemon was last heard"
    return build(title, _POSITION_COLUMNS, lines, width, empty=empty)


def _position(item: PositionState, snapshot: StateSnapshot, glass: Lens) -> Line:
    decimals = decimals_of(snapshot, item.symbol)
    arrow = {"long": "▲ long", "short": "▼ short"}.get(item.side, item.side)
    # Open PnL is the daemon's own figure, as old as its mark; it is never recomputed here.
    pnl_s = oldest(item.mark_age_s, 0.0)
    mark_style = glass.style("text", item.mark_age_s, MARK)
    frame_style = "text" if not glass.all_stale else "stale"
    to_stop = None
    if item.stop_px is not None and item.mark_px:
        to_stop = abs(item.mark_px - item.stop_px) / item.mark_px
    cells: tuple[Span, ...] = (
        (item.symbol, "strong"),
        (arrow, frame_style),
        (formats.size(item.size, decimals), frame_style),
        (formats.price(item.entry_px, decimals, extra=1), frame_style),
        (formats.price(item.mark_px, decimals), mark_style),
        (usd(item.unrealized_usd, sign=True), glass.style(signed(item.unrealized_usd), pnl_s, MARK)),
        glass.age_span(pnl_s, MARK),
        _stop(item, decimals, frame_style),
        (f"{to_stop * 100:.2f} %", mark_style) if to_stop is not None else _MISSING,
        (usd(item.notional_usd), mark_style),
        (usd(-item.fees_usd, sign=True), frame_style),
        (usd(item.funding_usd, sign=True), frame_style),
        (formats.span_ms(snapshot.as_of_ms - item.opened_ms), frame_style),
        (formats.span_ms(item.timeout_ms - snapshot.as_of_ms), frame_style),
        (formats.price(item.target_px, decimals), frame_style),
        (item.strategy, "muted"),
    )
    return Line(f"{item.symbol}", cells)


def _stop(item: PositionState, decimals: int | None, frame_style: str) -> Span:
    """Return the stop; live, in alarm where less than the whole position rests behind it at the venue."""
    if item.stop_px is None:
        return ("NO STOP", "danger")
    text = formats.price(item.stop_px, decimals)
    if item.coverage is None or item.coverage >= 1:
        return (text, frame_style)
    return (f"{text} {item.coverage:.0%}", "danger")


_ORDER_COLUMNS = (
    Column("COIN", 5, 1, right=False),
    Column("SIDE", 5, 1, right=False),
    Column("ROLE", 6, 1, right=False),
    Column("TYPE", 11, 3, right=False),
    Column("SIZE", 9, 1),
    Column("FILLED", 8, 3),
    Column("PRICE", 10, 1),
    Column("STATE", 9, 1, right=False),
    Column("AGE", 6, 4),
    Column("EXPIRES", 7, 5),
    Column("REDUCE", 6, 6, right=False),
    Column("CLOID", 12, 7, right=False),
)


def orders(view: ViewState, now_s: float, width: int) -> PaneContent:
    """Return the pane of orders that can still fill."""
    if view.frame is None:
        return build("Orders", _ORDER_COLUMNS, (), width, empty=connection(view, now_s).text)
    snapshot = view.frame.snapshot
    glass = lens(view, now_s)
    lines = [_order(item, snapshot, glass) for item in snapshot.orders]
    return build(f"Orders ({len(lines)})", _ORDER_COLUMNS, lines, width, empty="no order that can still fill")


def _order(item: OrderStateRow, snapshot: StateSnapshot, glass: Lens) -> Line:
    decimals = decimals_of(snapshot, item.symbol)
    style = "stale" if glass.all_stale else "text"
    px = item.limit_px if item.limit_px is not None else item.trigger_px
    at = "" if item.limit_px is not None or px is None else "@ "
    expires = formats.span_ms(item.expires_ms - snapshot.as_of_ms) if item.expires_ms is not None else "-"
    cells: tuple[Span, ...] = (
        (item.symbol, "strong"),
        (item.side, style),
        (item.role, style),
        (item.order_type, style),
        (formats.size(item.size, decimals), style),
        (formats.size(item.filled, decimals), style),
        (at + formats.price(px, decimals) if px is not None else "market", style),
        (item.state, "warn" if item.state == "unknown" and not glass.all_stale else style),
        (formats.span_ms(snapshot.as_of_ms - item.created_ms), style),
        (expires, style),
        ("yes" if item.reduce_only else "no", style),
        (item.cloid, "muted"),
    )
    return Line(item.cloid, cells)
