"""The screen of markets as a table, and what its figures are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perp_bot.backtest.screen import Screened
from perp_bot.core.money import pct
from perp_bot.core.timeframes import FIXED_MS
from perp_bot.reporting.labelled import labelled
from perp_bot.reporting.words import MISSING, length, minute

if TYPE_CHECKING:
    from rich.console import Console


def print_screen(console: Console, found: Sequence[Screened], timeframe: str, horizon: int) -> None:
    """Print the markets, best first, then what each lacks and how the figures are made."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    heads = ("market", "", "24 h USD", "spread", f"VR({horizon})", "95 %", "z", "half-life")
    for place in range(len(heads)):
        table.add_column(justify="left" if place < 2 else "right", no_wrap=True)
    table.add_row(*(Text(head, style="dim") for head in heads))
    for item in found:
        style = "green" if item.verdict == "passes" and item.is_reverting else ""
        table.add_row(*(Text(cell, style=style) for cell in _cells(item, timeframe)))
    console.print(table)
    console.print()
    lines = [(item.symbol, reason) for item in found for reason in item.reasons]
    lines += [
        (item.symbol, f"{pct(item.generated_share, digits=0)} of the candles it is measured on are generated")
        for item in found if item.generated_share > 0
    ]  # fmt: skip
    newest = max((item.at_ms for item in found), default=None)
    lines += [
        ("volume", f"sum of candle volume (coins) x close over the 24 hours to {minute(newest)} UTC"),
        ("spread", "median of the recorded fast signals of the same hours, of mid"),
        ("VR", f"variance of {horizon}-candle returns over {horizon} times that of one: 1 on a random walk"),
        ("VR", "below 1 moves are taken back; interval and z by the error of a random walk (Lo and MacKinlay 1988)"),
        ("half-life", "of a deviation from the mean, AR(1) of log prices; >: its interval holds a random walk"),
    ]  # fmt: skip
    if len(found) > 1:
        lines.append(("luck", f"of {len(found)} random walks {0.05 * len(found):.2g} show z below -1.645"))
    console.print(labelled(lines))


def _cells(item: Screened, timeframe: str) -> tuple[str, ...]:
    ratio, life = item.ratio, item.half_life
    step = FIXED_MS[timeframe]
    lived = MISSING
    if life is not None and life.bars is not None:
        lived = ("> " if life.high_bars is None else "") + length(life.bars * step)
    elif life is not None:
        lived = "none"
    return (
        item.symbol,
        str(item.verdict),
        MISSING if item.volume_usd is None else f"{item.volume_usd / 1e6:,.1f}M",
        MISSING if item.spread is None else pct(item.spread, digits=3),
        MISSING if ratio is None else f"{ratio.ratio:.2f}",
        MISSING if ratio is None else f"{ratio.low:.2f} to {ratio.high:.2f}",
        MISSING if ratio is None else f"{ratio.z:+.2f}",
        lived,
    )
