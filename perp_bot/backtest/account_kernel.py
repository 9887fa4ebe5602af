"""The one account of all strategies, compiled: fills, costs, gates and equity, boundary by boundary.

What a strategy wants comes in as data: exit bits of every bar, and the bars at which it may enter with the numbers
that decide it. Everything that the daemon's account, risk rules and executor do with it is done here in the same
order, in floats; `plain.py` does it with the daemon's own objects, and tests compare the two trade by trade.

"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from perp_bot.backtest import arithmetic, luck

# ---------------------------------------------------------------- what the strategy says of a bar

ENTER_LONG, ENTER_SHORT = 1, 2
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
    TRADE_COLUMNS,
) = range(20)

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

_U11, _U27, _U30, _U31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_GOLDEN, _MIX_A, _MIX_B = np.uint64(luck.GOLDEN), np.uint64(luck.MIX_A), np.uint64(luck.MIX_B)

power_of_ten = register_jitable(arithmetic.power_of_ten)
decimals_at = register_jitable(arithmetic.decimals_at)
tick_down = register_jitable(arithmetic.tick_down)
tick_up = register_jitable(arithmetic.tick_up)
next_tick = register_jitable(arithmetic.next_tick)
lots_down = register_jitable(arithmetic.lots_down)
to_money = register_jitable(arithmetic.to_money)


@register_jitable
def draw(seed, symbol_key, at_ms, role):  # type: ignore[no-untyped-def]
    """Return `luck.unit_draw`, in machine words."""
    z = np.uint64(seed) * _GOLDEN + np.uint64(symbol_key) * _MIX_A + np.uint64(role) * _MIX_B + np.uint64(at_ms)
    for _ in range(2):
        z = z + _GOLDEN
        z = (z ^ (z >> _U30)) * _MIX_A
        z = (z ^ (z >> _U27)) * _MIX_B
        z = z ^ (z >> _U31)
    return np.float64(z >> _U11) / 9007199254740992.0


@register_jitable
def taker_px(ref_px, sign, setting, symbol_key, at_ms, role, sz_decimals):  # type: ignore[no-untyped-def]
    """Return the price that a taker pays (`sign` +1) or gets (-1): the due price, slipped, on the tick against us."""
    share = setting[SLIP_LEAST] + (setting[SLIP_MOST] - setting[SLIP_LEAST]) * draw(
        setting[SEED], symbol_key, at_ms, role
    )
    slipped = ref_px * (1.0 + sign * share)
    if sign > 0:
        return tick_up(slipped, sz_decimals)
    down = tick_down(slipped, sz_decimals)
    return down if down > 0.0 else tick_up(slipped, sz_decimals)


@register_jitable
def capital_stop(side, entry_px, size, at_risk_usd, sz_decimals):  # type: ignore[no-untyped-def]
    """Return the price at which a position has lost `at_risk_usd`, rounded inward; 0.0 when not beyond the entry."""
    distance = at_risk_usd / size
    if side > 0:
        exact = entry_px - distance
        lowest = 1.0 / power_of_ten(6 - sz_decimals)
        stop = lowest if exact <= lowest else tick_up(exact, sz_decimals)
        return stop if stop < entry_px else 0.0
    stop = tick_down(entry_px + distance, sz_decimals)
    return stop if stop > entry_px else 0.0


@register_jitable
def nearer_stop(side, entry_px, capital_px, own_px, sz_decimals):  # type: ignore[no-untyped-def]
    """Return the nearer of the capital stop and the strategy's own, where that is on the losing side of the entry."""
    if not own_px > 0.0:  # NaN: none
        return capital_px
    if side > 0:
        own = tick_up(own_px, sz_decimals)
        return max(capital_px, own) if own < entry_px else capital_px
    own = tick_down(own_px, sz_decimals)
    return min(capital_px, own) if own > entry_px else capital_px


@register_jitable
def maintenance_usd(notional, row, tier_bound, tier_rate, tier_deducted, tiers):  # type: ignore[no-untyped-def]
    """Return the maintenance margin of a notional: rate x notional - deduction of its tier."""
    tier = 0
    for n in range(1, tiers):
        if notional >= tier_bound[row, n]:
            tier = n
    return notional * tier_rate[row, tier] - tier_deducted[row, tier]


