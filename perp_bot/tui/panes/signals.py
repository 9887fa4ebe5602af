"""Signals: z, RSI and ADX against their thresholds, the conditions, the last decision and why there was no trade."""

from __future__ import annotations

import math

from perp_bot.ipc.state import FastSignalState, SignalState
from perp_bot.tui import formats
from perp_bot.tui.freshness import FAST_SIGNAL, Lens
from perp_bot.tui.spans import PaneContent, Row, Span, cut, first_lines, message, row
from perp_bot.tui.store import ViewState, connection, lens

ROOMY_LINES = 7  # of a coin, fast signals included


def gauge(value: float | None, low: float, high: float, marks: tuple[float, ...], cells: int) -> str:
    """Return a scale from `low` to `high`: bars at the marks, a dot at the value, an arrow when it is beyond an end."""
    if value is None or not math.isfinite(value):
        return "╌" * cells
    line = ["─"] * cells

    def place(at: float) -> int:
        return min(cells - 1, max(0, round((at - low) / (high - low) * (cells - 1))))

    for mark in marks:
        line[place(mark)] = "┃"
    line[place(value)] = "◂" if value < low else "▸" if value > high else "●"
    return "".join(line)


def content(view: ViewState, now_s: float, width: int, height: int) -> PaneContent:
    """Return the signals pane: seven lines a coin when there is room, two otherwise."""
    if view.frame is None:
        return PaneContent("Signals", (message(connection(view, now_s).text),))
    snapshot = view.frame.snapshot
    glass = lens(view, now_s)
    rows: list[Row] = []
    fast = {item.symbol: item for item in snapshot.fast_signals}
    count = max(1, len(snapshot.signals))
    lines_each = height // count
    as_of_ms = snapshot.as_of_ms
    for item in snapshot.signals:
        if lines_each >= ROOMY_LINES - 1:
            rows += _roomy(item, fast.get(item.symbol), glass, width, as_of_ms, lines_each, utc=view.facts.utc)
        else:
            rows += _dense(item, fast.get(item.symbol), glass, width, lines_each)
    if not rows:
        rows = [
            row(f"fast:{found.symbol}", (f" {found.symbol:<6}", "strong"), *_fast(found, glass, width - 7))
            for found in snapshot.fast_signals
        ] or [message("no strategy has been evaluated yet")]
    wanting = sum(1 for item in snapshot.signals if item.action is not None and item.action.startswith("enter"))
    note = f"{wanting} entering" if wanting else ""
    return PaneContent(f"Signals ({len(snapshot.signals)})", tuple(rows), note)


def _tone(style: str, glass: Lens) -> str:
    return "stale" if glass.all_stale else style


def _z_style(item: SignalState) -> str:
    if item.zscore is None:
        return "muted"
    return "warn" if abs(item.zscore) >= item.entry_threshold else "text"


def _rsi_style(item: SignalState) -> str:
    if item.rsi is None:
        return "muted"
    return "warn" if item.rsi > item.rsi_overbought or item.rsi < item.rsi_oversold else "text"


def _adx_style(item: SignalState) -> str:
    if item.adx is None:
        return "muted"
    return "text" if item.adx < item.adx_threshold else "warn"


def verdict(item: SignalState) -> tuple[str, str]:
    """Return what was decided and why, and its style."""
    if item.starved:
        return f"STARVED: {item.starved}", "bad"
    if item.bars < item.warmup_bars:
        return f"WARM-UP {item.bars}/{item.warmup_bars} bars: no entry before", "warn"
    if item.action is None:
        return "not evaluated yet", "muted"
    reason = item.reason or "no reason given"
    if item.blocked_by:
        return f"BLOCKED BY {'; '.join(item.blocked_by)}  (wanted: {reason})", "warn"
    styles = {"enter": "ok", "exit": "accent", "blocked": "warn"}
    verb, _, side = item.action.partition("_")  # the daemon adds the side: enter_long
    return f"{verb.upper()}{' ' + side if side else ''}: {reason}", styles.get(verb, "text")


def _conditions(item: SignalState, glass: Lens) -> list[Span]:
    spans: list[Span] = []
    for name, holds in item.conditions.items():
        glyph, style = {True: ("✓", "ok"), False: ("✗", "muted"), None: ("?", "warn")}[holds]
        spans += [(f"{glyph}{name} ", _tone(style, glass))]
    return spans or [("no conditions reported ", "muted")]


def _candle_age(item: SignalState, as_of_ms: int) -> str:
    return "" if item.close_ms is None else f"({formats.span_ms(as_of_ms - item.close_ms)} ago)"


