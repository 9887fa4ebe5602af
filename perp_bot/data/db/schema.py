"""The tables and their forward migrations; `PRAGMA user_version` is the schema's version.

Conventions: times are epoch ms UTC of the venue (`wall_ms` where it is the machine's); money and sizes that took
part in an order are TEXT decimals (exact), research numbers are REAL; JSON columns hold compact JSON with sorted keys.
Tables WITHOUT ROWID name the columns of their key first and in its order: quick_check of SQLite 3.40 (seen 2026-11-21)
reports false NULLs otherwise, and a backup would be thought damaged.
"""

from __future__ import annotations

from perp_bot.core import timeframes

SCHEMA_VERSION = 2

V1 = """
CREATE TABLE candles (
    symbol TEXT NOT NULL, timeframe TEXT NOT NULL, open_ms INTEGER NOT NULL,
    open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, volume REAL NOT NULL,
    trades INTEGER, source TEXT NOT NULL, generated INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (symbol, timeframe, open_ms)
) WITHOUT ROWID;
CREATE TABLE series (
    symbol TEXT NOT NULL, timeframe TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (symbol, timeframe)
) WITHOUT ROWID;
CREATE TABLE asset_ctx_1m (
    symbol TEXT NOT NULL, minute_ms INTEGER NOT NULL,
    mark_open REAL, mark_high REAL, mark_low REAL, mark_close REAL,
    oracle_open REAL, oracle_high REAL, oracle_low REAL, oracle_close REAL,
    open_interest REAL, premium REAL, funding_estimate REAL, samples INTEGER NOT NULL,
    PRIMARY KEY (symbol, minute_ms)
) WITHOUT ROWID;
CREATE TABLE funding_rates (
    symbol TEXT NOT NULL, hour_ms INTEGER NOT NULL, rate REAL NOT NULL, premium REAL,
    PRIMARY KEY (symbol, hour_ms)
) WITHOUT ROWID;
CREATE TABLE signals (
    scale TEXT NOT NULL, venue_ms INTEGER NOT NULL, snapshot_json TEXT NOT NULL,
    PRIMARY KEY (scale, venue_ms)
) WITHOUT ROWID;
CREATE TABLE prediction_snapshots (
    venue_ms INTEGER PRIMARY KEY, regime TEXT NOT NULL, war_risk REAL, rate_change REAL, detail_json TEXT NOT NULL
);
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY,
    decision_id TEXT NOT NULL UNIQUE, symbol TEXT NOT NULL, timeframe TEXT NOT NULL, close_ms INTEGER NOT NULL,
    strategy TEXT NOT NULL, source TEXT NOT NULL, action TEXT NOT NULL, side TEXT, reason TEXT NOT NULL,
    close_px REAL, stop_px REAL, target_px REAL, notional_usd REAL, regime TEXT NOT NULL, provisional INTEGER NOT NULL,
    indicators_json TEXT NOT NULL, conditions_json TEXT NOT NULL, thresholds_json TEXT NOT NULL,
    account_json TEXT NOT NULL, blocked_json TEXT NOT NULL, signals_json TEXT
);
CREATE INDEX decisions_by_close ON decisions (close_ms, symbol);
CREATE TABLE decision_latency (
    decision_id TEXT PRIMARY KEY, wall_ms INTEGER NOT NULL, confirm_ms REAL, decide_ms REAL
) WITHOUT ROWID;
CREATE TABLE orders (
    cloid TEXT PRIMARY KEY, decision_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, role TEXT NOT NULL,
    order_type TEXT NOT NULL, size TEXT NOT NULL, limit_px TEXT, trigger_px TEXT, reduce_only INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER, strategy TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    stop_px REAL, target_px REAL,
    state TEXT NOT NULL, filled TEXT NOT NULL, avg_px TEXT, updated_ms INTEGER NOT NULL, note TEXT NOT NULL
);
CREATE INDEX orders_live ON orders (state) WHERE state IN ('intent', 'open', 'partly_filled', 'unknown');
CREATE TABLE fills (
    seq INTEGER PRIMARY KEY,
    fill_id TEXT NOT NULL UNIQUE, cloid TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, px TEXT NOT NULL,
    size TEXT NOT NULL, fee_usd TEXT NOT NULL, liquidity TEXT NOT NULL, venue_ms INTEGER NOT NULL, role TEXT NOT NULL,
    strategy TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, closed_pnl_usd TEXT NOT NULL
);
CREATE TABLE funding_payments (
    source TEXT NOT NULL, symbol TEXT NOT NULL, hour_ms INTEGER NOT NULL, signed_size TEXT NOT NULL,
    oracle_px TEXT NOT NULL, rate TEXT, usd TEXT, strategy TEXT NOT NULL,
    PRIMARY KEY (source, symbol, hour_ms)
) WITHOUT ROWID;
CREATE TABLE trades (
    seq INTEGER PRIMARY KEY,
    trade_id TEXT NOT NULL UNIQUE, symbol TEXT NOT NULL, side TEXT NOT NULL, size TEXT NOT NULL, entry_px TEXT NOT NULL,
    exit_px TEXT NOT NULL, opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL, gross_usd TEXT NOT NULL,
    fees_usd TEXT NOT NULL, funding_usd TEXT NOT NULL, net_usd TEXT NOT NULL, exit_reason TEXT NOT NULL,
    strategy TEXT NOT NULL, source TEXT NOT NULL, entry_decision_id TEXT NOT NULL, stopped INTEGER NOT NULL
);
CREATE INDEX trades_by_close ON trades (closed_ms);
CREATE TABLE positions (
    source TEXT NOT NULL, symbol TEXT NOT NULL, position_json TEXT NOT NULL,
    PRIMARY KEY (source, symbol)
) WITHOUT ROWID;
CREATE TABLE equity (
    source TEXT NOT NULL, venue_ms INTEGER NOT NULL, equity_usd REAL NOT NULL, cash_usd TEXT NOT NULL,
    unrealized_usd REAL NOT NULL, PRIMARY KEY (source, venue_ms)
) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, venue_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL, kind TEXT NOT NULL, symbol TEXT,
    text TEXT NOT NULL, detail_json TEXT
);
CREATE TABLE bot_state (
    key TEXT PRIMARY KEY, value_json TEXT NOT NULL, updated_ms INTEGER NOT NULL
) WITHOUT ROWID;
"""

