"""Heat maps and strips on a screen: every cell readable without colour, nothing beyond 80 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from perp_bot.backtest.sensitivity import Heatmap
from perp_bot.reporting.sensitivity_text import heatmap_text


def shown(item: Heatmap, *, plain: bool, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(heatmap_text(item, plain=plain, width=width), soft_wrap=True)
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


@pytest.mark.parametrize(("count", "width"), [(23, 80), (24, 80), (400, 80), (400, 120), (7, 20)])
def test_a_huge_heatmap_fits_and_says_what_is_left_out(count: int, width: int) -> None:
    """Every n-th value, the one in use among them, in the columns and rows there are."""
    x = tuple(float(n) for n in range(count))
    item = Heatmap("a", "b", x, x, tuple(tuple(1.0 for _ in x) for _ in x), (x[5], x[6]))
    lines = shown(item, plain=True, width=width)
    body = [line for line in lines if "#" in line]
    assert max(map(len, [*body, lines[-1]])) <= width
    assert len(body) <= 40
    assert sum(line.count("[") for line in body) == 1
    chosen = next(line for line in body if "[" in line)
    assert chosen.split()[0] == "6"
    cells = chosen.count("#") // (2 if count <= 16 else 1)
    told = [line for line in lines if line.endswith(f"of {count} values of a are shown; --json has all")]
    assert bool(told) is (cells < count)
    if told:
        assert int(told[0].split()[0]) == cells


def test_a_map_of_nothing_is_no_error() -> None:
    """Every value left out, or every profit 0."""
    blank = Heatmap("a", "b", (1.0,), (2.0,), ((None,),))
    assert shown(blank, plain=True)[1] == "       2    ?"
    zero = Heatmap("a", "b", (1.0,), (2.0,), ((0.0,),))
    assert shown(zero, plain=True)[1] == "       2  -.."