@register_jitable
def liquidation_price(side, size, other_usd, row, tier_bound, tier_rate, tier_deducted, tiers):  # type: ignore[no-untyped-def]
    """Return the price at which equity (other_usd + side x size x price) equals the maintenance margin; 0.0 for none.

    other_usd + side x size x p = size x p x rate - deducted, in the tier that the price itself belongs to.
    """
    for n in range(tiers):
        price = (other_usd + tier_deducted[row, n]) / (size * (tier_rate[row, n] - side))
        notional = size * price
        above = tier_bound[row, n + 1] if n + 1 < tiers else np.inf
        if price > 0.0 and tier_bound[row, n] <= notional < above:
            return price
    return 0.0


@register_jitable
def week_of(at_ms):  # type: ignore[no-untyped-def]
    """Return the start of the calendar week (Monday)."""
    return at_ms - (at_ms + MONDAY_MS) % WEEK_MS


@register_jitable
def walk(  # type: ignore[no-untyped-def]
    side, stop, target, liquidation, due_ms, first_ms, slot_ms, begin, end, skip_open, maker_slot,
    o, h, lo, tlo, thi,
):  # fmt: skip
    """Follow the slots `begin`..`end` of the finest path; return (reason or -1, due price, slot).

    The open comes first: due timeout, gap through liquidation, stop or target. Then inside the slot the worst order:
    liquidation or stop, whichever is nearer, before the target.
    """
    for k in range(begin, end):
        opened = o[k]
        if not (k == begin and skip_open):
            if first_ms + (k - begin) * slot_ms >= due_ms:
                return TIMEOUT, opened, k
            if liquidation > 0.0 and (opened - liquidation) * side <= 0.0:
                return LIQUIDATION, opened, k
            if (opened - stop) * side <= 0.0:
                return CAPITAL_STOP, opened, k
            if target > 0.0 and (opened - target) * side >= 0.0:
                return TARGET, opened, k
        worst = tlo[k] if side > 0 else thi[k]
        best = thi[k] if side > 0 else tlo[k]
        if liquidation > 0.0 and (liquidation - stop) * side > 0.0 and (worst - liquidation) * side <= 0.0:
            return LIQUIDATION, min(max(liquidation, lo[k]), h[k]), k
        if (worst - stop) * side <= 0.0:
            return CAPITAL_STOP, min(max(stop, lo[k]), h[k]), k
        if target > 0.0 and k != maker_slot and (best - target) * side >= 0.0:
            return TARGET, min(max(target, lo[k]), h[k]), k
    return -1, 0.0, end


@register_jitable
def admits(e, sym_side, values, limits, regime):  # type: ignore[no-untyped-def]
    """Whether the numbers of candidate `e` are all below the limits of its side in a regime."""
    for v in range(values.shape[1]):  # noqa: SIM110 - numba compiles the loop, not the generator
        if not values[e, v] < limits[sym_side, regime, v]:
            return False
    return True


