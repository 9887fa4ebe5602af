"""Everything one symbol's decision depends on, and its form in the journal.

`recorded` writes the facts into `DecisionRecord.account`; `restored` reads them back, so that a stored decision can
be made again (I3a). No latency and no reading of a clock is in it: a book is fresh, stale or absent, a close is late
or not.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import cast

from perp_bot.core.types import (
    Candle,
    CandleSource,
    DecisionRecord,
    GateReason,
    Instrument,
    OrderSide,
    Position,
    Side,
)
from perp_bot.decision.delay import PendingEntry
from perp_bot.decision.view import json_safe
from perp_bot.risk.limits import RiskView
from perp_bot.risk.manager import Blocks, Pause
from perp_bot.risk.state import RiskState
from perp_bot.strategies.protocol import MarketView

AccountValue = float | int | str | None
Recorded = dict[str, AccountValue]


class BookState(StrEnum):
    """Whether the newest book may be priced from."""

    FRESH = "fresh"
    STALE = "stale"
    NONE = "none"  # no book, or a side of it is empty


@dataclass(frozen=True, slots=True)
class LiveEntry:
    """An entry order that can still fill."""

    cloid: str
    side: OrderSide


@dataclass(frozen=True, slots=True)
class Facts:
    """One symbol at one close."""

    symbol: str
    view: MarketView | None  # None: no candle of this close
    missing: str  # why there is no view
    position: Position | None
    instrument: Instrument | None
    book: BookState
    bid_px: float | None
    ask_px: float | None
    late: bool
    live_entry: LiveEntry | None
    live_exit: bool
    pending: PendingEntry | None
    unconfirmed: tuple[Candle, ...] = ()  # provisional rows before the view's candle, oldest first


def recorded(facts: Facts, risk: RiskView, blocks: Blocks, strategy: str) -> Recorded:
    """Return the recorded account state of a decision: flat, JSON-safe, complete."""
    mine = blocks.covering(facts.symbol, strategy)
    out: Recorded = dict(risk.state.to_json())
    out |= {
        "equity_usd": json_safe(risk.equity_usd),
        "open_symbols": ",".join(risk.open_symbols),
        "entry_symbols": ",".join(risk.entry_symbols),
        "margin_used_usd": json_safe(risk.margin_used_usd),
        "losing_weeks": risk.losing_weeks,
        "entries_today": risk.entries_today,
        "force": risk.force,
        "killed": mine.killed,
        "paused": _dump([[pause.scope, pause.name, pause.reason] for pause in mine.pauses]),
        "degraded": _dump([[reason.rule, reason.text] for reason in mine.degraded]),
        "missing": facts.missing if facts.view is None else None,
        "bars": None if facts.view is None else facts.view.bars,
        "book": str(facts.book),
        "bid_px": facts.bid_px,
        "ask_px": facts.ask_px,
        "late": facts.late,
        "live_entry_cloid": None if facts.live_entry is None else facts.live_entry.cloid,
        "live_entry_side": None if facts.live_entry is None else str(facts.live_entry.side),
        "live_exit": facts.live_exit,
    }
    out |= _instrument(facts.instrument) | _pending(facts.pending) | _position(facts.position)
    if facts.view is not None and facts.view.provisional:
        out |= _candle(facts.view.candle)  # the final row will replace it in the store
        if facts.unconfirmed:
            out["candle_before"] = json.dumps([_row(candle) for candle in facts.unconfirmed], separators=(",", ":"))
    return out


@dataclass(frozen=True, slots=True)
class RestoredFacts:
    """What `restored` reads from a record: all but the view, which the stored candles give."""

    risk: RiskView
    blocks: Blocks
    facts: Facts  # without a view
    bars: int | None
    provisional: tuple[Candle, ...]  # the unconfirmed rows at the end of its window, oldest first


def restored(record: DecisionRecord) -> RestoredFacts:
    """Return the facts a record was made of."""
    a = record.account
    state = RiskState.from_json({item.name: a[item.name] for item in fields(RiskState)})
    risk = RiskView(
        now_ms=record.close_ms,
        state=state,
        equity_usd=_number(a["equity_usd"]),
        open_symbols=_names(a["open_symbols"]),
        entry_symbols=_names(a["entry_symbols"]),
        margin_used_usd=_number(a["margin_used_usd"]),
        losing_weeks=int(cast(int, a["losing_weeks"])),
        force=bool(a["force"]),
        entries_today=int(cast(int, a.get("entries_today", 0))),  # rows of 0.1.0 have none
        mode=record.source,
    )
    blocks = Blocks(
        killed=_text(a["killed"]),
        pauses=tuple(Pause(*row) for row in json.loads(str(a["paused"]))),
        degraded=tuple(GateReason(*row) for row in json.loads(str(a["degraded"]))),
    )
    cloid, side = _text(a["live_entry_cloid"]), _text(a["live_entry_side"])
    facts = Facts(
        symbol=record.symbol,
        view=None,
        missing=_text(a["missing"]) or "",
        position=_read_position(record),
        instrument=_read_instrument(record),
        book=BookState(str(a["book"])),
        bid_px=_number(a["bid_px"]),
        ask_px=_number(a["ask_px"]),
        late=bool(a["late"]),
        live_entry=None if cloid is None or side is None else LiveEntry(cloid, OrderSide(side)),
        live_exit=bool(a["live_exit"]),
        pending=_read_pending(record),
    )
    bars = None if a["bars"] is None else int(cast(int, a["bars"]))
    return RestoredFacts(risk, blocks, facts, bars, _read_provisional(record))


def _dump(rows: list[list[str | None]]) -> str:
    return json.dumps(rows, separators=(",", ":"))


def _names(value: AccountValue) -> tuple[str, ...]:
    return tuple(str(value).split(",")) if value else ()


def _number(value: AccountValue) -> float | None:
    return None if value is None else float(value)


def _text(value: AccountValue) -> str | None:
    return None if value is None else str(value)


def _instrument(instrument: Instrument | None) -> Recorded:
    if instrument is None:
        return {"sz_decimals": None}
    return {
        "sz_decimals": instrument.sz_decimals,
        "asset_id": instrument.asset_id,
        "max_leverage": instrument.max_leverage,
        "is_delisted": instrument.is_delisted,
    }


def _read_instrument(record: DecisionRecord) -> Instrument | None:
    a = record.account
    if a["sz_decimals"] is None:
        return None
    asset_id, sz_decimals, leverage = (cast(int, a[key]) for key in ("asset_id", "sz_decimals", "max_leverage"))
    return Instrument(record.symbol, asset_id, sz_decimals, leverage, bool(a["is_delisted"]))


def _pending(pending: PendingEntry | None) -> Recorded:
    if pending is None:
        return {"delayed_side": None}
    return {
        "delayed_side": str(pending.side),
        "delayed_decided_ms": pending.decided_ms,
        "delayed_seen_ms": pending.seen_ms,
        "delayed_waited": pending.waited,
    }


def _read_pending(record: DecisionRecord) -> PendingEntry | None:
    a = record.account
    if a["delayed_side"] is None:
        return None
    decided, seen, waited = (cast(int, a[key]) for key in ("delayed_decided_ms", "delayed_seen_ms", "delayed_waited"))
    return PendingEntry(record.symbol, record.strategy, Side(str(a["delayed_side"])), decided, seen, waited)


_MONEY = ("size", "entry_px", "fees_usd", "funding_usd", "realized_usd")


def _position(position: Position | None) -> Recorded:
    if position is None:
        return {"position_side": None}
    out: Recorded = {f"position_{name}": str(getattr(position, name)) for name in _MONEY}
    return out | {
        "position_side": str(position.side),
        "position_opened_ms": position.opened_ms,
        "position_stop_px": position.stop_px,
        "position_target_px": position.target_px,
        "position_strategy": position.strategy,
        "position_entry_decision_id": position.entry_decision_id,
    }


def _read_position(record: DecisionRecord) -> Position | None:
    a = record.account
    if a["position_side"] is None:
        return None
    money = {name: Decimal(str(a[f"position_{name}"])) for name in _MONEY}
    return Position(
        symbol=record.symbol,
        side=Side(str(a["position_side"])),
        opened_ms=int(cast(int, a["position_opened_ms"])),
        strategy=str(a["position_strategy"]),
        source=record.source,
        stop_px=_number(a["position_stop_px"]),
        target_px=_number(a["position_target_px"]),
        entry_decision_id=str(a["position_entry_decision_id"]),
        **money,
    )


_OHLCV = ("open", "high", "low", "close", "volume")


def _candle(candle: Candle) -> Recorded:
    out: Recorded = {f"candle_{name}": json_safe(getattr(candle, name)) for name in _OHLCV}
    return out | {"candle_open_ms": candle.open_ms}


def _row(candle: Candle) -> list[float | int | None]:
    return [candle.open_ms, *(json_safe(getattr(candle, name)) for name in _OHLCV)]


def _read_provisional(record: DecisionRecord) -> tuple[Candle, ...]:
    a = record.account
    if not record.provisional or "candle_open_ms" not in a:
        return ()
    newest = [cast(int, a["candle_open_ms"]), *(_number(a[f"candle_{name}"]) for name in _OHLCV)]
    before = json.loads(str(a.get("candle_before", "[]")))
    return tuple(_stream_candle(record, row) for row in (*before, newest))


def _stream_candle(record: DecisionRecord, row: list[float | int | None]) -> Candle:
    open_px, high, low, close, volume = (math.nan if value is None else float(value) for value in row[1:])
    open_ms = int(cast(int, row[0]))
    return Candle(
        record.symbol,
        record.timeframe,
        open_ms,
        open_px,
        high,
        low,
        close,
        volume,
        source=CandleSource.STREAM,
    )