def _roomy(
    item: SignalState,
    fast: FastSignalState | None,
    glass: Lens,
    width: int,
    as_of_ms: int,
    lines_each: int,
    *,
    utc: bool,
) -> list[Row]:
    key = f"{item.strategy}:{item.symbol}"
    cells = max(11, min(41, width - 44))
    scale = max(4.0, item.stop_threshold * 4 / 3)
    z_marks = (
        -item.stop_threshold,
        -item.entry_threshold,
        -item.exit_threshold,
        item.exit_threshold,
        item.entry_threshold,
        item.stop_threshold,
    )
    text, style = verdict(item)
    rows = [
        row(
            f"{key}:name",
            (f" {item.symbol}", "strong"),
            (f" {item.timeframe} {item.strategy}", _tone("accent", glass)),
            (
                f"  candle to {formats.clock(item.close_ms, utc=utc)} {_candle_age(item, as_of_ms)}",
                _tone("muted", glass),
            ),
            (f"  {item.bars:,} bars" if width >= 68 else "", "muted"),
        ),
        row(
            f"{key}:z",
            ("   z   ", "muted"),
            (f"{formats.number(item.zscore, 2, sign=True):>7} ", _tone(_z_style(item), glass)),
            (gauge(item.zscore, -scale, scale, z_marks, cells), _tone("accent", glass)),
            (
                f"  |z| in {item.entry_threshold:g} out {item.exit_threshold:g} stop {item.stop_threshold:g}",
                "muted",
            ),
        ),
        row(
            f"{key}:rsi",
            ("   RSI ", "muted"),
            (f"{formats.number(item.rsi, 1):>7} ", _tone(_rsi_style(item), glass)),
            (gauge(item.rsi, 0, 100, (item.rsi_oversold, item.rsi_overbought), cells), _tone("accent", glass)),
            (f"  below {item.rsi_oversold:g} or above {item.rsi_overbought:g}", "muted"),
        ),
        row(
            f"{key}:adx",
            ("   ADX ", "muted"),
            (f"{formats.number(item.adx, 1):>7} ", _tone(_adx_style(item), glass)),
            (gauge(item.adx, 0, 60, (item.adx_threshold,), cells), _tone("accent", glass)),
            (f"  below {item.adx_threshold:g} (no trend)", "muted"),
        ),
    ]
    spare = lines_each - len(rows) - 1 - (1 if fast is not None else 0)
    rows.append(row(f"{key}:conditions", ("   ", ""), *_conditions(item, glass)))
    rows += [
        row(f"{key}:why:{index}", ("   ", ""), (line, _tone(style, glass)))
        for index, line in enumerate(first_lines(text, max(10, width - 6), max(1, min(3, spare))))
    ]
    if fast is not None:
        rows.append(row(f"{key}:fast", ("   ", ""), *_fast(fast, glass, width - 4)))
    return rows


def _dense(item: SignalState, fast: FastSignalState | None, glass: Lens, width: int, lines_each: int) -> list[Row]:
    key = f"{item.strategy}:{item.symbol}"
    cells = max(7, min(15, (width - 44) // 3))
    scale = max(4.0, item.stop_threshold * 4 / 3)
    text, style = verdict(item)
    first: list[Span] = [
        (f" {item.symbol:<5}", "strong"),
        (f"{item.timeframe:>3} ", _tone("muted", glass)),
        ("z ", "muted"),
        (f"{formats.number(item.zscore, 2, sign=True):>6} ", _tone(_z_style(item), glass)),
        (
            gauge(item.zscore, -scale, scale, (-item.entry_threshold, item.entry_threshold), cells),
            _tone("accent", glass),
        ),
        (" RSI ", "muted"),
        (f"{formats.number(item.rsi, 1):>5} ", _tone(_rsi_style(item), glass)),
        (gauge(item.rsi, 0, 100, (item.rsi_oversold, item.rsi_overbought), cells), _tone("accent", glass)),
        (" ADX ", "muted"),
        (f"{formats.number(item.adx, 1):>5} ", _tone(_adx_style(item), glass)),
        (gauge(item.adx, 0, 60, (item.adx_threshold,), cells), _tone("accent", glass)),
    ]
    rows = [
        row(key, *cut(first, width)),
        row(f"{key}:why", ("   ", ""), *_conditions(item, glass), (" ", ""), (text, _tone(style, glass))),
    ]
    if fast is not None and lines_each >= 3:
        rows.append(row(f"{key}:fast", ("   ", ""), *_fast(fast, glass, width - 4)))
    return rows


def _fast(fast: FastSignalState, glass: Lens, width: int) -> list[Span]:
    style = glass.style("text", fast.age_s, FAST_SIGNAL)
    spread = formats.number(fast.spread_bps, 2)
    slip = formats.number(fast.slippage_bps, 2)
    volatility = "-" if fast.volatility is None else f"{fast.volatility * 100:.3f} %/min"
    spans: list[Span] = [
        glass.age_span(fast.age_s, FAST_SIGNAL),
        ("  spread ", "muted"),
        (f"{spread} bps", style),
        ("  depth ", "muted"),
        (formats.compact_usd(fast.depth_usd), style),
        ("  slip ", "muted"),
        (f"{slip} bps", style),
        ("  vol ", "muted"),
        (volatility, style),
    ]
    if fast.note:
        spans.append((f"  {fast.note}", "warn"))
    return list(cut(spans, width))
