"""Footer, tabs, help, health and the status card: all from the tables of actions, panes and thresholds."""

from __future__ import annotations

from perp_bot.core.money import pct, usd
from perp_bot.tui import freshness
from perp_bot.tui.actions import ACTIONS, Action, Tier
from perp_bot.tui.freshness import age_text
from perp_bot.tui.layout import LABELS, SHORT_LABELS, VIEWS
from perp_bot.tui.panes import risk
from perp_bot.tui.panes.header import environment
from perp_bot.tui.spans import PaneContent, Row, Span, cells_of, message, row, width_of, wrap
from perp_bot.tui.store import ViewState, bot_status, connection, lens, loop_age_s


def footer(view: ViewState, now_s: float, width: int) -> Row:
    """Return the footer: keys in table order, the least important left out first; disabled ones greyed."""
    candidates = [action for action in ACTIONS if action.footer is not None]
    kept: list[Action] = []
    used = 1
    for action in sorted(candidates, key=lambda item: (item.footer or 0, candidates.index(item))):
        needed = width_of(f"{action.shown} {action.label}") + 2
        if used + needed <= width:
            kept.append(action)
            used += needed
    spans: list[Span] = [(" ", "")]
    for action in candidates:
        if action not in kept:
            continue
        is_off = action.enabled(view, now_s) is not None
        spans += [(action.shown, "off" if is_off else "key"), (f" {action.label}  ", "off" if is_off else "muted")]
    return row("footer", *spans)


def tabs(active: str, width: int) -> Row:
    """Return the tab line, numbers first; labels are short where they do not fit."""
    for labels in (LABELS, SHORT_LABELS, dict.fromkeys(LABELS, "")):
        spans: list[Span] = [(" ", "")]
        for number, name in enumerate(VIEWS, start=1):
            text = f" {number} {labels[name]} " if labels[name] else f" {number} "
            spans.append((text, "title_focus" if name == active else "muted"))
        if cells_of(spans) <= width:
            return row("tabs", *spans)
    return row("tabs", (f" {LABELS[active]}", "title_focus"))


def help_content(width: int) -> PaneContent:
    """Return the help: every action with its keys, effect and sentence."""
    rows: list[Row] = []
    groups = (
        ("Controls", [item for item in ACTIONS if item.tier is not Tier.LOOK]),
        ("Looking", [item for item in ACTIONS if item.tier is Tier.LOOK]),
    )
    for title, actions in groups:
        rows.append(row(title, (f" {title}", "title")))
        for action in actions:
            effect = f" ({action.effect})" if action.tier is not Tier.LOOK else ""
            rows += _entry(action.id, f"{action.shown:<9} {action.label:<10}", action.help + effect, width)
    rows.append(row("move-title", (" In a pane", "title")))
    rows.append(row("move", ("   arrows, page keys, home, end", "key"), ("  move; the cursor follows its row", "text")))
    rows.append(
        message("No letter key moves money by itself; every control exists as a perpbot command too.", key="end")
    )
    return PaneContent("Keys", tuple(rows))


def _entry(key: str, name: str, text: str, width: int) -> list[Row]:
    """Return a name with its text beside it, wrapped under itself."""
    lines = wrap(text, max(20, width - width_of(name) - 2))
    pad = " " * width_of(name)
    return [
        row(f"{key}:{index}", (f" {name if index == 0 else pad} ", "key" if index == 0 else ""), (line, "text"))
        for index, line in enumerate(lines)
    ]


