"""The layout of everything that crosses into the account kernel: bits, codes, and the columns of its tables."""

from __future__ import annotations

# ---------------------------------------------------------------- what the strategy says of a bar

ENTER_LONG, ENTER_SHORT = 1, 2
FIRST_WAITING = 2  # from this side of a candidate on: for an entry of that side that waits already
EXIT_LONG, EXIT_SHORT, STOP_LONG, STOP_SHORT = 4, 8, 16, 32  # the last two: the strategy's own stop (starts a cooldown)

# ---------------------------------------------------------------- why a position ended

EXIT, STRATEGY_EXIT_STOP, TIMEOUT, CAPITAL_STOP, TARGET, LIQUIDATION, STRATEGY_STOP, TRAILING_STOP = range(8)

# ---------------------------------------------------------------- what forbade an entry

(
    LEVERAGE,
    DELISTED,
    REGIME,
    EQUITY_UNKNOWN,
    DAILY_LOSS,
    SESSION_DRAWDOWN,
    MAX_DRAWDOWN,
    MAX_POSITIONS,
    COOLDOWN,
    LOSING_WEEKS,
    MARGIN_LIMIT,
    INSUFFICIENT_MARGIN,
    MAX_TRADES_PER_DAY,
    SIZE,
    BEYOND_LIQUIDATION,
    ENTRIES_BLOCKED,  # entries that one rule or several forbade
    NO_MARKET,  # entries that went out into a missing candle and were given up
    RESUMES,
    COUNTS,
) = range(19)

# ---------------------------------------------------------------- settings of one account, one row a parameter set

(
    START_USD,
    CAPITAL_USD,
    IS_COMPOUNDING,
    MARGIN_SHARE,
    LEVERAGE_SET,
    AT_RISK_SHARE,
    DAILY_LOSS_LIMIT,
    SESSION_LIMIT,
    DRAWDOWN_LIMIT,
    POSITIONS_LIMIT,
    COOLDOWN_MS,
    TIMEOUT_MS,
    WEEKS_LIMIT,
    RESUME_MS,
    IS_LIMIT,
    FALLBACK_MS,
    DELAY,
    CANCEL_IF_GONE,
    MAKER_FEE,
    TAKER_FEE,
    SLIP_LEAST,
    SLIP_MOST,
    SEED,
    TRADES_A_DAY,  # 0: no limit
    TRAIL_AFTER,  # 0: no trailing
    TRAIL_DISTANCE,
    TRAIL_STEP,
    EXIT_ROW,  # which of the exit columns
    SETTINGS,
) = range(29)

# ---------------------------------------------------------------- columns of a trade

(
    T_SYMBOL,
    T_SIDE,
    T_DECIDED,
    T_OPENED,
    T_CLOSED,
    T_SIZE,
    T_ENTRY,
    T_EXIT,
    T_STOP,
    T_REASON,
    T_MAKER,
    T_GROSS,
    T_FEES,
    T_FUNDING,
    T_SLIPPAGE,
    T_NET,
    T_MAE,
    T_MFE,
    T_MISSING,
    T_LAST_STOP,
    TRADE_COLUMNS,
) = range(21)

# ---------------------------------------------------------------- sums of a run

(
    S_TRADES,
    S_GROSS,
    S_FEES,
    S_FUNDING,
    S_SLIPPAGE,
    S_NET,
    S_WINS,
    S_WON_USD,
    S_LOST_USD,
    S_END_USD,
    S_OPEN,
    S_MISSING_HOURS,
    S_DRAWDOWN,  # fraction of the peak before it
    S_DRAWDOWN_USD,
    S_R1,  # sums over boundaries of the return, its square, ...
    S_R2,
    S_DOWN2,  # squares of the negative ones
    S_HELD,  # boundaries with a position
    SUMS,
) = range(19)

# ---------------------------------------------------------------- a trade that is remembered

(
    M_BAR,  # the bar it ended in; 0: not known yet
    M_REASON,
    M_DUE,
    M_AT,
    M_SIZE,
    M_ENTRY,
    M_STOP,
    M_OPENED,
    M_FEE,
    M_FUNDING,
    M_SLIPPAGE,
    M_MISSING,
    M_HIGH,
    M_LOW,
    M_LAST,
    M_DAY,
    M_DAY_WORTH,
    M_LIMIT,
    M_ASKED_STOP,
    M_EXIT,
    M_EXIT_FEE,
    REMEMBERED,
) = range(22)

# ---------------------------------------------------------------- per symbol

I_SZ, I_MAX_LEVERAGE, I_DELISTED, I_KEY, I_TIERS, I_COLUMNS = range(6)

# what a symbol does in a bar; a new position adds the slot it opened in, and whether as maker
NOTHING, STAYS, LEAVES, UNSEEN, ENTERS = range(5)
AS_MAKER = 1_000_000

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
HOUR_MS = 3_600_000
MONDAY_MS = 3 * DAY_MS  # 1970-01-01 was a Thursday
TOLERANCE = 1e-9  # of `risk.limits`: a size truncated to the limit itself is within it
NUDGE = 0.00001  # of `risk.sizing`
MIN_NOTIONAL_USD = 10.0