# Candles are kept in blocks of this many slots of their grid, and every block has a stamp.
BLOCK_SLOTS = 2048
_MONTH_BLOCK_MS = BLOCK_SLOTS * 30 * timeframes.DAY_MS
_OTHER_BLOCK_MS = BLOCK_SLOTS * timeframes.MINUTE_MS


def block_ms(timeframe: str) -> int:
    """Return how long (ms) a block of `timeframe` is: block n holds open times from n to before n + 1 such lengths."""
    if timeframe == "1M":
        return _MONTH_BLOCK_MS
    length_ms = timeframes.FIXED_MS.get(timeframe)
    return _OTHER_BLOCK_MS if length_ms is None else BLOCK_SLOTS * length_ms


def _block(row: str) -> str:
    """Return the SQL of a row's block, rounded down for negative times too."""
    cases = " ".join(f"WHEN '{name}' THEN {block_ms(name)}" for name in timeframes.TIMEFRAMES)
    length = f"(CASE {row}timeframe {cases} ELSE {_OTHER_BLOCK_MS} END)"
    return f"(({row}open_ms-(({row}open_ms%{length})+{length})%{length})/{length})"


def _stamp(row: str) -> str:
    return (
        f"INSERT INTO candle_blocks VALUES ({row}symbol,{row}timeframe,{_block(row)},random()) "
        "ON CONFLICT (symbol,timeframe,block) DO UPDATE SET stamp=excluded.stamp;"
    )


# Whatever changes a candle, this program or any other, draws a new random stamp for its block within the same
# transaction. Equal stamps therefore mean equal rows: in this file, in a copy of it, after a backup was put back.
# A counter would not do: a restored database counts the same numbers a second time, over other rows.
V2 = f"""
CREATE TABLE candle_blocks (
    symbol TEXT NOT NULL, timeframe TEXT NOT NULL, block INTEGER NOT NULL, stamp INTEGER NOT NULL,
    PRIMARY KEY (symbol, timeframe, block)
) WITHOUT ROWID;
INSERT INTO candle_blocks SELECT symbol, timeframe, {_block("")}, random() FROM candles GROUP BY 1, 2, 3;
CREATE TRIGGER candles_inserted AFTER INSERT ON candles BEGIN {_stamp("NEW.")} END;
CREATE TRIGGER candles_updated AFTER UPDATE ON candles BEGIN {_stamp("OLD.")} {_stamp("NEW.")} END;
CREATE TRIGGER candles_deleted AFTER DELETE ON candles BEGIN {_stamp("OLD.")} END;
"""

MIGRATIONS: dict[int, str] = {1: V1, 2: V2}
