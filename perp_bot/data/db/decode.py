"""Rows of the tables turned back into the words everyone uses. Pure: what came in typed goes out equal."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from perp_bot.core.types import (
    Action,
    Candle,
    CandleSource,
    ClosedTrade,
    DecisionRecord,
    Fill,
    FundingPayment,
    GateReason,
    Liquidity,
    Order,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderState,
    OrderType,
    Regime,
    Side,
)
from perp_bot.data.db.codec import optional_decimal
from perp_bot.data.db.rows import AssetMinute, EventRow

SqlRow = tuple[Any, ...]

CANDLE_COLUMNS = "symbol,timeframe,open_ms,open,high,low,close,volume,trades,source"
MINUTE_COLUMNS = (
    "symbol,minute_ms,mark_open,mark_high,mark_low,mark_close,oracle_open,oracle_high,oracle_low,oracle_close,"
    "open_interest,premium,funding_estimate,samples"
)
DECISION_COLUMNS = (
    "decision_id,symbol,timeframe,close_ms,strategy,source,action,side,reason,close_px,stop_px,target_px,notional_usd,"
    "regime,provisional,indicators_json,conditions_json,thresholds_json,account_json,blocked_json,signals_json"
)
ORDER_COLUMNS = (
    "cloid,decision_id,symbol,side,role,order_type,size,limit_px,trigger_px,reduce_only,created_ms,expires_ms,"
    "strategy,source,reason,stop_px,target_px,state,filled,avg_px,updated_ms,note"
)
FILL_COLUMNS = "fill_id,cloid,symbol,side,px,size,fee_usd,liquidity,venue_ms,role,strategy,source,reason,closed_pnl_usd"
FUNDING_COLUMNS = "symbol,hour_ms,signed_size,oracle_px,rate,usd,strategy,source"
TRADE_COLUMNS = (
    "trade_id,symbol,side,size,entry_px,exit_px,opened_ms,closed_ms,gross_usd,fees_usd,funding_usd,net_usd,"
    "exit_reason,strategy,source,entry_decision_id,stopped"
)
EVENT_COLUMNS = "venue_ms,wall_ms,kind,symbol,text,detail_json"

_SOURCES = {source.value: source for source in CandleSource}


def candle(row: SqlRow) -> Candle:
    """Return the candle of CANDLE_COLUMNS."""
    return Candle(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], _SOURCES[row[9]])


def asset_minute(row: SqlRow) -> AssetMinute:
    """Return the minute of MINUTE_COLUMNS; a price without a sample is NaN."""
    prices = [math.nan if price is None else price for price in row[2:10]]
    return AssetMinute(
        row[0],
        row[1],
        (prices[0], prices[1], prices[2], prices[3]),
        (prices[4], prices[5], prices[6], prices[7]),
        *row[10:14],
    )


def decision(row: SqlRow) -> DecisionRecord:
    """Return the journal row of DECISION_COLUMNS."""
    return DecisionRecord(
        decision_id=row[0],
        symbol=row[1],
        timeframe=row[2],
        close_ms=row[3],
        strategy=row[4],
        source=row[5],
        action=Action(row[6]),
        side=None if row[7] is None else Side(row[7]),
        reason=row[8],
        close_px=row[9],
        stop_px=row[10],
        target_px=row[11],
        notional_usd=row[12],
        regime=Regime(row[13]),
        provisional=bool(row[14]),
        indicators=json.loads(row[15]),
        conditions=json.loads(row[16]),
        thresholds=json.loads(row[17]),
        account=json.loads(row[18]),
        blocked_by=tuple(GateReason(reason["rule"], reason["text"]) for reason in json.loads(row[19])),
        signals=None if row[20] is None else json.loads(row[20]),
    )


def order(row: SqlRow) -> Order:
    """Return the order of ORDER_COLUMNS."""
    intent = OrderIntent(
        cloid=row[0],
        decision_id=row[1],
        symbol=row[2],
        side=OrderSide(row[3]),
        role=OrderRole(row[4]),
        order_type=OrderType(row[5]),
        size=Decimal(row[6]),
        limit_px=optional_decimal(row[7]),
        trigger_px=optional_decimal(row[8]),
        reduce_only=bool(row[9]),
        created_ms=row[10],
        expires_ms=row[11],
        strategy=row[12],
        source=row[13],
        reason=row[14],
        stop_px=row[15],
        target_px=row[16],
    )
    return Order(intent, OrderState(row[17]), Decimal(row[18]), optional_decimal(row[19]), row[20], row[21])


def fill(row: SqlRow) -> Fill:
    """Return the fill of FILL_COLUMNS."""
    return Fill(
        fill_id=row[0],
        cloid=row[1],
        symbol=row[2],
        side=OrderSide(row[3]),
        px=Decimal(row[4]),
        size=Decimal(row[5]),
        fee_usd=Decimal(row[6]),
        liquidity=Liquidity(row[7]),
        venue_ms=row[8],
        role=OrderRole(row[9]),
        strategy=row[10],
        source=row[11],
        reason=row[12],
        closed_pnl_usd=Decimal(row[13]),
    )


def funding_payment(row: SqlRow) -> FundingPayment:
    """Return the payment of FUNDING_COLUMNS (its rate has come)."""
    return FundingPayment(
        symbol=row[0],
        hour_ms=row[1],
        signed_size=Decimal(row[2]),
        oracle_px=Decimal(row[3]),
        rate=Decimal(row[4]),
        usd=Decimal(row[5]),
        strategy=row[6],
        source=row[7],
    )


def trade(row: SqlRow) -> ClosedTrade:
    """Return the round trip of TRADE_COLUMNS."""
    return ClosedTrade(
        trade_id=row[0],
        symbol=row[1],
        side=Side(row[2]),
        size=Decimal(row[3]),
        entry_px=Decimal(row[4]),
        exit_px=Decimal(row[5]),
        opened_ms=row[6],
        closed_ms=row[7],
        gross_usd=Decimal(row[8]),
        fees_usd=Decimal(row[9]),
        funding_usd=Decimal(row[10]),
        net_usd=Decimal(row[11]),
        exit_reason=row[12],
        strategy=row[13],
        source=row[14],
        entry_decision_id=row[15],
        stopped=bool(row[16]),
    )


def event(row: SqlRow) -> EventRow:
    """Return the event of EVENT_COLUMNS."""
    detail = None if row[5] is None else json.loads(row[5])
    return EventRow(row[0], row[1], row[2], row[3], row[4], detail)