def simulate(  # type: ignore[no-untyped-def]
    first_ms, step_ms, begin, end,
    open_, high, low, close, trigger_low, trigger_high,
    fine_step_ms, fine_per_bar, fine_open, fine_high, fine_low, fine_trigger_low, fine_trigger_high, fine_whole,
    first_hour_ms, rates, oracles,
    instruments, tier_bound, tier_rate, tier_deducted,
    regimes, size_factors, entries_allowed,
    exit_bits,
    candidate_bar, candidate_symbol, candidate_side, candidate_values, candidate_stop, candidate_target,
    limits, setting,
    trades, equity_out, held_out, counts, sums,
):  # fmt: skip
    """Run one account over the bars `begin`..`end` - 1: decisions at their closes, fills at the open of the next.

    Prices are (symbols, bars) on one grid that starts at `first_ms`, NaN where a candle is missing. Candidates are
    sorted by bar, then symbol; `limits` is (side, regime, value). `trades`, `equity_out`, `held_out` may have no rows.
    """
    symbols = open_.shape[0]
    bars = open_.shape[1]
    has_regimes = len(regimes) > 0
    wants_equity = len(equity_out) > 0
    candidates = len(candidate_bar)

    # positions
    side = np.zeros(symbols, np.int64)
    size = np.zeros(symbols)
    entry = np.zeros(symbols)
    stop = np.zeros(symbols)
    stop_kind = np.zeros(symbols, np.int64)
    first_stop = np.zeros(symbols)
    target = np.zeros(symbols)
    opened_ms = np.zeros(symbols, np.int64)
    decided_ms = np.zeros(symbols, np.int64)
    fees = np.zeros(symbols)
    funding = np.zeros(symbols)
    slippage = np.zeros(symbols)
    missing = np.zeros(symbols, np.int64)
    worst_px = np.zeros(symbols)
    best_px = np.zeros(symbols)
    is_maker = np.zeros(symbols, np.int64)
    mark = np.zeros(symbols)
    leaving = np.full(symbols, -1, np.int64)  # reason of an exit that is due at the next open
    # entries that go out at the next open
    asked = np.zeros(symbols, np.int64)
    asked_size = np.zeros(symbols)
    asked_limit = np.zeros(symbols)
    asked_stop = np.zeros(symbols)
    asked_target = np.zeros(symbols)
    asked_risk = np.zeros(symbols)
    # delayed entries
    waiting = np.zeros(symbols, np.int64)
    waited = np.zeros(symbols, np.int64)
    wanted = np.zeros(symbols, np.int64)
    wanted_by = np.zeros(symbols, np.int64)
    walked = np.zeros(symbols, np.int64)

    cash = setting[START_USD]
    n_open = 0
    n_asked = 0
    n_waiting = 0
    n_trades = 0
    # risk state
    day_start = np.int64(-1)
    day_start_usd = -1.0
    day_net = 0.0
    last_usd = -1.0
    session_peak = -1.0
    session_paused = False
    peak = -1.0
    paused_at = np.int64(-1)
    drawdown_paused = False
    cooldown_until = np.int64(-1)
    week = np.int64(-1)
    week_net = 0.0
    week_has = False
    losing = 0
    entries_day = np.int64(-1)
    entries_today = 0
    # curve
    previous_usd = setting[START_USD]
    curve_peak = setting[START_USD]

    is_limit = setting[IS_LIMIT] > 0.0
    delay = int(setting[DELAY])
    timeout_ms = np.int64(setting[TIMEOUT_MS])
    resume_ms = np.int64(setting[RESUME_MS])
    exit_row = int(setting[EXIT_ROW])
    slots_in_window = np.int64(setting[FALLBACK_MS]) // fine_step_ms if fine_per_bar > 0 else np.int64(0)

    e = 0
    b = begin
    while b < end:
        # ---------------------------------------------------------------- nothing can happen before the next candidate
        if n_open == 0 and n_asked == 0 and n_waiting == 0:
            while e < candidates:
                if candidate_bar[e] >= b:
                    at = candidate_bar[e]
                    now_regime = regimes[at] if has_regimes else 0
                    if admits(e, candidate_side[e], candidate_values, limits, now_regime):
                        break
                e += 1
            jump = candidate_bar[e] if e < candidates else end - 1
            jump = min(jump, end - 1)
            if wants_equity:
                for k in range(b, jump):
                    equity_out[k - begin] = cash
                    held_out[k - begin] = 0.0
            b = max(b, jump)
        bar_ms = first_ms + b * step_ms
        close_ms = bar_ms + step_ms

        # ---------------------------------------------------------------- the open and the inside of this bar
        if n_open > 0 or n_asked > 0:
            for s in range(symbols):
                walked[s] = 0
                has_bar = open_[s, b] == open_[s, b]
                is_fine = fine_per_bar > 0 and fine_whole[s, b] > 0
                sz = int(instruments[s, I_SZ])
                key = np.int64(instruments[s, I_KEY])
                if side[s] != 0:
                    if not has_bar:
                        walked[s] = UNSEEN
                    elif leaving[s] >= 0 or opened_ms[s] + timeout_ms <= bar_ms:
                        walked[s] = LEAVES
                    else:
                        walked[s] = STAYS
                elif asked[s] != 0:
                    n_asked -= 1
                    d = asked[s]
                    asked[s] = 0
                    if not has_bar:
                        counts[NO_MARKET] += 1
                    else:
                        at_ms = bar_ms
                        ref_px = open_[s, b]
                        first_slot = 0
                        maker = False
                        if is_limit and is_fine and slots_in_window > 0:
                            base = b * fine_per_bar
                            window = min(slots_in_window, fine_per_bar)
                            first_slot = -1
                            for k in range(window):
                                through = (
                                    fine_low[s, base + k] < asked_limit[s]
                                    if d > 0
                                    else fine_high[s, base + k] > asked_limit[s]
                                )
                                if through:
                                    maker = True
                                    first_slot = k
                                    at_ms = bar_ms + (k + 1) * fine_step_ms - 1
                                    break
                            if not maker:
                                after = (np.int64(setting[FALLBACK_MS]) + fine_step_ms - 1) // fine_step_ms
                                first_slot = min(after, fine_per_bar - 1)
                                at_ms = bar_ms + first_slot * fine_step_ms
                                ref_px = fine_open[s, base + first_slot]
                        if maker:
                            px = asked_limit[s]
                            fee = to_money(asked_size[s] * px * setting[MAKER_FEE])
                            lost = 0.0
                        else:
                            px = taker_px(ref_px, d, setting, key, at_ms, luck.ENTRY, sz)
                            fee = to_money(asked_size[s] * px * setting[TAKER_FEE])
                            lost = (px - ref_px) * d * asked_size[s]
                        side[s] = d
                        size[s] = asked_size[s]
                        entry[s] = px
                        cash -= size[s] * d * px + fee
                        fees[s] = fee
                        funding[s] = 0.0
                        slippage[s] = lost
                        missing[s] = 0
                        worst_px[s] = px
                        best_px[s] = px
                        is_maker[s] = 1 if maker else 0
                        opened_ms[s] = at_ms
                        decided_ms[s] = bar_ms
                        target[s] = asked_target[s] if asked_target[s] > 0.0 else 0.0
                        capital_px = capital_stop(d, px, size[s], asked_risk[s], sz)
                        if capital_px == 0.0:  # the risk is less than a tick: the next price beyond the entry
                            nudged = px * (1.0 - d * NUDGE)
                            capital_px = tick_down(nudged, sz) if d > 0 else tick_up(nudged, sz)
                            stop[s] = capital_px
                        else:
                            stop[s] = nearer_stop(d, px, capital_px, asked_stop[s], sz)
                        stop_kind[s] = CAPITAL_STOP if stop[s] == capital_px else STRATEGY_STOP
                        first_stop[s] = stop[s]
                        leaving[s] = -1
                        mark[s] = px
                        n_open += 1
                        today = at_ms - at_ms % DAY_MS
                        if today != entries_day:
                            entries_day = today
                            entries_today = 0
                        entries_today += 1
                        walked[s] = ENTERS + first_slot + (AS_MAKER if maker else 0)
            # exits at the open first, then what happens inside, symbol by symbol
            for turn in range(2 * symbols):
                s = turn % symbols
                if side[s] == 0 or walked[s] == NOTHING or (walked[s] == LEAVES) != (turn < symbols):
                    continue
                is_fine = fine_per_bar > 0 and fine_whole[s, b] > 0
                sz = int(instruments[s, I_SZ])
                key = np.int64(instruments[s, I_KEY])
                due_ms = opened_ms[s] + timeout_ms
                reason = -1
                due_px = 0.0
                at_ms = bar_ms
                d = side[s]
                if walked[s] == LEAVES:
                    reason = leaving[s] if leaving[s] >= 0 else TIMEOUT
                    due_px = open_[s, b]
                elif walked[s] != UNSEEN:
                    is_new = walked[s] >= ENTERS
                    other = cash
                    for k in range(symbols):
                        if k != s and side[k] != 0:
                            other += side[k] * size[k] * mark[k]
                    adverse = trigger_low[s, b] if d > 0 else trigger_high[s, b]
                    better = trigger_high[s, b] if d > 0 else trigger_low[s, b]
                    tiers = int(instruments[s, I_TIERS])
                    at_worst = other + d * size[s] * adverse
                    is_ruin = at_worst <= maintenance_usd(
                        size[s] * adverse, s, tier_bound, tier_rate, tier_deducted, tiers
                    )
                    if (
                        is_ruin
                        or (adverse - stop[s]) * d <= 0.0
                        or (open_[s, b] - stop[s]) * d <= 0.0
                        or (target[s] > 0.0 and (better - target[s]) * d >= 0.0)
                        or (is_fine and due_ms < close_ms)
                        or is_new
                    ):
                        liquidation = liquidation_price(
                            d, size[s], other, s, tier_bound, tier_rate, tier_deducted, tiers
                        )
                        if is_fine:
                            base = b * fine_per_bar
                            first_slot = 0
                            maker_slot = -1
                            if is_new:
                                first_slot = (walked[s] - ENTERS) % AS_MAKER
                                if walked[s] >= AS_MAKER:
                                    maker_slot = base + first_slot
                            reason, due_px, slot = walk(
                                d, stop[s], target[s], liquidation, due_ms, bar_ms + first_slot * fine_step_ms,
                                fine_step_ms, base + first_slot, base + fine_per_bar, is_new, maker_slot,
                                fine_open[s], fine_high[s], fine_low[s], fine_trigger_low[s], fine_trigger_high[s],
                            )  # fmt: skip
                            at_ms = bar_ms + (slot - base + 1) * fine_step_ms - 1
                            if reason == TIMEOUT:
                                at_ms = bar_ms + (slot - base) * fine_step_ms
                        else:
                            reason, due_px, slot = walk(
                                d, stop[s], target[s], liquidation, due_ms, bar_ms, step_ms, b, b + 1, is_new, -1,
                                open_[s], high[s], low[s], trigger_low[s], trigger_high[s],
                            )  # fmt: skip
                            at_ms = close_ms - 1
                        if reason == CAPITAL_STOP:
                            reason = stop_kind[s]
                # funding of the hours that the position saw in this bar
                until_ms = close_ms if reason < 0 else at_ms
                if walked[s] != LEAVES:
                    hour_ms = max(bar_ms, opened_ms[s])
                    hour_ms = hour_ms - hour_ms % HOUR_MS + HOUR_MS
                    while hour_ms <= until_ms:
                        h = (hour_ms - first_hour_ms) // HOUR_MS
                        if 0 <= h < rates.shape[1] and rates[s, h] == rates[s, h] and oracles[s, h] == oracles[s, h]:
                            usd = -to_money(d * size[s] * oracles[s, h] * rates[s, h])
                            funding[s] += usd
                            cash += usd
                        else:
                            missing[s] += 1
                            sums[S_MISSING_HOURS] += 1
                        hour_ms += HOUR_MS
                    if reason < 0 and walked[s] != UNSEEN:
                        adverse_px = low[s, b] if d > 0 else high[s, b]
                        better_px = high[s, b] if d > 0 else low[s, b]
                        if (adverse_px - worst_px[s]) * d < 0.0:
                            worst_px[s] = adverse_px
                        if (better_px - best_px[s]) * d > 0.0:
                            best_px[s] = better_px
                if reason >= 0:
                    px = taker_px(due_px, -d, setting, key, at_ms, luck.EXIT, sz)
                    fee = to_money(size[s] * px * setting[TAKER_FEE])
                    other = cash
                    for k in range(symbols):
                        if k != s and side[k] != 0:
                            other += side[k] * size[k] * mark[k]
                    if other + d * size[s] * px - fee < 0.0 and reason == LIQUIDATION:
                        # the backstop takes the position over: the account is at 0, never below
                        fee = 0.0
                        px = -other / (d * size[s])
                    cash += d * size[s] * px - fee
                    slippage[s] += (due_px - px) * d * size[s]
                    fees[s] += fee
                    gross = (px - entry[s]) * d * size[s]
                    net = gross - fees[s] + funding[s]
                    if (px - worst_px[s]) * d < 0.0:
                        worst_px[s] = px
                    if (px - best_px[s]) * d > 0.0:
                        best_px[s] = px
                    if n_trades < trades.shape[0]:
                        row = trades[n_trades]
                        row[T_SYMBOL] = s
                        row[T_SIDE] = d
                        row[T_DECIDED] = decided_ms[s]
                        row[T_OPENED] = opened_ms[s]
                        row[T_CLOSED] = at_ms
                        row[T_SIZE] = size[s]
                        row[T_ENTRY] = entry[s]
                        row[T_EXIT] = px
                        row[T_STOP] = first_stop[s]
                        row[T_REASON] = reason
                        row[T_MAKER] = is_maker[s]
                        row[T_GROSS] = gross
                        row[T_FEES] = fees[s]
                        row[T_FUNDING] = funding[s]
                        row[T_SLIPPAGE] = slippage[s]
                        row[T_NET] = net
                        row[T_MAE] = (worst_px[s] - entry[s]) * d * size[s]
                        row[T_MFE] = (best_px[s] - entry[s]) * d * size[s]
                        row[T_MISSING] = missing[s]
                    n_trades += 1
                    sums[S_TRADES] += 1.0
                    sums[S_GROSS] += gross
                    sums[S_FEES] += fees[s]
                    sums[S_FUNDING] += funding[s]
                    sums[S_SLIPPAGE] += slippage[s]
                    sums[S_NET] += net
                    if net > 0.0:
                        sums[S_WINS] += 1.0
                        sums[S_WON_USD] += net
                    else:
                        sums[S_LOST_USD] -= net
                    side[s] = 0
                    leaving[s] = -1
                    n_open -= 1
                    # RiskState.on_trade_closed
                    today = at_ms - at_ms % DAY_MS
                    if today > day_start:
                        day_start = today
                        day_start_usd = last_usd
                        day_net = 0.0
                    if today == day_start:
                        day_net += net
                    if reason != EXIT and reason != TIMEOUT and reason != TARGET:
                        until = at_ms + np.int64(setting[COOLDOWN_MS])
                        if setting[COOLDOWN_MS] > 0.0 and until > cooldown_until:
                            cooldown_until = until
                    this_week = week_of(at_ms)
                    if this_week != week:
                        if week_has:
                            losing = losing + 1 if week_net < 0.0 else 0
                        week = this_week
                        week_net = 0.0
                        week_has = True
                    week_net += net

        # ---------------------------------------------------------------- the close: equity, limits
        usd = cash
        held = 0.0
        for s in range(symbols):
            if side[s] != 0:
                if close[s, b] == close[s, b]:
                    mark[s] = close[s, b]
                usd += side[s] * size[s] * mark[s]
                held += size[s] * mark[s]
        if wants_equity:
            equity_out[b - begin] = usd
            held_out[b - begin] = held
        if usd != previous_usd:
            change = usd / previous_usd - 1.0 if previous_usd > 0.0 else 0.0
            sums[S_R1] += change
            sums[S_R2] += change * change
            if change < 0.0:
                sums[S_DOWN2] += change * change
            previous_usd = usd
            curve_peak = max(curve_peak, usd)
            if curve_peak - usd > sums[S_DRAWDOWN_USD]:
                sums[S_DRAWDOWN_USD] = curve_peak - usd
            if curve_peak > 0.0 and (curve_peak - usd) / curve_peak > sums[S_DRAWDOWN]:
                sums[S_DRAWDOWN] = (curve_peak - usd) / curve_peak
        if held > 0.0:
            sums[S_HELD] += 1.0
        # RiskState.on_equity
        today = close_ms - close_ms % DAY_MS
        if today > day_start:
            day_start = today
            day_start_usd = last_usd
            day_net = 0.0
        if day_start_usd < 0.0 and last_usd < 0.0:
            day_start_usd = usd
        last_usd = usd
        session_peak = max(session_peak, usd)
        peak = max(peak, usd)
        was_paused = session_paused or drawdown_paused
        session_fall = max(0.0, (session_peak - usd) / session_peak) if session_peak > 0.0 else 0.0
        if session_peak > 0.0 and session_fall >= setting[SESSION_LIMIT]:
            session_paused = True
        peak_fall = max(0.0, (peak - usd) / peak) if peak > 0.0 else 0.0
        if peak > 0.0 and peak_fall >= setting[DRAWDOWN_LIMIT]:
            drawdown_paused = True
        if (session_paused or drawdown_paused) and not was_paused:
            paused_at = close_ms
        if resume_ms > 0 and (session_paused or drawdown_paused) and close_ms - paused_at >= resume_ms:
            counts[RESUMES] += 1
            if session_paused:
                session_paused = False
                session_peak = usd
                session_fall = 0.0
            if drawdown_paused:
                drawdown_paused = False
                peak = usd
                peak_fall = 0.0

        # ---------------------------------------------------------------- what the strategy wants
        while e < candidates and candidate_bar[e] < b:
            e += 1
        now_regime = regimes[b] if has_regimes else 0
        for s in range(symbols):
            wanted[s] = 0
        n_wanted = 0
        while e < candidates and candidate_bar[e] == b:
            s = candidate_symbol[e]
            if wanted[s] == 0 and admits(e, candidate_side[e], candidate_values, limits, now_regime):
                wanted[s] = 1 if candidate_side[e] == 0 else -1
                wanted_by[s] = e
                n_wanted += 1
            e += 1
        if b + 1 >= bars:
            break  # decided, but there is no open to fill at
        used_usd = held / setting[LEVERAGE_SET]
        taken = n_open
        if n_open > 0:
            for s in range(symbols):
                if side[s] == 0:
                    continue
                if waiting[s] != 0:
                    waiting[s] = 0
                    n_waiting -= 1
                wanted[s] = 0
                if leaving[s] >= 0 or close[s, b] != close[s, b]:
                    continue
                bits = exit_bits[exit_row, s, b]
                if bits & (STOP_LONG if side[s] > 0 else STOP_SHORT):
                    leaving[s] = STRATEGY_EXIT_STOP
                elif bits & (EXIT_LONG if side[s] > 0 else EXIT_SHORT):
                    leaving[s] = EXIT
                elif setting[TRAIL_AFTER] > 0.0:
                    pass  # trailing comes with the strategy that has it
        if n_wanted == 0 and n_waiting == 0:
            b += 1
            continue
        for s in range(symbols):
            if side[s] != 0 or (wanted[s] == 0 and waiting[s] == 0):
                continue
            sz = int(instruments[s, I_SZ])
            # delay.step
            send = 0
            own = False
            if waiting[s] != 0:
                d = waiting[s]
                is_missed = close[s, b] != close[s, b]
                is_gone = wanted[s] != d and setting[CANCEL_IF_GONE] > 0.0
                if not is_missed and not is_gone:
                    waited[s] += 1
                    if waited[s] >= delay:
                        waiting[s] = 0
                        n_waiting -= 1
                        send = d
                        own = wanted[s] == d
                else:
                    waiting[s] = 0
                    n_waiting -= 1
                    if wanted[s] != 0:
                        waiting[s] = wanted[s]
                        waited[s] = 0
                        n_waiting += 1
            elif delay == 0:
                send = wanted[s]
                own = True
            else:
                waiting[s] = wanted[s]
                waited[s] = 0
                n_waiting += 1
            if send == 0:
                continue
            own_stop = candidate_stop[wanted_by[s]] if own else np.nan
            own_target = candidate_target[wanted_by[s]] if own else np.nan
            # gate
            capital = usd if setting[IS_COMPOUNDING] > 0.0 else setting[CAPITAL_USD]
            factor = size_factors[now_regime] if has_regimes else 1.0
            notional = capital * setting[MARGIN_SHARE] * setting[LEVERAGE_SET] * factor
            blocked = 0
            if instruments[s, I_DELISTED] > 0.0:
                counts[DELISTED] += 1
                blocked += 1
            elif setting[LEVERAGE_SET] > instruments[s, I_MAX_LEVERAGE]:
                counts[LEVERAGE] += 1
                blocked += 1
            if has_regimes and entries_allowed[now_regime] == 0:
                counts[REGIME] += 1
                blocked += 1
            if usd <= 0.0:
                counts[EQUITY_UNKNOWN] += 1
                blocked += 1
            if day_start_usd <= 0.0 or max(0.0, -day_net) / day_start_usd >= setting[DAILY_LOSS_LIMIT]:
                counts[DAILY_LOSS] += 1
                blocked += 1
            if session_paused or session_fall >= setting[SESSION_LIMIT]:
                counts[SESSION_DRAWDOWN] += 1
                blocked += 1
            if drawdown_paused or peak_fall >= setting[DRAWDOWN_LIMIT]:
                counts[MAX_DRAWDOWN] += 1
                blocked += 1
            if taken >= setting[POSITIONS_LIMIT]:
                counts[MAX_POSITIONS] += 1
                blocked += 1
            if cooldown_until > close_ms:
                counts[COOLDOWN] += 1
                blocked += 1
            this_week = week_of(close_ms)
            in_row = losing
            if week_has and week < this_week:
                in_row = losing + 1 if week_net < 0.0 else 0
            is_forced = resume_ms > 0 and close_ms >= this_week + resume_ms
            if in_row >= setting[WEEKS_LIMIT] and not is_forced:
                counts[LOSING_WEEKS] += 1
                blocked += 1
            today = close_ms - close_ms % DAY_MS
            if setting[TRADES_A_DAY] > 0.0 and entries_day == today and entries_today >= setting[TRADES_A_DAY]:
                counts[MAX_TRADES_PER_DAY] += 1
                blocked += 1
            needed = notional / setting[LEVERAGE_SET]
            margin_limit = capital * setting[MARGIN_SHARE]
            if used_usd > margin_limit * (1.0 + TOLERANCE) or used_usd + needed > margin_limit * (1.0 + TOLERANCE):
                counts[MARGIN_LIMIT] += 1
                blocked += 1
            if used_usd + needed > usd * (1.0 + TOLERANCE):
                counts[INSUFFICIENT_MARGIN] += 1
                blocked += 1
            # size, price and stop
            bid = tick_down(close[s, b], sz)
            ask = next_tick(bid, sz)
            px = bid if (send > 0) == is_limit else ask
            amount = lots_down(notional / px, sz) if px > 0.0 and notional > 0.0 else 0.0
            at_risk = setting[AT_RISK_SHARE] * capital
            is_priced = amount > 0.0 and amount * px >= MIN_NOTIONAL_USD
            if is_priced:
                capital_px = capital_stop(send, px, amount, at_risk, sz)
                if capital_px == 0.0:
                    is_priced = False
                else:
                    stop_px = nearer_stop(send, px, capital_px, own_stop, sz)
                    rate = 1.0 / (2.0 * instruments[s, I_MAX_LEVERAGE])
                    available = usd - rate * amount * px
                    ruin = px - send * available / amount / (1.0 - rate * send)
                    if ruin > 0.0 and (stop_px - ruin) * send <= 0.0:
                        counts[BEYOND_LIQUIDATION] += 1
                        blocked += 1
            if not is_priced:
                counts[SIZE] += 1
                blocked += 1
            if blocked > 0:
                counts[ENTRIES_BLOCKED] += 1
                continue
            asked[s] = send
            asked_size[s] = amount
            asked_limit[s] = px
            asked_stop[s] = own_stop
            asked_target[s] = own_target
            asked_risk[s] = at_risk
            n_asked += 1
            taken += 1
            used_usd += amount * px / setting[LEVERAGE_SET]
        b += 1

    if wants_equity:  # flat to the end
        for k in range(b + 1, end):
            equity_out[k - begin] = cash
            held_out[k - begin] = 0.0
    usd = cash
    for s in range(symbols):
        if side[s] != 0:
            usd += side[s] * size[s] * mark[s]
    sums[S_END_USD] = usd
    sums[S_OPEN] = n_open
    return n_trades
