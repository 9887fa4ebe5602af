"""The offline screen: how the last run ended, what it left behind, and what to do about it."""

from __future__ import annotations

from perp_bot.core.money import usd
from perp_bot.tui import formats
from perp_bot.tui.spans import PaneContent, Row, Span, cells_of, message, row, width_of, wrap
from perp_bot.tui.store import Connection, Presence, ViewState, connection


def commands(view: ViewState, now_s: float) -> tuple[tuple[str, str], ...]:
    """Return (command, what it does) to copy."""
    command = view.facts.command
    if connection(view, now_s).state is Connection.IPC_DOWN:
        return (
            (f"{command} kill", "block entries now: the latch works without the socket"),
            (f"{command} kill --flatten --take-over", "latch, end the hung daemon, take over its database"),
            (f"{command} status", "ask again from the command line"),
        )
    return (
        (f"{command} trade --{view.facts.mode}", "start the daemon"),
        (f"{command} kill", "block entries before the next start: the latch works without the daemon"),
        (f"{command} config check", "check the settings that it will start with"),
    )


def content(view: ViewState, now_s: float, width: int) -> PaneContent:
    """Return the offline pane."""
    found = connection(view, now_s)
    titles = {
        Connection.IPC_DOWN: "The daemon lives, its socket does not answer",
        Connection.INCOMPATIBLE: "The daemon speaks another version",
        Connection.DENIED: "No permission to reach the daemon",
        Connection.LOST: "Connection lost",
        Connection.CONNECTING: "Connecting",
    }
    title = titles.get(found.state, "The daemon is not running")
    rows: list[Row] = [message(line, "text", f"why:{index}") for index, line in enumerate(wrap(found.text, width - 2))]
    presence = view.presence
    if presence is not None:
        rows += _last_exit(view, presence, width)
    rows += _left_behind(view, now_s, width)
    rows.append(row("do", (" To copy (up and down, then y):", "title")))
    for text, purpose in commands(view, now_s):
        rows += _beside(f"command:{text}", [("   ", ""), (text, "strong")], (purpose, "muted"), width)
    return PaneContent(title, tuple(rows), title_style="danger", selectable=True)


def _beside(key: str, left: list[Span], right: Span, width: int) -> list[Row]:
    """Return `left` with `right` on the same line where both fit, else `right` wrapped below it."""
    text, style = right
    if cells_of(left) + 3 + width_of(text) <= width:
        return [row(key, *left, ("   ", ""), right)]
    below = enumerate(wrap(text, width - 7))
    return [row(key, *left), *(row(f"+{key}:{index}", ("      ", ""), (line, style)) for index, line in below)]


def _last_exit(view: ViewState, presence: Presence, width: int) -> list[Row]:
    rows = []
    run = presence.last_run
    utc = view.facts.utc
    if run is None:
        rows.append(row("exit", (" Last run: ", "muted"), ("no daemon ever ran on this database", "text")))
    elif presence.lock_pid is not None:
        rows.append(
            row(
                "exit",
                (" Running since: ", "muted"),
                (
                    f"{formats.stamp(run.started_ms, utc=utc)} (pid {presence.lock_pid or 'not visible from here'})",
                    "text",
                ),
            )
        )
    elif run.ended_ms is None:
        rows.append(
            row(
                "exit",
                (" Last run: ", "muted"),
                ("CRASHED ", "bad"),
                (f"started {formats.stamp(run.started_ms, utc=utc)}, pid {run.pid}; it wrote no end", "text"),
            )
        )
    else:
        ago = formats.span_ms(presence.wall_ms - run.ended_ms)
        code_style = "ok" if run.exit_code == 0 else "bad"
        left: list[Span] = [
            (" Last exit: ", "muted"),
            (f"{formats.stamp(run.ended_ms, utc=utc)}, {ago} ago, ", "text"),
            (f"code {run.exit_code}", code_style),
        ]
        rows += _beside("exit", left, (run.reason, "text"), width)
    if presence.latched is not None:
        rows.append(
            row("latch", (" KILLED ", "danger"), (f" {presence.latched}; back: {view.facts.command} unkill", "text"))
        )
    if presence.error:
        rows += [message(line, "warn", f"error:{index}") for index, line in enumerate(wrap(presence.error, width - 2))]
    return rows


def _as_of(view: ViewState, now_s: float) -> str:
    """Return when the rows below were true, as well as it can be known."""
    if view.frame is not None:
        ago = formats.span_ms(view.frame.since_s(now_s) * 1000)
        return f"as of {formats.stamp(view.frame.snapshot.as_of_ms, utc=view.facts.utc)} venue time, heard {ago} ago"
    presence = view.presence
    if presence is None or presence.last_write_ms is None:
        return "time unknown"
    ago = formats.span_ms(presence.wall_ms - presence.last_write_ms)
    return f"as of the last write {formats.stamp(presence.last_write_ms, utc=view.facts.utc)}, {ago} ago"


def _left_behind(view: ViewState, now_s: float, width: int) -> list[Row]:
    history = view.history
    if history is None:
        return [message("reading the last known positions from the database", key="positions")]
    if history.error and not history.positions:
        return [
            message(line, "warn", f"positions:{index}")
            for index, line in enumerate(wrap(f"last known positions: {history.error}", width - 2))
        ]
    as_of = _as_of(view, now_s)
    caution = "the market moved on since" if view.facts.mode == "paper" else "the exchange may differ"
    known: list[Span] = [(f" Last known positions ({len(history.positions)})", "title")]
    rows = _beside("positions", known, (f"{as_of}; {caution}", "stale"), width)
    if not history.positions:
        rows.append(message("   none", key="no-position"))
    stops = {order.intent.symbol for order in history.orders if order.intent.role.value == "stop"}
    for item in history.positions:
        spans: list[Span] = [
            (f"   {item.symbol:<6}", "strong"),
            (f"{'▲' if item.side.sign > 0 else '▼'} {item.side.value:<6}", "stale"),
            (f"{item.size} at {formats.price(float(item.entry_px))}", "stale"),
            (f"  stop {formats.price(item.stop_px)}", "stale"),
            (f"  fees {usd(-item.fees_usd, sign=True)}", "stale"),
        ]
        if view.facts.mode == "paper":
            guard: Span = ("UNWATCHED: paper stops need the daemon", "warn")
        elif item.symbol in stops:
            guard = ("protective order on record", "stale")
        else:
            guard = ("NO PROTECTIVE ORDER ON RECORD", "danger")
        rows += _beside(f"position:{item.symbol}", spans, guard, width)
    if history.orders:
        rows.append(row("orders", (f" Orders on record ({len(history.orders)})", "title")))
    for order in history.orders[:10]:
        intent = order.intent
        px = intent.limit_px if intent.limit_px is not None else intent.trigger_px
        where = f"at {px:f}" if px is not None else "at market"
        text = f"{intent.role.value} {intent.side.value} {intent.size - order.filled} {where}  {order.state.value}"
        rows.append(row(f"order:{intent.cloid}", (f"   {intent.symbol:<6}", "strong"), (text, "stale")))
    return rows
