"""The SQL that each kind of row becomes. Runs inside the writer's transaction, on the writer's thread.

A row that may come twice (a replay, a restart, a re-read) is either an upsert or an insert-once: then the first one
stands, and a second one that says something else is reported, because one of the two is wrong.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from perp_bot.core.types import Candle, CandleSource, DecisionRecord, Order
from perp_bot.data.db.codec import canonical_json, decimal_text, optional_decimal_text, position_json
from perp_bot.data.db.rows import (
    AssetMinute,
    CandleRows,
    DecisionRow,
    EquityRow,
    EventRow,
    FillRow,
    FundingDueRow,
    FundingPaidRow,
    FundingRateRow,
    OrderRow,
    PositionRow,
    Row,
    SignalRow,
    StateRow,
    TradeRow,
)

_log = logging.getLogger(__name__)

Values = dict[str, Any]


def _upsert_sql(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    updates = ",".join(f"{name}=excluded.{name}" for name in columns if name not in key)
    return (
        f"INSERT INTO {table} ({','.join(columns)}) VALUES ({','.join(':' + name for name in columns)}) "
        f"ON CONFLICT ({','.join(key)}) DO UPDATE SET {updates}"
    )


# A REST or import row is final and replaces anything; a stream row replaces only another stream row. A row that says
# what is stored already changes nothing, so that the revision moves only with the data.
_CANDLE_COLUMNS = ("open", "high", "low", "close", "volume", "trades", "source", "generated")
_CANDLE_SQL = (
    "INSERT INTO candles (symbol,timeframe,open_ms,open,high,low,close,volume,trades,source,generated) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (symbol,timeframe,open_ms) DO UPDATE SET "
    + ",".join(f"{name}=excluded.{name}" for name in _CANDLE_COLUMNS)
    + f" WHERE (candles.source='{CandleSource.STREAM.value}' OR excluded.source<>'{CandleSource.STREAM.value}') AND ("
    + " OR ".join(f"candles.{name} IS NOT excluded.{name}" for name in _CANDLE_COLUMNS)
    + ")"
)
_REVISION_SQL = (
    "INSERT INTO series (symbol,timeframe,revision) VALUES (?,?,1) "
    "ON CONFLICT (symbol,timeframe) DO UPDATE SET revision=revision+1"
)


def _apply_candles(connection: sqlite3.Connection, row: CandleRows) -> None:
    by_series: dict[tuple[str, str], list[Candle]] = {}
    for candle in row.candles:
        by_series.setdefault((candle.symbol, candle.timeframe), []).append(candle)
    for series, candles in by_series.items():
        changed = connection.executemany(
            _CANDLE_SQL,
            [
                (c.symbol, c.timeframe, c.open_ms, c.open, c.high, c.low, c.close, c.volume, c.trades, c.source.value,
                 int(row.generated))
                for c in candles
            ],
        ).rowcount  # fmt: skip
        if changed:
            connection.execute(_REVISION_SQL, series)


# A restart splits a minute in two: the halves are joined, and the same half twice changes nothing.
_MINUTE_SQL = """
INSERT INTO asset_ctx_1m VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (symbol, minute_ms) DO UPDATE SET
    mark_open=coalesce(mark_open, excluded.mark_open),
    mark_high=coalesce(max(mark_high, excluded.mark_high), mark_high, excluded.mark_high),
    mark_low=coalesce(min(mark_low, excluded.mark_low), mark_low, excluded.mark_low),
    mark_close=coalesce(excluded.mark_close, mark_close),
    oracle_open=coalesce(oracle_open, excluded.oracle_open),
    oracle_high=coalesce(max(oracle_high, excluded.oracle_high), oracle_high, excluded.oracle_high),
    oracle_low=coalesce(min(oracle_low, excluded.oracle_low), oracle_low, excluded.oracle_low),
    oracle_close=coalesce(excluded.oracle_close, oracle_close),
    open_interest=coalesce(excluded.open_interest, open_interest),
    premium=coalesce(excluded.premium, premium),
    funding_estimate=coalesce(excluded.funding_estimate, funding_estimate),
    samples=max(samples, excluded.samples)
