"""Whether everything that the strategy declares it needs is produced by somebody."""

from __future__ import annotations

from perp_bot.strategies.protocol import Strategy
from perp_bot.trading.desk import Desk

_PRODUCED = {"trades": True, "book": True, "funding": True, "open_interest": True, "spot": False, "options": False}


def check_needs(desk: Desk, strategy: Strategy) -> None:
    """Mark coins whose declared inputs nobody produces: they enter nothing."""
    needs, primary = strategy.needs, desk.config.data.primary_timeframe
    missing = [name for name, is_there in _PRODUCED.items() if getattr(needs, name) and not is_there]
    missing += [f"{timeframe} candles" for timeframe in needs.timeframes if timeframe != primary]
    for symbol in desk.symbols if missing else ():
        desk.starved[symbol] = f"{strategy.name} needs {', '.join(missing)}, which nothing produces"
