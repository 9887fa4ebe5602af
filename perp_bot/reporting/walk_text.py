"""Walk-forward on a screen: a row a window, what was chosen, and what is left of it out of sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perp_bot.backtest.parameters import name_of
from perp_bot.backtest.walk_forward import LEAST_TRADES, WalkForward, WindowResult
from perp_bot.core.counting import counted
from perp_bot.core.money import pct
from perp_bot.reporting.words import day, ratio, starred

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_INCOMPLETE = "incomplete: positions were held through hours without a known funding rate; nothing is booked for them"
_SHOWN = 24  # choices of a parameter on a screen; a report has all


def print_walk(console: Console, found: WalkForward, objective: str) -> None:
    """Print windows, stability and degradation."""
    from rich.text import Text

    console.print(_windows(found, objective))
    if any(item.is_fallback for item in found.windows):
        console.print(Text(f"kept: no set had {LEAST_TRADES} trades in training, the settings in use stayed"))
    if found.is_incomplete:
        console.print(Text(f"* {_INCOMPLETE}"))
    console.print()
    console.print(_stability(found))
    console.print()
    for line in degradation(found):
        console.print(Text(line, style="bold"))


def degradation(found: WalkForward) -> list[str]:
    """Return what is left out of sample, in words."""
    inside = sum(item.train_return for item in found.windows) / len(found.windows)
    outside = sum(item.test_return for item in found.windows) / len(found.windows)
    won = sum(item.test_net_usd > 0 for item in found.windows)
    is_lacking_inside = any(item.train_missing_hours for item in found.windows)
    is_lacking_outside = any(item.test_missing_hours for item in found.windows)
    first = (
        f"mean return of a window: in sample {starred(pct(inside, sign=True), is_lacking_inside)}, out of sample "
        f"{starred(pct(outside, sign=True), is_lacking_outside)}; {won} of "
        f"{counted(len(found.windows), 'test window')} gained"
    )
    share = found.efficiency
    if share is None:
        return [first, "nothing was gained in sample: there is no edge to lose"]
    told = starred(pct(share, digits=0), is_lacking_inside or is_lacking_outside)
    return [first, f"a day out of sample returns {told} of a day in sample"]


def report_lines(found: WalkForward, objective: str) -> tuple[tuple[str, str], ...]:
    """Return what a report says of the windows, a label and a sentence each."""
    lines = [("degradation", line) for line in degradation(found)]
    if found.is_incomplete:
        lines.append(("*", _INCOMPLETE))
    for item in found.windows:
        chosen = ", ".join(f"{name_of(key)} {value:g}" for key, value in item.chosen.items())
        label = f"test to {day(item.window.test_to_ms)}{' (final)' if item.is_final else ''}"
        kept = " (the settings in use: too few trades in training)" if item.is_fallback else ""
        inside, outside, return_in, return_out = _figures(item)
        words = f"{objective} {inside} in, {outside} out; return {return_in} in, {return_out} out; {chosen}{kept}"
        lines.append((label, words))
    for moved in found.stability:
        share, spread = pct(moved.share, digits=0), pct(moved.spread, digits=0)
        words = f"most chosen {moved.most_common:g} ({share} of the windows), spread {spread} of the axis"
        lines.append((moved.name, words))
    return tuple(lines)


def _windows(found: WalkForward, objective: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    heads = ("train", "test until", f"{objective} in", "out", "return in", "out", "trades", "")
    for place in range(len(heads)):
        table.add_column(justify="left" if place in (0, 1, 7) else "right", no_wrap=True)
    table.add_row(*(Text(head, style="dim") for head in heads))
    for item in found.windows:
        table.add_row(*(Text(cell) for cell in _row(item)))
    return table


def _row(item: WindowResult) -> tuple[str, ...]:
    return (
        day(item.window.train_from_ms),
        day(item.window.test_to_ms) + (" final" if item.is_final else ""),
        *_figures(item),
        f"{item.train_trades}/{item.test_trades}",
        "kept" if item.is_fallback else "",
    )


def _figures(item: WindowResult) -> tuple[str, str, str, str]:
    """Return objective in and out of sample, return in and out; a star where hours of funding are lacking."""
    inside, outside = item.train_missing_hours > 0, item.test_missing_hours > 0
    return (
        starred(ratio(item.train_objective), inside),
        starred(ratio(item.test_objective), outside),
        starred(pct(item.train_return, sign=True), inside),
        starred(pct(item.test_return, sign=True), outside),
    )


def _stability(found: WalkForward) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for place in range(4):
        table.add_column(justify="right" if place in (1, 2) else "left", no_wrap=place < 3)
    table.add_row(*(Text(head, style="dim") for head in ("parameter", "most chosen", "spread", "by window")))
    for item in found.stability:
        table.add_row(
            Text(item.name),
            Text(f"{item.most_common:g} ({pct(item.share, digits=0)})"),
            Text(pct(item.spread, digits=0)),
            Text(("... " if len(item.chosen) > _SHOWN else "") + " ".join(f"{v:g}" for v in item.chosen[-_SHOWN:])),
        )
    return table
