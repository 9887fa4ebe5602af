"""What a command of research was asked to run on: settings, coins, strategy, span, and the stored data of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import StoreError, UsageError
from perp_bot.core.symbols import normalize_symbol
from perp_bot.core.timeframes import FIXED_MS, iso

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
        """Return the stored data, what is odd about them noted; UsageError or StoreError says what to do."""
        from perp_bot.backtest.data_notes import annotated
        from perp_bot.backtest.load import load_market

        self.refuse_without_database()
        try:
            return annotated(self.config, load_market(self.config, from_ms=self.from_ms, to_ms=self.to_ms))
        except UsageError:
            self._refuse_span_without_candles()
            raise

    def decidable_market(self) -> Market:
        """Return the stored data of a span in which something can be decided; see `market` for faults."""
        from perp_bot.backtest.data_notes import refuse_undecidable

        market = self.market()
        refuse_undecidable(market, self.config, self.from_ms, self.to_ms)
        return market

    def _refuse_span_without_candles(self) -> None:
        """Raise UsageError when the candles asked for are stored, and none of them lies in the span."""
        from perp_bot.data.db.reader import Reader

        timeframe = self.config.data.primary_timeframe
        with Reader(self.config.data.db_path) as reader:
            found = [(name, reader.candle_span(name, timeframe)) for name in self.config.trading.symbols]
        stored = [
            f"{name} {iso(span[0])} to {iso(span[1] + FIXED_MS[timeframe])}" for name, span in found if span is not None
        ]
        if stored:
            begin = "the beginning" if self.from_ms is None else iso(self.from_ms)
            end = "the end" if self.to_ms is None else iso(self.to_ms)
            raise UsageError(
                f"no {timeframe} candle closes from {begin} to {end}: stored are {', '.join(stored)}; change --from / "
                "--to, or fetch what is missing (perpbot backfill, perpbot data import)"
            )

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
        config = replace(config, data=replace(config.data, primary_timeframe=timeframe))
    if config.data.primary_timeframe not in FIXED_MS:  # the calendar month has no fixed length: no grid fits it
        key = "--timeframe" if timeframe is not None else "data.primary_timeframe"
        raise UsageError(f"{key} {config.data.primary_timeframe}: research runs on {', '.join(FIXED_MS)}")
    name = config.trading.strategy if strategy is None else strategy
    registry.create(name, config)  # names the nearest one when there is none of that name
    config = replace(config, trading=replace(config.trading, strategy=name))  # what a run stores is what it ran
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
