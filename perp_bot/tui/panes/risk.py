"""Risk: every limit as a bar of used/limit, those at their limit and the nearest first, with the full sentence."""

from __future__ import annotations

import math

from perp_bot.core.money import pct, usd
from perp_bot.ipc.state import LimitState
from perp_bot.tui.formats import span_ms
from perp_bot.tui.spans import PaneContent, Row, Span, first_lines, fit, message, row
from perp_bot.tui.store import ViewState, connection, lens

NAME_CELLS = 17


def share(limit: LimitState) -> float | None:
    """Return used / limit, None when it cannot be said (limit 0 or not finite)."""
    if limit.limit <= 0 or not math.isfinite(limit.limit) or not math.isfinite(limit.used):
        return None
    return limit.used / limit.limit


def bar(fraction: float | None, cells: int) -> str:
    """Return a bar of `cells` cells, eighths included; more than full is drawn full."""
    if fraction is None:
        return "·" * cells
    eighths = round(max(0.0, min(1.0, fraction)) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(cells, "░")


def amount(value: float, unit: str) -> str:
    """Return a limit's value in its unit."""
    match unit:
        case "fraction":
            return pct(value)
        case "usd":
            return usd(value)
        case "seconds":
            return span_ms(value * 1000)
        case _:
            return f"{value:,.0f}"


def content(view: ViewState, now_s: float, width: int, height: int) -> PaneContent:
    """Return the risk pane; with few lines each limit takes one, with many the sentence stands below it."""
    if view.frame is None:
        return PaneContent("Risk", (message(connection(view, now_s).text),))
    glass = lens(view, now_s)
    limits = sorted(view.frame.snapshot.limits, key=lambda item: (not item.breached, -(share(item) or 0.0), item.name))
    if not limits:
        return PaneContent("Risk", (message("the daemon sends no limits"),))
    at_limit = sum(item.breached for item in limits)
    rows: list[Row] = []
    figures_cells = max(len(_figures(item)) for item in limits)
    # A line for each sentence when there is room, and what is left over for the sentences of the worst.
    spare = height - 2 * len(limits)
    for item in limits:
        lines = []
        if height >= 2 * len(limits):
            lines = first_lines(item.text, max(10, width - 4), 1 + max(0, spare))
            spare -= len(lines) - 1
        rows += _limit(item, width, figures_cells, lines, is_stale=glass.all_stale)
    title = f"Risk ({at_limit} of {len(limits)} at their limit)" if at_limit else f"Risk ({len(limits)} limits)"
    return PaneContent(title, tuple(rows), title_style="bad" if at_limit else "title")


def _figures(item: LimitState) -> str:
    return f"{amount(item.used, item.unit)} / {amount(item.limit, item.unit)}"


def _limit(item: LimitState, width: int, figures_cells: int, lines: list[str], *, is_stale: bool) -> list[Row]:
    used = share(item)
    if is_stale:
        style = "stale"
    elif item.breached:
        style = "bad"
    else:
        style = "warn" if used is not None and used >= 0.7 else "ok"
    verdict = "AT LIMIT" if item.breached else "-" if used is None else f"{max(0.0, used) * 100:.0f} %"
    figures = _figures(item)
    name = item.name.replace("_", " ")
    bar_cells = max(4, min(24, width - NAME_CELLS - figures_cells - 13))
    spans: list[Span] = [
        (" ", ""),
        (fit(name, NAME_CELLS), "stale" if is_stale else "text"),
        (bar(used if not item.breached else 1.0, bar_cells), style),
        (" ", ""),
        (fit(verdict, 8, right=True), style),
        ("  ", ""),
    ]
    left = width - 1 - NAME_CELLS - bar_cells - 11
    if lines or left < 40:
        spans.append((figures if left >= len(figures) else "", "stale" if is_stale else "muted"))
    else:
        spans.append((item.text, "stale" if is_stale else "muted"))
    rows = [row(item.name, *spans)]
    style = "stale" if is_stale else "muted"
    rows += [row(f"{item.name}:{index}", ("   " + line, style)) for index, line in enumerate(lines)]
    return rows
