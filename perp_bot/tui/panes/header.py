"""The lines that are always on screen: who and where, the account, the prices; the alert strip; the outcome line."""

from __future__ import annotations

from perp_bot.core.money import pct, usd
from perp_bot.ipc.state import PriceState, StateSnapshot
from perp_bot.tui import formats
from perp_bot.tui.freshness import (
    AGE_STYLES,
    BOOK,
    LOOP,
    MARK,
    RECONCILE,
    STREAM,
    Freshness,
    Lens,
    Thresholds,
    age_text,
    judge,
    oldest,
)
from perp_bot.tui.look import signed
from perp_bot.tui.spans import Row, Span, cells_of, cut, first_lines, row
from perp_bot.tui.store import (
    Connection,
    ConnectionView,
    Link,
    Outcome,
    OutcomeState,
    ViewState,
    bot_status,
    connection,
    lens,
    loop_age_s,
)

_CHIP_STYLES = {
    Connection.CONNECTING: "warn",
    Connection.LIVE: "ok",
    Connection.LATE: "warn",
    Connection.STALE: "danger",
    Connection.UNRESPONSIVE: "danger",
    Connection.LOST: "danger",
    Connection.NOT_RUNNING: "danger",
    Connection.IPC_DOWN: "danger",
    Connection.INCOMPATIBLE: "danger",
    Connection.DENIED: "danger",
}
_STATUS_STYLES = {"RUNNING": "ok", "PAUSED": "caution", "DEGRADED": "caution", "KILLED": "danger"}
DONE_SHOWN_S = 30.0
WIDE = 110  # columns from which the first line holds date and time


def lines(view: ViewState, now_s: float, width: int, height: int) -> list[Row]:
    """Return the header: `height` is 1, 2 or 3 lines."""
    found = connection(view, now_s)
    if height == 1:
        return [_identity(view, found, now_s, width, with_equity=True)]
    built = [_identity(view, found, now_s, width), _account(view, now_s, width)]
    if height >= 3:
        built.append(_prices(view, now_s, width))
    return built


def _identity(view: ViewState, found: ConnectionView, now_s: float, width: int, *, with_equity: bool = False) -> Row:
    snapshot = view.frame.snapshot if view.frame is not None else None
    mode = snapshot.mode if snapshot is not None else view.facts.mode
    venue = snapshot.venue if snapshot is not None else view.facts.venue
    blocks: list[list[Span]] = [[(f" {mode.upper()} {_venue_word(venue)} ", "reverse")]]
    status = bot_status(view)
    if status != "?":
        blocks.append(_status(view, status, found, now_s))
    age = "" if found.age_s is None else f" {age_text(found.age_s)}"
    glyph = "●" if found.state.is_alive else "○"
    blocks.append([(f"{glyph} {found.state}{age}", _CHIP_STYLES[found.state])])
    if view.facts.read_only:
        blocks.append([("READ-ONLY", "caution")])
    if snapshot is not None and with_equity:
        equity = _live(usd(snapshot.account.equity_usd), "strong", lens(view, now_s), 0.0)
        blocks.append([("equity ", "muted"), equity])
    if snapshot is not None and view.link is Link.OPEN:
        blocks += _health(view, snapshot, now_s)
    right = _venue_time(view) if width >= WIDE else []
    room = width - cells_of(right) - 1
    left = _join(blocks, room - 1)
    gap = " " * max(1, room - 1 - cells_of(left))
    return row("identity", (" ", ""), *left, (gap, ""), *right)


def _status(view: ViewState, status: str, found: ConnectionView, now_s: float) -> list[Span]:
    """Return the status; the time behind it is the daemon's, not how long this status has lasted, and says so."""
    if status == "KILLED":
        return [(" KILLED ", "danger")]
    if not found.state.is_alive:
        return [(f"was {status}", "stale")]
    style = _STATUS_STYLES.get(status, "warn")
    uptime = f" up {age_text(_uptime_s(view, now_s))}"
    return [(f" {status} " if style == "caution" else status, style), (uptime, "muted")]


