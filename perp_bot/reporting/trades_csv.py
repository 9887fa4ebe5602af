"""Trades as a CSV file, one row a trade, times in epoch ms and as UTC text."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from perp_bot.backtest.results import BacktestResult, SimulatedTrade
from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import iso

COLUMNS = (*SimulatedTrade._fields, "opened", "closed", "strategy")


def write_trades_csv(path: Path, result: BacktestResult) -> None:
    """Write the closed trades of a result, in the order of their closing.

    Raises:
        StoreError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in result.trades.rows():
        safe = [_safe(value) if isinstance(value, str) else value for value in row]
        writer.writerow([*safe, iso(row.opened_ms), iso(row.closed_ms), _safe(result.strategy)])
    try:
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def _safe(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
