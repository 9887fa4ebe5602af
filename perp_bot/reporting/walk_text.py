"""Walk-forward on a screen: a row a window, what was chosen, and what is left of it out of sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perp_bot.backtest.parameters import name_of
from perp_bot.backtest.walk_forward import LEAST_TRADES, WalkForward, WindowResult
from perp_bot.core.money import pct
from perp_bot.reporting.words import day, ratio

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_SHOWN = 24  # choices of a parameter on a screen; a report has all


def print_walk(console: Console, found: WalkForward, objective: str) -> None:
    """Print windows, stability and degradation."""
    from rich.text import Text

    console.print(_windows(found, objective))
    if any(item.is_fallback for item in found.windows):
        console.print(Text(f"* no set had {LEAST_TRADES} trades in training: the settings in use were kept"))
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
    first = (
        f"mean return of a window: in sample {pct(inside, sign=True)}, out of sample {pct(outside, sign=True)}; "
        f"{won} of {len(found.windows)} test windows gained"
    )
    share = found.efficiency
    if share is None:
        return [first, "nothing was gained in sample: there is no edge to lose"]
    return [first, f"a day out of sample returns {pct(share, digits=0)} of a day in sample"]


def report_lines(found: WalkForward, objective: str) -> tuple[tuple[str, str], ...]:
    """Return what a report says of the windows, a label and a sentence each."""
    lines = [("degradation", line) for line in degradation(found)]
    for item in found.windows:
        chosen = ", ".join(f"{name_of(key)} {value:g}" for key, value in item.chosen.items())
        label = f"test to {day(item.window.test_to_ms)}{' (final)' if item.is_final else ''}"
        kept = " (the settings in use: too few trades in training)" if item.is_fallback else ""
        words = (
            f"{objective} {ratio(item.train_objective)} in, {ratio(item.test_objective)} out; return "
            f"{pct(item.train_return, sign=True)} in, {pct(item.test_return, sign=True)} out; {chosen}{kept}"
        )
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
        ratio(item.train_objective),
        ratio(item.test_objective),
        pct(item.train_return, sign=True),
        pct(item.test_return, sign=True),
        f"{item.train_trades}/{item.test_trades}",
        "*" if item.is_fallback else "",
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