def _venue_word(venue: str) -> str:
    """Return the venue for the chip: MAINNET is a word in capitals, an address goes without its scheme."""
    return venue.upper() if venue == "mainnet" else venue.partition("://")[2] or venue


def _uptime_s(view: ViewState, now_s: float) -> float | None:
    return None if view.frame is None else view.frame.snapshot.uptime_s + view.frame.since_s(now_s)


def _health(view: ViewState, snapshot: StateSnapshot, now_s: float) -> list[list[Span]]:
    """Return the ages, the most important first."""
    if view.frame is None:
        return []
    glass = lens(view, now_s)
    stream_s = glass.age(snapshot.ages.stream_s)
    stream = _aged("stream", stream_s, STREAM, glass)
    if not snapshot.stream_connected:
        stream = [("stream ", "muted"), ("DOWN", "bad"), (f" {age_text(stream_s)}", "muted")]
    blocks = [_aged("loop", loop_age_s(view.frame, now_s), LOOP, glass), stream]
    if snapshot.ages.reconcile_s is not None:
        blocks.append(_aged("recon", glass.age(snapshot.ages.reconcile_s), RECONCILE, glass))
    return [*blocks, [("viewers ", "muted"), (str(snapshot.viewers), "text")]]


def _aged(label: str, age_s: float | None, limits: Thresholds, glass: Lens) -> list[Span]:
    found = Freshness.STALE if glass.all_stale else judge(age_s, limits)
    style = "text" if found is Freshness.FRESH else AGE_STYLES[found]
    text = age_text(age_s) if age_s is not None else "never"
    return [(f"{label} ", "muted"), (text + ("!" if found is Freshness.STALE else ""), style)]


def _venue_time(view: ViewState, *, short: bool = False) -> list[Span]:
    if view.frame is None:
        return []
    text = formats.stamp(view.frame.snapshot.as_of_ms, utc=view.facts.utc)
    speed = view.frame.snapshot.venue_speed
    pace = " step" if speed is None else f" x{speed:g}" if speed != 1 else ""
    if short:
        text = text[11:19] + ("Z" if view.facts.utc else "")
    return [(text + pace, "muted"), (" ", "")]


def _live(text: str, style: str, glass: Lens, declared_s: float | None, limits: Thresholds = LOOP) -> Span:
    return text, glass.style(style, declared_s, limits)


def _account(view: ViewState, now_s: float, width: int) -> Row:
    if view.frame is None:
        return row("account", (" " + connection(view, now_s).text, "muted"))
    snapshot = view.frame.snapshot
    account = snapshot.account
    glass = lens(view, now_s)
    # Everything in the account is as old as the frame; what was marked is as old as the oldest mark.
    marks_s = oldest(*(item.mark_age_s for item in snapshot.positions)) if snapshot.positions else 0.0
    day_start = account.day_start_equity_usd
    day_share = account.day_realized_usd / day_start if day_start else None
    suffix = _as_of(view, now_s, glass, marks_s)
    upnl: list[Span] = [
        ("uPnL ", "muted"),
        _live(usd(account.unrealized_usd, sign=True), signed(account.unrealized_usd), glass, marks_s, MARK),
    ]
    blocks: list[list[Span]] = [
        [("equity ", "muted"), _live(usd(account.equity_usd), "strong", glass, marks_s, MARK), suffix],
        [
            ("day ", "muted"),
            _live(usd(account.day_realized_usd, sign=True), signed(account.day_realized_usd), glass, 0.0),
            (f" ({pct(day_share, sign=True)})", "muted"),
        ],
        upnl,
        [("regime ", "muted"), _live(snapshot.regime, "text" if snapshot.regime == "NORMAL" else "warn", glass, 0.0)],
        [("fees ", "muted"), _live(usd(-account.fees_usd, sign=True), "text", glass, 0.0)],
        [("funding ", "muted"), _live(usd(account.funding_usd, sign=True), "text", glass, 0.0)],
        [("trades ", "muted"), _live(str(snapshot.counters.trades), "text", glass, 0.0)],
        [("margin ", "muted"), _live(usd(account.margin_used_usd), "text", glass, 0.0)],
    ]
    if account.accounting_error_max_usd >= 0.01:
        blocks.insert(0, [("books off by ", "bad"), (f"{account.accounting_error_max_usd:,.4f} USD", "bad")])
    return row("account", (" ", ""), *_join(blocks, width - 2))