"""


def _apply_minute(connection: sqlite3.Connection, row: AssetMinute) -> None:
    connection.execute(
        _MINUTE_SQL,
        (row.symbol, row.minute_ms, *row.mark_ohlc, *row.oracle_ohlc, row.open_interest, row.premium,
         row.funding_estimate, row.samples),
    )  # fmt: skip


_FUNDING_RATE_SQL = _upsert_sql("funding_rates", ("symbol", "hour_ms", "rate", "premium"), ("symbol", "hour_ms"))


def _apply_funding_rate(connection: sqlite3.Connection, row: FundingRateRow) -> None:
    rate = row.funding
    connection.execute(
        _FUNDING_RATE_SQL,
        {"symbol": rate.symbol, "hour_ms": rate.hour_ms, "rate": rate.rate, "premium": rate.premium},
    )


def _insert_once(connection: sqlite3.Connection, table: str, key: str, values: Values) -> bool:
    # `ON CONFLICT (key) DO NOTHING`, not `OR IGNORE`: that would also swallow a missing value.
    columns = ",".join(values)
    inserted = connection.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({','.join(':' + name for name in values)}) "
        f"ON CONFLICT ({key}) DO NOTHING",
        values,
    ).rowcount
    if inserted:
        return True
    stored = connection.execute(f"SELECT {columns} FROM {table} WHERE {key}=?", (values[key],)).fetchone()
    differing = [name for name, was in zip(values, stored, strict=True) if was != _stored_form(values[name])]
    if differing:
        _log.error(
            "%s %s came twice and differs in %s; the first one stands", table, values[key], ", ".join(differing),
            extra={"event": "store.duplicate_differs", "table": table, "key": values[key], "columns": differing},
        )  # fmt: skip
    return False


def _correct(connection: sqlite3.Connection, table: str, key: str, values: Values, columns: Sequence[str]) -> None:
    """Insert a row, or change `columns` of the stored one."""
    names = ",".join(values)
    changes = ",".join(f"{name}=excluded.{name}" for name in columns)
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({','.join(':' + name for name in values)}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {changes}",
        values,
    )


def _stored_form(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value  # SQLite stores NaN as NULL


def _decision_values(record: DecisionRecord) -> Values:
    return {
        "decision_id": record.decision_id,
        "symbol": record.symbol,
        "timeframe": record.timeframe,
        "close_ms": record.close_ms,
        "strategy": record.strategy,
        "source": record.source,
        "action": record.action.value,
        "side": None if record.side is None else record.side.value,
        "reason": record.reason,
        "close_px": record.close_px,
        "stop_px": record.stop_px,
        "target_px": record.target_px,
        "notional_usd": record.notional_usd,
        "regime": record.regime.value,
        "provisional": int(record.provisional),
        "indicators_json": canonical_json(record.indicators),
        "conditions_json": canonical_json(record.conditions),
        "thresholds_json": canonical_json(record.thresholds),
        "account_json": canonical_json(record.account),
        "blocked_json": canonical_json([{"rule": reason.rule, "text": reason.text} for reason in record.blocked_by]),
        "signals_json": None if record.signals is None else canonical_json(record.signals),
    }


def _apply_decision(connection: sqlite3.Connection, row: DecisionRow) -> None:
    if _insert_once(connection, "decisions", "decision_id", _decision_values(row.record)):
        connection.execute(
            "INSERT INTO decision_latency (decision_id,wall_ms,confirm_ms,decide_ms) VALUES (?,?,?,?) "
            "ON CONFLICT (decision_id) DO NOTHING",
            (row.record.decision_id, row.wall_ms, row.confirm_ms, row.decide_ms),
        )


def _order_values(order: Order) -> Values:
    intent = order.intent
    return {
        "cloid": intent.cloid,
        "decision_id": intent.decision_id,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "role": intent.role.value,
        "order_type": intent.order_type.value,
        "size": decimal_text(intent.size),
        "limit_px": optional_decimal_text(intent.limit_px),
        "trigger_px": optional_decimal_text(intent.trigger_px),
        "reduce_only": int(intent.reduce_only),
        "created_ms": intent.created_ms,
        "expires_ms": intent.expires_ms,
        "strategy": intent.strategy,
        "source": intent.source,
        "reason": intent.reason,
        "stop_px": intent.stop_px,
        "target_px": intent.target_px,
        "state": order.state.value,
        "filled": decimal_text(order.filled),
        "avg_px": optional_decimal_text(order.avg_px),
        "updated_ms": order.updated_ms,
        "note": order.note,
    }


def _apply_order(connection: sqlite3.Connection, row: OrderRow) -> None:
    values = _order_values(row.order)
    connection.execute(_upsert_sql("orders", tuple(values), ("cloid",)), values)


def _apply_fill(connection: sqlite3.Connection, row: FillRow) -> None:
    fill = row.fill
    _insert_once(
        connection,
        "fills",
        "fill_id",
        {
            "fill_id": fill.fill_id,
            "cloid": fill.cloid,
            "symbol": fill.symbol,
            "side": fill.side.value,
            "px": decimal_text(fill.px),
            "size": decimal_text(fill.size),
            "fee_usd": decimal_text(fill.fee_usd),
            "liquidity": fill.liquidity.value,
            "venue_ms": fill.venue_ms,
            "role": fill.role.value,
            "strategy": fill.strategy,
            "source": fill.source,
            "reason": fill.reason,
            "closed_pnl_usd": decimal_text(fill.closed_pnl_usd),
        },
    )


def _apply_funding_due(connection: sqlite3.Connection, row: FundingDueRow) -> None:
    # An hour already paid stays paid.
    connection.execute(
        "INSERT INTO funding_payments (symbol,hour_ms,signed_size,oracle_px,rate,usd,strategy,source) "
        "VALUES (?,?,?,?,NULL,NULL,?,?) ON CONFLICT (source,symbol,hour_ms) DO NOTHING",
        (row.symbol, row.hour_ms, row.signed_size, row.oracle_px, row.strategy, row.source),
    )


_FUNDING_PAID_SQL = _upsert_sql(
    "funding_payments",
    ("symbol", "hour_ms", "signed_size", "oracle_px", "rate", "usd", "strategy", "source"),
    ("source", "symbol", "hour_ms"),
)


def _apply_funding_paid(connection: sqlite3.Connection, row: FundingPaidRow) -> None:
    paid = row.payment
    connection.execute(
        _FUNDING_PAID_SQL,
        {
            "symbol": paid.symbol,
            "hour_ms": paid.hour_ms,
            "signed_size": decimal_text(paid.signed_size),
            "oracle_px": decimal_text(paid.oracle_px),
            "rate": decimal_text(paid.rate),
            "usd": decimal_text(paid.usd),
            "strategy": paid.strategy,
            "source": paid.source,
        },
    )


def _apply_trade(connection: sqlite3.Connection, row: TradeRow) -> None:
    trade = row.trade
    # Funding of the last hour may arrive after the trade closed: it corrects the row, nothing else ever does.
    _correct(
        connection,
        "trades",
        "trade_id",
        columns=("funding_usd", "net_usd"),
        values={
            "trade_id": trade.trade_id,
            "symbol": trade.symbol,
            "side": trade.side.value,
            "size": decimal_text(trade.size),
            "entry_px": decimal_text(trade.entry_px),
            "exit_px": decimal_text(trade.exit_px),
            "opened_ms": trade.opened_ms,
            "closed_ms": trade.closed_ms,
            "gross_usd": decimal_text(trade.gross_usd),
            "fees_usd": decimal_text(trade.fees_usd),
            "funding_usd": decimal_text(trade.funding_usd),
            "net_usd": decimal_text(trade.net_usd),
            "exit_reason": trade.exit_reason,
            "strategy": trade.strategy,
            "source": trade.source,
            "entry_decision_id": trade.entry_decision_id,
            "stopped": int(trade.stopped),
        },
    )


def _apply_position(connection: sqlite3.Connection, row: PositionRow) -> None:
    if row.position is None:
        connection.execute("DELETE FROM positions WHERE source=? AND symbol=?", (row.source, row.symbol))
        return
    if (row.position.source, row.position.symbol) != (row.source, row.symbol):
        raise ValueError(f"a position of {row.position.source} {row.position.symbol} under {row.source} {row.symbol}")
    connection.execute(
        "INSERT INTO positions (source,symbol,position_json) VALUES (?,?,?) "
        "ON CONFLICT (source,symbol) DO UPDATE SET position_json=excluded.position_json",
        (row.source, row.symbol, position_json(row.position)),
    )


_EQUITY_SQL = _upsert_sql(
    "equity", ("source", "venue_ms", "equity_usd", "cash_usd", "unrealized_usd"), ("source", "venue_ms")
)


def _apply_equity(connection: sqlite3.Connection, row: EquityRow) -> None:
    connection.execute(
        _EQUITY_SQL,
        {
            "source": row.source,
            "venue_ms": row.venue_ms,
            "equity_usd": row.equity_usd,
            "cash_usd": row.cash_usd,
            "unrealized_usd": row.unrealized_usd,
        },
    )


def _apply_event(connection: sqlite3.Connection, row: EventRow) -> None:
    detail = None if row.detail is None else canonical_json(row.detail)
    connection.execute(
        "INSERT INTO events (venue_ms,wall_ms,kind,symbol,text,detail_json) VALUES (?,?,?,?,?,?)",
        (row.venue_ms, row.wall_ms, row.kind, row.symbol, row.text, detail),
    )


def _apply_state(connection: sqlite3.Connection, row: StateRow) -> None:
    connection.execute(
        "INSERT INTO bot_state (key,value_json,updated_ms) VALUES (?,?,?) "
        "ON CONFLICT (key) DO UPDATE SET value_json=excluded.value_json, updated_ms=excluded.updated_ms",
        (row.key, canonical_json(row.value), row.updated_ms),
    )


def _apply_signal(connection: sqlite3.Connection, row: SignalRow) -> None:
    connection.execute(
        "INSERT INTO signals (venue_ms,scale,snapshot_json) VALUES (?,?,?) "
        "ON CONFLICT (scale,venue_ms) DO UPDATE SET snapshot_json=excluded.snapshot_json",
        (row.venue_ms, row.scale, canonical_json(row.snapshot)),
    )


_APPLY: dict[type[Any], Callable[[sqlite3.Connection, Any], None]] = {
    CandleRows: _apply_candles,
    AssetMinute: _apply_minute,
    FundingRateRow: _apply_funding_rate,
    DecisionRow: _apply_decision,
    OrderRow: _apply_order,
    FillRow: _apply_fill,
    FundingDueRow: _apply_funding_due,
    FundingPaidRow: _apply_funding_paid,
    TradeRow: _apply_trade,
    PositionRow: _apply_position,
    EquityRow: _apply_equity,
    EventRow: _apply_event,
    StateRow: _apply_state,
    SignalRow: _apply_signal,
}


def apply(connection: sqlite3.Connection, row: Row) -> None:
    """Write `row` within the open transaction.

    Raises:
        sqlite3.Error: when the database failed or refused the values.
        ValueError, TypeError, OverflowError: when the row holds a value that cannot be stored.
    """
    write = _APPLY.get(type(row))
    if write is None:
        raise TypeError(f"{type(row).__name__} is not a kind of row the store knows")
    write(connection, row)