def health_content(view: ViewState, now_s: float, width: int) -> PaneContent:
    """Return the table of ages with their thresholds."""
    found = connection(view, now_s)
    rows: list[Row] = [
        row("connection", (f" {'connection':<16}", "muted"), (f"{found.state} {age_text(found.age_s)}", "strong")),
        row("why", (f" {'':<16}", ""), (found.text or "frames come on time", "text")),
    ]
    if view.frame is not None:
        ages = view.frame.snapshot.ages
        glass = lens(view, now_s)
        table = (
            ("frame", now_s - view.frame.received_s, freshness.FRAME),
            ("trading loop", loop_age_s(view.frame, now_s), freshness.LOOP),
            ("market stream", glass.age(ages.stream_s), freshness.STREAM),
            ("reconciliation", glass.age(ages.reconcile_s), freshness.RECONCILE),
            ("database write", glass.age(ages.db_write_s), freshness.DB_WRITE),
        )
        for name, age_s, limits in table:
            state = freshness.judge(age_s, limits)
            rows.append(
                row(
                    name,
                    (f" {name:<16}", "muted"),
                    (f"{age_text(age_s) if age_s is not None else 'never':>8} ", "text"),
                    (f"{state:<8}", freshness.AGE_STYLES[state]),
                    (f"late from {limits.late_s:g} s, stale from {limits.stale_s:g} s", "muted"),
                )
            )
        counters = view.frame.snapshot.counters
        lag = "-" if counters.loop_lag_ms_p95 is None else f"{counters.loop_lag_ms_p95:.2f} ms"
        rows += [
            row("lag", (f" {'loop lag p95':<16}", "muted"), (lag, "text")),
            row("reconnects", (f" {'reconnects':<16}", "muted"), (str(counters.stream_reconnects), "text")),
            row(
                "work",
                (f" {'work':<16}", "muted"),
                (f"{counters.candles_processed:,} candles, {counters.decisions:,} decisions, ", "text"),
                (f"{counters.entries} entries, {counters.exits} exits", "text"),
            ),
            row(
                "books",
                (f" {'books':<16}", "muted"),
                (f"largest gap of the run {view.frame.snapshot.account.accounting_error_max_usd:.6f} USD", "text"),
            ),
        ]
        rows += _entry("daemon", f"{'daemon':<15}", _daemon(view), width)
        if view.frame.snapshot.venue_note:
            rows += _entry("venue", f"{'venue':<15}", view.frame.snapshot.venue_note, width)
    history = view.history
    read = "not read yet" if history is None else f"read {age_text(now_s - history.read_s)} ago"
    if history is not None and history.error:
        read += f"; {history.error}"
    for name, text in (
        ("database", f"{view.facts.db} ({read})"),
        ("socket", view.facts.socket),
        ("log", view.facts.log),
    ):
        rows += _entry(name, f"{name:<15}", text, width)
    return PaneContent("Health", tuple(rows))


def _daemon(view: ViewState) -> str:
    if view.frame is None:
        return "-"
    snapshot = view.frame.snapshot
    return f"pid {snapshot.pid}, version {snapshot.version}, boot {snapshot.boot_id}, venue at {snapshot.venue_url}"


def card(view: ViewState, now_s: float, width: int, height: int) -> list[Row]:
    """Return the status card of a tiny terminal."""
    found = connection(view, now_s)
    glass = lens(view, now_s)
    style = "stale" if glass.all_stale else "text"
    rows = [
        row("who", (environment(view).upper(), "reverse"), (" ", ""), (bot_status(view), "strong")),
        row("link", (f"{found.state} {age_text(found.age_s)}", "ok" if found.state.is_alive else "danger")),
    ]
    if view.armed_until_s is not None and now_s < view.armed_until_s:
        rows.insert(0, row("armed", (f"F9 again in {view.armed_until_s - now_s:.1f}s = KILL", "danger")))
    newest = next(iter(view.outcomes), None)
    if newest is not None:
        rows.append(row("outcome", (f"{newest.verb} {newest.state}", "strong"), (f" {newest.text}", "text")))
    if view.frame is not None:
        snapshot = view.frame.snapshot
        account = snapshot.account
        loop_s = loop_age_s(view.frame, now_s)
        rows += [
            row("equity", ("equity ", "muted"), (usd(account.equity_usd), style)),
            row("day", ("day ", "muted"), (usd(account.day_realized_usd, sign=True), style)),
            row("loop", ("loop ", "muted"), (age_text(loop_s), style)),
        ]
        rows += [
            row(f"position:{item.symbol}", (f"{item.symbol} {item.side} {usd(item.unrealized_usd, sign=True)}", style))
            for item in snapshot.positions
        ] or [row("flat", ("no open position", style))]
        worst = max(snapshot.limits, key=lambda item: (item.breached, risk.share(item) or 0.0), default=None)
        if worst is not None:
            used = risk.share(worst)
            text = "AT LIMIT" if worst.breached else pct(used, digits=0)
            rows.append(
                row("risk", (f"{worst.name.replace('_', ' ')} ", "muted"), (text, "bad" if worst.breached else style))
            )
    return rows[:height]