def _as_of(view: ViewState, now_s: float, glass: Lens, declared_s: float | None) -> Span:
    if view.frame is None:
        return "", ""
    if glass.judge(declared_s, MARK) is Freshness.STALE or glass.judge(0.0, LOOP) is Freshness.STALE:
        return f" @{formats.clock(view.frame.snapshot.as_of_ms, utc=view.facts.utc)}", "stale"
    return f" {age_text(glass.age(declared_s))}", "muted"


def _join(blocks: list[list[Span]], width: int) -> list[Span]:
    """Join blocks with two spaces as far as they fit whole; blocks come in order of importance."""
    spans: list[Span] = []
    used = 0
    for block in blocks:
        needed = cells_of(block) + (2 if spans else 0)
        if used + needed > width:
            if not spans:
                return list(cut(block, width))
            continue
        if spans:
            spans.append(("  ", ""))
        spans += block
        used += needed
    return spans


def _prices(view: ViewState, now_s: float, width: int) -> Row:
    if view.frame is None:
        retry = "" if view.retry_at_s is None else f"next try in {age_text(view.retry_at_s - now_s)}; ctrl+r tries now"
        return row("prices", (" " + retry, "muted"))
    snapshot = view.frame.snapshot
    glass = lens(view, now_s)
    if not snapshot.prices:
        return row("prices", (" no prices yet", "muted"))
    right = _venue_time(view, short=True) if width < WIDE else []
    room = width - 2 - cells_of(right)
    # Every coin is shown before any coin is shown in detail.
    for detail in (2, 1, 0):
        blocks = [_price(item, glass, detail) for item in snapshot.prices]
        if sum(cells_of(block) + 2 for block in blocks) <= room:
            break
    left = _join(blocks, room)
    return row("prices", (" ", ""), *left, (" " * max(1, room - cells_of(left)), ""), *right)


def _price(item: PriceState, glass: Lens, detail: int) -> list[Span]:
    spans: list[Span] = [
        (f"{item.symbol} ", "strong"),
        _live(formats.price(item.mark_px, item.sz_decimals), "text", glass, item.mark_age_s, MARK),
        (" ", ""),
        glass.age_span(item.mark_age_s, MARK),
    ]
    if detail >= 1 and item.best_bid is not None and item.best_ask is not None:
        bid, ask = (formats.price(px, item.sz_decimals) for px in (item.best_bid, item.best_ask))
        spans += [(" bid/ask ", "muted"), _live(f"{bid}/{ask}", "text", glass, item.book_age_s, BOOK)]
    if detail >= 2:
        rate = "-" if item.funding_hourly is None else pct(item.funding_hourly, sign=True, digits=4) + "/h"
        spans += [(" funding ", "muted"), _live(rate, "text", glass, item.mark_age_s, MARK)]
    if item.generated:
        spans.append((" generated" if detail else " gen", "muted"))
    return spans


