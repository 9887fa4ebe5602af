"""Make a stored decision again from stored candles and its recorded account state (I3a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perp_bot.config.model import Config
from perp_bot.core.types import Candle, DecisionRecord
from perp_bot.decision.facts import restored
from perp_bot.decision.path import decide_symbol
from perp_bot.decision.view import build_view, columns_of
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import Strategy


def redecide(record: DecisionRecord, candles: Sequence[Candle], config: Config, strategy: Strategy) -> DecisionRecord:
    """Return the decision that the same facts give; it equals `record`, or something is wrong with one of them.

    `candles` are stored rows of the record's series, oldest first; rows that close after the decision are left out,
    and as many are used as the decision had.

    Raises:
        ValueError: when the decision had a candle and the store does not, or holds fewer than it used.
    """
    known = restored(record)
    facts = known.facts
    if known.bars is not None:
        view_candles = _window(record, candles, known.bars, known.provisional)
        view = build_view(
            view_candles[-1],
            columns_of(view_candles),
            params_of(config),
            regime=record.regime,
            position=facts.position,
            provisional=record.provisional,
            signals=record.signals,
        )
        facts = replace(facts, view=view, unconfirmed=known.provisional[:-1])
    return decide_symbol(
        config,
        strategy,
        facts,
        known.risk,
        known.blocks,
        timeframe=record.timeframe,
        close_ms=record.close_ms,
        created_ms=record.close_ms,
        source=record.source,
        regime=record.regime,
    ).record


def _window(
    record: DecisionRecord, candles: Sequence[Candle], bars: int, provisional: tuple[Candle, ...]
) -> list[Candle]:
    usable = [candle for candle in candles if candle.close_ms <= record.close_ms]
    if provisional:
        usable = [*(candle for candle in usable if candle.open_ms < provisional[0].open_ms), *provisional]
    needed = max(bars, 1)
    if len(usable) < needed or usable[-1].close_ms != record.close_ms:
        newest = usable[-1].close_ms if usable else None
        raise ValueError(
            f"{record.decision_id}: needs {needed} candles up to {record.close_ms}, the store has {len(usable)} "
            f"up to {newest}"
        )
    return usable[-needed:]
