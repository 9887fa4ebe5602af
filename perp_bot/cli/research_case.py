"""What a command of research was asked to run on: settings, coins, strategy, span, and the stored data of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import StoreError, UsageError
from perp_bot.core.symbols import normalize_symbol
from perp_bot.core.timeframes import TIMEFRAMES, iso

if TYPE_CHECKING:
    from perp_bot.backtest.market import Market
    from perp_bot.config.model import Config


@dataclass(frozen=True, slots=True)
class ResearchCase:
    """The settings with what the options changed, and the span in epoch ms (None: everything stored)."""

    config: Config
    strategy: str
    from_ms: int | None
    to_ms: int | None

    def market(self) -> Market:
        """Return the stored data; UsageError or StoreError in one line that says what to do."""
        from perp_bot.backtest.load import load_market

        self.refuse_without_database()
        return load_market(self.config, from_ms=self.from_ms, to_ms=self.to_ms)

    def refuse_without_database(self) -> None:
        """Raise StoreError where there is none, with what makes one."""
        if not self.config.data.db_path.exists():
            raise StoreError(
                f"no database at {self.config.data.db_path}: `perpbot data import --bundled hyperliquid` fills one "
                "from the data that ships with perpbot, `perpbot backfill` from a venue"
            )


def research_case(
    call: Invocation,
    symbol: str | None,
    strategy: str | None,
    timeframe: str | None,
    from_text: str | None,
    to_text: str | None,
) -> ResearchCase:
    """Return what the options ask for.

    Raises:
        UsageError: an unknown symbol, timeframe, strategy or time, or a span that is turned round.
    """
    from perp_bot.strategies import registry

    config = call.load()
    if symbol is not None:
        try:
            config = replace(config, trading=replace(config.trading, symbols=(normalize_symbol(symbol),)))
        except ValueError as error:
            raise UsageError(f"--symbol: {error}") from None
    if timeframe is not None:
        if timeframe not in TIMEFRAMES:
            raise UsageError(f"--timeframe {timeframe}: there are {', '.join(TIMEFRAMES)}")
        config = replace(config, data=replace(config.data, primary_timeframe=timeframe))
    name = config.trading.strategy if strategy is None else strategy
    registry.create(name, config)  # names the nearest one when there is none of that name
    from_ms, to_ms = time_of("--from", from_text), time_of("--to", to_text)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UsageError(f"--from {iso(from_ms)} is not before --to {iso(to_ms)}")
    return ResearchCase(config, name, from_ms, to_ms)


def time_of(option: str, text: str | None) -> int | None:
    """Return a time in epoch ms: a day (its first moment, UTC), an ISO time (UTC unless it says otherwise) or ms."""
    if text is None:
        return None
    if text.isdigit() and len(text) > 8:
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text}: give a day (2026-01-31), an ISO time or epoch ms") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int(at.timestamp() * 1000)