def alerts(view: ViewState, now_s: float) -> list[Span]:
    """Return the alert strip, worst first; empty when there is nothing to say."""
    if view.armed_until_s is not None and now_s < view.armed_until_s:
        left_s = view.armed_until_s - now_s
        return [(f" F9 again within {left_s:.1f} s = KILL on {environment(view)}    esc disarms ", "danger")]
    found = connection(view, now_s)
    parts: list[Span] = []
    status = bot_status(view)
    reasons = "; ".join(view.frame.snapshot.status_reasons) if view.frame is not None else ""
    if status == "KILLED":
        latched = view.presence.latched if view.presence is not None and view.link is not Link.OPEN else None
        why = reasons or latched or "no reason given"
        parts.append((f" KILLED: {why}. Entries blocked. Back: {view.facts.command} unkill ", "danger"))
    if not found.state.is_alive and found.state is not Connection.CONNECTING:
        retry = ""
        if view.retry_at_s is not None:
            retry = f"; next try in {age_text(max(0.0, view.retry_at_s - now_s))}, ctrl+r now"
        if found.state is Connection.UNRESPONSIVE:
            # The command stands on its own line: a command broken in two cannot be copied.
            parts.append(
                (f" {found.state}: {found.text}; kill works all the same: k, or F9 F9. To flatten: ", "danger")
            )
            parts.append((f" {view.facts.command} kill --flatten --take-over ", "danger"))
        else:
            parts.append((f" {found.state}: {found.text}{retry} ", "danger"))
    if status in ("PAUSED", "DEGRADED"):
        undo = " (r resumes)" if status == "PAUSED" else ""
        parts.append((f" {status}: {reasons or 'no reason given'}{undo} ", "caution"))
    if status in ("STARTING", "RECONCILING", "STOPPING"):
        parts.append((f" {status}: {reasons or 'no entries yet' if status != 'STOPPING' else reasons} ", "caution"))
    if view.frame is not None and not view.frame.snapshot.stream_connected and found.state.is_alive:
        parts.append((" market stream is down: no entries ", "caution"))
    return parts


def alert_rows(view: ViewState, now_s: float, width: int, limit: int) -> list[Row]:
    """Return the alert strip as lines: each alert wrapped, as many lines as are allowed, the worst first."""
    rows: list[Row] = []
    for number, (text, style) in enumerate(alerts(view, now_s)):
        left = limit - len(rows)
        if left <= 0:
            break
        lines = first_lines(text.strip(), max(10, width - 2), left)
        rows += [row(f"alert:{number}:{index}", (f" {line} ", style)) for index, line in enumerate(lines)]
    return rows


def environment(view: ViewState) -> str:
    """Return what a control would act on, e.g. `paper practice`."""
    snapshot = view.frame.snapshot if view.frame is not None else None
    mode = snapshot.mode if snapshot is not None else view.facts.mode
    venue = snapshot.venue if snapshot is not None else view.facts.venue
    return f"{mode} {_venue_word(venue)}"


def outcome_line(view: ViewState, now_s: float) -> list[Span]:
    """Return the newest command's outcome: failures and unknowns stay, successes go after 30 s."""
    newest = next(iter(view.outcomes), None)
    if newest is None or newest.is_seen:
        return []
    age_s = now_s - newest.changed_s
    if newest.state is OutcomeState.DONE and age_s > DONE_SHOWN_S:
        return []
    return outcome_spans(newest, age_s)


OUTCOME_STYLES = {
    OutcomeState.SENT: "caution",
    OutcomeState.ACCEPTED: "caution",
    OutcomeState.DONE: "ok",
    OutcomeState.FAILED: "danger",
    OutcomeState.UNKNOWN: "danger",
}
_GLYPHS = {
    OutcomeState.SENT: "…",
    OutcomeState.ACCEPTED: "…",
    OutcomeState.DONE: "✓",
    OutcomeState.FAILED: "✗",
    OutcomeState.UNKNOWN: "?",
}


def outcome_spans(outcome: Outcome, age_s: float) -> list[Span]:
    """Return one outcome as a line."""
    return [
        (f" {_GLYPHS[outcome.state]} {outcome.verb} {outcome.state} ", OUTCOME_STYLES[outcome.state]),
        (f" {outcome.text}", "text"),
        (f"  {age_text(age_s)} ago", "muted"),
    ]
