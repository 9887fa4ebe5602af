"""`perpbot screen`: read what is stored, rank it, keep the ranking, show it."""

from __future__ import annotations

from perp_bot.cli.backtesting import progress
from perp_bot.cli.output import put_json
from perp_bot.cli.research_case import ResearchCase
from perp_bot.core.errors import EXIT_OK


def screen(case: ResearchCase, *, is_one: bool, horizon: int | None, bars: int, as_json: bool) -> int:
    """Run it."""
    from perp_bot.backtest import runs
    from perp_bot.backtest import screen as room

    config = case.config
    case.refuse_without_database()
    symbols = config.trading.symbols if is_one else None
    q = horizon or config.signals.zscore_lookback
    with progress("screen") as advance:
        found = room.screen(config, symbols, horizon=q, bars=bars, advance=advance)
    extra = room.as_json(found, config.data.primary_timeframe, q)
    run_id = runs.save(config, None, None, "screen", extra, data_hash=room.hash_of(found), trials=len(found))
    if as_json:
        put_json({"run": run_id, "data_hash": room.hash_of(found), **extra})
        return EXIT_OK
    from rich.console import Console

    from perp_bot.reporting.screen_text import print_screen

    print_screen(Console(highlight=False), found, config.data.primary_timeframe, q)
    return EXIT_OK
