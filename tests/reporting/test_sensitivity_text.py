"""Heat maps and strips on a screen: every cell readable without colour, nothing beyond 80 columns."""

from __future__ import annotations

import io

from rich.console import Console

from perp_bot.backtest.sensitivity import Heatmap
from perp_bot.reporting.sensitivity_text import heatmap_text


def shown(item: Heatmap, *, plain: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(heatmap_text(item, plain=plain), soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_heatmap_is_readable_without_colour() -> None:
    """Sign, strength, what was left out, and the brackets around the settings in use."""
    item = Heatmap("exit_z", "entry_z", (0.2, 0.5), (1.8, 2.0), ((100.0, -20.0), (None, 45.0)), (0.5, 2.0))
    assert shown(item, plain=True) == [
        "profit over entry_z (down) and exit_z (across), darkest = 100.00 USD",
        "     1.8  +## -..",
        "       2    ?[+::]",
        "          0.2 0.5",
    ]
    assert shown(item, plain=False)[1] == "     1.8  +██ -░░"


def test_a_wide_heatmap_fits() -> None:
    """Twenty columns: narrower cells, and labels only where they have room."""
    x = tuple(60.0 + n for n in range(20))
    item = Heatmap("rsi_high", "adx", x, (20.0,), (tuple(float(n - 10) for n in range(20)),), (75.0, 20.0), 2)
    head, row, labels = shown(item, plain=True)
    assert head.endswith("median over the other 2")
    assert row.count("[") == row.count("]") == 1
    assert max(len(row), len(labels)) <= 80
    assert row[10 + 15 * 3 - 1] == "["  # under its label
    assert labels[10 : 10 + 15 * 3 + 2].endswith("75")


def test_a_map_of_nothing_is_no_error() -> None:
    """Every value left out, or every profit 0."""
    blank = Heatmap("a", "b", (1.0,), (2.0,), ((None,),))
    assert shown(blank, plain=True)[1] == "       2    ?"
    zero = Heatmap("a", "b", (1.0,), (2.0,), ((0.0,),))
    assert shown(zero, plain=True)[1] == "       2  -.."
