"""The one account of all strategies, compiled: fills, costs, gates and equity, boundary by boundary.

What a strategy wants comes in as data: exit bits of every bar, and the bars at which it may enter with the numbers
that decide it. Everything that the daemon's account, risk rules and executor do with it is done here in the same
order, in floats; `plain.py` does it with the daemon's own objects, and tests compare the two trade by trade.

"""

from __future__ import annotations

import numpy as np

from perp_bot.backtest import luck
from perp_bot.backtest.account_layout import (
    AS_MAKER,
    AT_RISK_SHARE,
    BEYOND_LIQUIDATION,
    CANCEL_IF_GONE,
    CAPITAL_STOP,
    CAPITAL_USD,
    COOLDOWN,
    COOLDOWN_MS,
    DAILY_LOSS,
    DAILY_LOSS_LIMIT,
    DAY_MS,
    DELAY,
    DELISTED,
    DRAWDOWN_LIMIT,
    ENTERS,
    ENTRIES_BLOCKED,
    EQUITY_UNKNOWN,
    EXIT,
    EXIT_LONG,
    EXIT_ROW,
    EXIT_SHORT,
    FALLBACK_MS,
    FIRST_WAITING,
    HOUR_MS,
    I_DELISTED,
    I_KEY,
    I_MAX_LEVERAGE,
    I_SZ,
    I_TIERS,
    INSUFFICIENT_MARGIN,
    IS_COMPOUNDING,
    IS_LIMIT,
    LEAVES,
    LEVERAGE,
    LEVERAGE_SET,
    LIQUIDATION,
    LOSING_WEEKS,
    M_ASKED_STOP,
    M_AT,
    M_BAR,
    M_DAY,
    M_DAY_WORTH,
    M_DUE,
    M_ENTRY,
    M_EXIT,
    M_EXIT_FEE,
    M_FEE,
    M_FUNDING,
    M_HIGH,
    M_LAST,
    M_LIMIT,
    M_LOW,
    M_MISSING,
    M_OPENED,
    M_REASON,
    M_SIZE,
    M_SLIPPAGE,
    M_STOP,
    MAKER_FEE,
    MARGIN_LIMIT,
    MARGIN_SHARE,
    MAX_DRAWDOWN,
    MAX_POSITIONS,
    MAX_TRADES_PER_DAY,
    MIN_NOTIONAL_USD,
    NO_MARKET,
    NOTHING,
    NUDGE,
    POSITIONS_LIMIT,
    REGIME,
    RESUME_MS,
    RESUMES,
    S_DOWN2,
    S_DRAWDOWN,
    S_DRAWDOWN_USD,
    S_END_USD,
    S_FEES,
    S_FUNDING,
    S_GROSS,
    S_HELD,
    S_LOST_USD,
    S_MISSING_HOURS,
    S_NET,
    S_OPEN,
    S_R1,
    S_R2,
    S_SLIPPAGE,
    S_TRADES,
    S_WINS,
    S_WON_USD,
    SESSION_DRAWDOWN,
    SESSION_LIMIT,
    SIZE,
    START_USD,
    STAYS,
    STOP_LONG,
    STOP_SHORT,
    STRATEGY_EXIT_STOP,
    STRATEGY_STOP,
    T_CLOSED,
    T_DECIDED,
    T_ENTRY,
    T_EXIT,
    T_FEES,
    T_FUNDING,
    T_GROSS,
    T_LAST_STOP,
    T_MAE,
    T_MAKER,
    T_MFE,
    T_MISSING,
    T_NET,
    T_OPENED,
    T_REASON,
    T_SIDE,
    T_SIZE,
    T_SLIPPAGE,
    T_STOP,
    T_SYMBOL,
    TAKER_FEE,
    TARGET,
    TIMEOUT,
    TIMEOUT_MS,
    TOLERANCE,
    TRADES_A_DAY,
    TRAIL_AFTER,
    TRAILING_STOP,
    UNSEEN,
    WEEKS_LIMIT,
)
from perp_bot.backtest.account_rules import (
    capital_stop,
    liquidation_price,
    lots_down,
    maintenance_usd,
    moved_stop,
    nearer_stop,
    next_tick,
    taker_px,
    tick_down,
    tick_up,
    to_money,
    walk,
    week_of,
)


def simulate(  # type: ignore[no-untyped-def]
    first_ms, step_ms, begin, end,
    open_, high, low, close, trigger_low, trigger_high,
    fine_step_ms, fine_per_bar, fine_open, fine_high, fine_low, fine_trigger_low, fine_trigger_high, fine_whole,
    first_hour_ms, rates, oracles,
    instruments, tier_bound, tier_rate, tier_deducted,
    regimes, size_factors, entries_allowed,
    exit_bits,
    candidate_bar, candidate_symbol, candidate_side, candidate_stop, candidate_target, admitted,
    setting,
    memory, trades, equity_out, held_out, counts, sums,
):  # fmt: skip
    """Run one account over the bars `begin`..`end` - 1: decisions at their closes, fills at the open of the next.

    Prices are (symbols, bars) on one grid that starts at `first_ms`, NaN where a candle is missing. Candidates are
    sorted by bar, then symbol; `admitted` lists those whose numbers are within this account's limits (`admit`).
    `trades`, `equity_out`, `held_out` may have no rows.

    `memory` (exit row, candidate, REMEMBERED values) keeps how a trade went for the accounts that take the same one
    later: what it is worth does not depend on the account as long as no limit and no liquidation ends or follows it,
    which is checked before it is used. It may have no rows; curve and drawdown are not kept where it has.
    """
    symbols = open_.shape[0]
    bars = open_.shape[1]
    has_regimes = len(regimes) > 0
    wants_equity = len(equity_out) > 0
    remembers = memory.shape[1] > 0 and symbols == 1 and setting[DELAY] == 0.0 and setting[IS_COMPOUNDING] == 0.0
    is_told = False  # the position's end comes from memory
    told_by = np.int64(-1)
    high_worth = -np.inf  # of the position at the closes so far: funding + signed size x price
    low_worth = np.inf
    new_day = np.int64(-1)  # the last day that began while it was open, and what it was worth before
    day_worth = 0.0
    last_worth = 0.0
    entries = len(admitted)

    # a place a symbol; two blocks of memory, since asking for each column took as long as a trade
    real = np.zeros((16, symbols))
    whole = np.zeros((13, symbols), np.int64)
    # positions
    side = whole[0]
    size = real[0]
    entry = real[1]
    stop = real[2]
    stop_kind = whole[1]
    first_stop = real[3]
    target = real[4]
    opened_ms = whole[2]
    decided_ms = whole[3]
    fees = real[5]
    funding = real[6]
    slippage = real[7]
    missing = whole[4]
    worst_px = real[8]
    best_px = real[9]
    is_maker = whole[5]
    mark = real[10]
    leaving = whole[6]  # reason of an exit that is due at the next open
    leaving[:] = -1
    # entries that go out at the next open
    asked = whole[7]
    asked_size = real[11]
    asked_limit = real[12]
    asked_stop = real[13]
    asked_target = real[14]
    asked_risk = real[15]
    # delayed entries
    waiting = whole[8]
    waited = whole[9]
    wanted = whole[10]
    wanted_by = whole[11]
    walked = whole[12]

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
    known = memory[exit_row]
    slots_in_window = np.int64(setting[FALLBACK_MS]) // fine_step_ms if fine_per_bar > 0 else np.int64(0)

    e = 0
    b = begin
    while b < end:
        # ---------------------------------------------------------------- nothing can happen before the next candidate
        if n_open == 0 and n_asked == 0 and n_waiting == 0:
            while e < entries and candidate_bar[admitted[e]] < b:
                e += 1
            jump = candidate_bar[admitted[e]] if e < entries else end - 1
            jump = min(jump, end - 1)
            if wants_equity:
                for k in range(b, jump):
                    equity_out[k - begin] = cash
                    held_out[k - begin] = 0.0
            b = max(b, jump)
        # ---------------------------------------------------------------- one position, and nothing happens to it
        # The same arithmetic as below for bars on which no order, limit or candidate of another coin has a say.
        if n_open == 1 and n_asked == 0 and n_waiting == 0 and not (session_paused or drawdown_paused or is_told):
            s = 0
            while side[s] == 0:
                s += 1
            until = end - 1
            if symbols > 1:
                while e < entries and candidate_bar[admitted[e]] < b:
                    e += 1
                if e < entries:
                    until = min(until, candidate_bar[admitted[e]])
            if leaving[s] < 0:
                d = side[s]
                held = size[s] * d
                due_ms = opened_ms[s] + timeout_ms
                tiers = int(instruments[s, I_TIERS])
                other = cash + funding[s]
                ruin = liquidation_price(d, size[s], other, s, tier_bound, tier_rate, tier_deducted, tiers)
                stop_px = stop[s]
                target_px = target[s]
                worst = worst_px[s]
                best = best_px[s]
                mask = (STOP_LONG | EXIT_LONG) if d > 0 else (STOP_SHORT | EXIT_SHORT)
                at_ms = first_ms + b * step_ms
                hour_ms = max(at_ms, opened_ms[s])
                hour_ms = hour_ms - hour_ms % HOUR_MS + HOUR_MS
                while b < until and due_ms >= at_ms + step_ms:
                    last = close[s, b]
                    adverse = trigger_low[s, b] if d > 0 else trigger_high[s, b]
                    better = trigger_high[s, b] if d > 0 else trigger_low[s, b]
                    if not (last == last and (adverse - stop_px) * d > 0.0 and (open_[s, b] - stop_px) * d > 0.0):
                        break
                    if target_px > 0.0 and (better - target_px) * d >= 0.0:
                        break
                    if ruin > 0.0 and (adverse - ruin) * d <= 0.0:
                        break
                    if hour_ms <= at_ms + step_ms:
                        if day_start + DAY_MS <= at_ms + step_ms:
                            break  # a new day
                        h = (hour_ms - first_hour_ms) // HOUR_MS
                        if step_ms > HOUR_MS or not (0 <= h < rates.shape[1]):
                            break
                        rate = rates[s, h]
                        oracle = oracles[s, h]
                        if rate != rate or oracle != oracle:
                            break
                        usd = -to_money(d * size[s] * oracle * rate)
                    else:
                        usd = 0.0
                    worth = funding[s] + usd + held * last
                    value = cash + worth
                    session_peak_now = max(session_peak, value)
                    peak_now = max(peak, value)
                    if (session_peak_now - value) >= setting[SESSION_LIMIT] * session_peak_now * 0.999999:
                        break
                    if (peak_now - value) >= setting[DRAWDOWN_LIMIT] * peak_now * 0.999999:
                        break
                    # from here on the bar counts
                    if hour_ms <= at_ms + step_ms:
                        funding[s] += usd
                        hour_ms += HOUR_MS
                        other = cash + funding[s]
                        ruin = liquidation_price(d, size[s], other, s, tier_bound, tier_rate, tier_deducted, tiers)
                    adverse = low[s, b] if d > 0 else high[s, b]
                    better = high[s, b] if d > 0 else low[s, b]
                    if (adverse - worst) * d < 0.0:
                        worst = adverse
                    if (better - best) * d > 0.0:
                        best = better
                    mark[s] = last
                    if remembers:
                        high_worth = max(high_worth, worth)
                        low_worth = min(low_worth, worth)
                        last_worth = worth
                    session_peak = session_peak_now
                    peak = peak_now
                    last_usd = value
                    if wants_equity:
                        equity_out[b - begin] = value
                        held_out[b - begin] = size[s] * last
                    if value != previous_usd and not remembers:
                        change = value / previous_usd - 1.0 if previous_usd > 0.0 else 0.0
                        sums[S_R1] += change
                        sums[S_R2] += change * change
                        if change < 0.0:
                            sums[S_DOWN2] += change * change
                        previous_usd = value
                        curve_peak = max(curve_peak, value)
                        if curve_peak - value > sums[S_DRAWDOWN_USD]:
                            sums[S_DRAWDOWN_USD] = curve_peak - value
                        if curve_peak > 0.0 and (curve_peak - value) / curve_peak > sums[S_DRAWDOWN]:
                            sums[S_DRAWDOWN] = (curve_peak - value) / curve_peak
                    sums[S_HELD] += 1.0
                    seen = exit_bits[exit_row, s, b] & mask
                    b += 1
                    at_ms += step_ms
                    if seen:
                        leaving[s] = STRATEGY_EXIT_STOP if seen & (STOP_LONG | STOP_SHORT) else EXIT
                        break
                    if setting[TRAIL_AFTER] > 0.0:
                        moved = moved_stop(d, entry[s], last, stop_px, setting, int(instruments[s, I_SZ]))
                        if moved > 0.0:
                            stop_px = moved
                            stop[s] = moved
                            stop_kind[s] = TRAILING_STOP
                worst_px[s] = worst
                best_px[s] = best

        bar_ms = first_ms + b * step_ms
        close_ms = bar_ms + step_ms

        # ---------------------------------------------------------------- the open and the inside of this bar
        if n_open > 0 or n_asked > 0:
            for s in range(symbols):
                if is_told:
                    break
                walked[s] = NOTHING
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
                        high_worth = -np.inf
                        low_worth = np.inf
                        new_day = np.int64(-1)
                        last_worth = np.nan
                        today = at_ms - at_ms % DAY_MS
                        if today != entries_day:
                            entries_day = today
                            entries_today = 0
                        entries_today += 1
                        walked[s] = ENTERS + first_slot + (AS_MAKER if maker else 0)
            # exits at the open first, then what happens inside, symbol by symbol
            for turn in range(2 * symbols):
                s = turn if turn < symbols else turn - symbols
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
                if is_told:
                    reason = int(known[told_by, M_REASON])
                    due_px = known[told_by, M_DUE]
                    at_ms = np.int64(known[told_by, M_AT])
                elif walked[s] == LEAVES:
                    reason = leaving[s] if leaving[s] >= 0 else TIMEOUT
                    due_px = open_[s, b]
                elif walked[s] != UNSEEN:
                    is_new = walked[s] >= ENTERS
                    other = cash + funding[s]
                    for k in range(symbols):
                        if k != s and side[k] != 0:
                            other += funding[k] + side[k] * size[k] * mark[k]
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
                                s, fine_open, fine_high, fine_low, fine_trigger_low, fine_trigger_high,
                            )  # fmt: skip
                            at_ms = bar_ms + (slot - base + 1) * fine_step_ms - 1
                            if reason == TIMEOUT:
                                at_ms = bar_ms + (slot - base) * fine_step_ms
                        else:
                            reason, due_px, slot = walk(
                                d, stop[s], target[s], liquidation, due_ms, bar_ms, step_ms, b, b + 1, is_new, -1,
                                s, open_, high, low, trigger_low, trigger_high,
                            )  # fmt: skip
                            at_ms = close_ms - 1
                        if reason == CAPITAL_STOP:
                            reason = stop_kind[s]
                # funding of the hours that the position saw in this bar
                until_ms = close_ms if reason < 0 else at_ms
                if walked[s] != LEAVES and not is_told:
                    hour_ms = max(bar_ms, opened_ms[s])
                    hour_ms = hour_ms - hour_ms % HOUR_MS + HOUR_MS
                    while hour_ms <= until_ms:
                        h = (hour_ms - first_hour_ms) // HOUR_MS
                        if 0 <= h < rates.shape[1] and rates[s, h] == rates[s, h] and oracles[s, h] == oracles[s, h]:
                            usd = -to_money(d * size[s] * oracles[s, h] * rates[s, h])
                            funding[s] += usd
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
                    if is_told:
                        px = known[told_by, M_EXIT]
                        fee = known[told_by, M_EXIT_FEE]
                    else:
                        px = taker_px(due_px, -d, setting, key, at_ms, luck.EXIT, sz)
                        fee = to_money(size[s] * px * setting[TAKER_FEE])
                    other = cash + funding[s]
                    for k in range(symbols):
                        if k != s and side[k] != 0:
                            other += funding[k] + side[k] * size[k] * mark[k]
                    if other + d * size[s] * px - fee < 0.0 and reason == LIQUIDATION:
                        # the backstop takes the position over: the account is at 0, never below
                        fee = 0.0
                        px = -other / (d * size[s])
                    if is_told:
                        is_told = False
                    elif remembers and told_by >= 0 and reason != LIQUIDATION:
                        known[told_by, M_REASON] = reason
                        known[told_by, M_DUE] = due_px
                        known[told_by, M_AT] = at_ms
                        known[told_by, M_SIZE] = size[s]
                        known[told_by, M_ENTRY] = entry[s]
                        known[told_by, M_STOP] = first_stop[s]
                        known[told_by, M_OPENED] = opened_ms[s]
                        known[told_by, M_FEE] = fees[s]
                        known[told_by, M_FUNDING] = funding[s]
                        known[told_by, M_SLIPPAGE] = slippage[s]
                        known[told_by, M_MISSING] = missing[s]
                        known[told_by, M_HIGH] = high_worth
                        known[told_by, M_LOW] = low_worth
                        known[told_by, M_LAST] = last_worth
                        known[told_by, M_DAY] = new_day
                        known[told_by, M_DAY_WORTH] = day_worth
                        known[told_by, M_EXIT] = px
                        known[told_by, M_EXIT_FEE] = fee
                        known[told_by, M_BAR] = b
                    cash += funding[s] + (d * size[s] * px - fee)
                    slippage[s] += (due_px - px) * d * size[s]
                    fees[s] += fee
                    gross = (px - entry[s]) * d * size[s]
                    net = gross - fees[s] + funding[s]
                    if (px - worst_px[s]) * d < 0.0:
                        worst_px[s] = px
                    if (px - best_px[s]) * d > 0.0:
                        best_px[s] = px
                    if n_trades < trades.shape[0]:
                        trades[n_trades, T_SYMBOL] = s
                        trades[n_trades, T_SIDE] = d
                        trades[n_trades, T_DECIDED] = decided_ms[s]
                        trades[n_trades, T_OPENED] = opened_ms[s]
                        trades[n_trades, T_CLOSED] = at_ms
                        trades[n_trades, T_SIZE] = size[s]
                        trades[n_trades, T_ENTRY] = entry[s]
                        trades[n_trades, T_EXIT] = px
                        trades[n_trades, T_STOP] = first_stop[s]
                        trades[n_trades, T_REASON] = reason
                        trades[n_trades, T_MAKER] = is_maker[s]
                        trades[n_trades, T_GROSS] = gross
                        trades[n_trades, T_FEES] = fees[s]
                        trades[n_trades, T_FUNDING] = funding[s]
                        trades[n_trades, T_SLIPPAGE] = slippage[s]
                        trades[n_trades, T_NET] = net
                        trades[n_trades, T_MAE] = (worst_px[s] - entry[s]) * d * size[s]
                        trades[n_trades, T_MFE] = (best_px[s] - entry[s]) * d * size[s]
                        trades[n_trades, T_MISSING] = missing[s]
                        trades[n_trades, T_LAST_STOP] = stop[s]
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
                worth = funding[s] + side[s] * size[s] * mark[s]
                usd += worth
                held += size[s] * mark[s]
                if remembers:
                    high_worth = max(high_worth, worth)
                    low_worth = min(low_worth, worth)
        if wants_equity:
            equity_out[b - begin] = usd
            held_out[b - begin] = held
        if usd != previous_usd and not remembers:
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
            new_day = today
            day_worth = last_worth
        if remembers and n_open > 0:
            last_worth = high_worth if high_worth == low_worth else usd - cash
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
        while e < entries and candidate_bar[admitted[e]] < b:
            e += 1
        now_regime = regimes[b] if has_regimes else 0
        for s in range(symbols):
            wanted[s] = 0
        n_wanted = 0
        while e < entries and candidate_bar[admitted[e]] == b:
            candidate = admitted[e]
            s = candidate_symbol[candidate]
            d = 1 if candidate_side[candidate] % 2 == 0 else -1
            if wanted[s] == 0 and (candidate_side[candidate] < FIRST_WAITING or waiting[s] == d):
                wanted[s] = d
                wanted_by[s] = candidate
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
                    moved = moved_stop(side[s], entry[s], close[s, b], stop[s], setting, int(instruments[s, I_SZ]))
                    if moved > 0.0:
                        stop[s] = moved
                        stop_kind[s] = TRAILING_STOP
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
            so_far = n_asked + (entries_today if entries_day == today else 0)
            if setting[TRADES_A_DAY] > 0.0 and so_far >= setting[TRADES_A_DAY]:
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
            told_by = wanted_by[s] if own else np.int64(-1)
            is_known = remembers and own and known[told_by, M_BAR] > 0.0
            at_risk = setting[AT_RISK_SHARE] * capital
            stop_px = 0.0  # none: it cannot be priced
            if is_known:
                px = known[told_by, M_LIMIT]
                amount = known[told_by, M_SIZE]
                stop_px = known[told_by, M_ASKED_STOP]
            else:
                bid = tick_down(close[s, b], sz)
                px = bid if (send > 0) == is_limit else next_tick(bid, sz)
                amount = lots_down(notional / px, sz) if px > 0.0 and notional > 0.0 else 0.0
                if amount > 0.0 and amount * px >= MIN_NOTIONAL_USD:
                    stop_px = capital_stop(send, px, amount, at_risk, sz)
                    if stop_px > 0.0:
                        stop_px = nearer_stop(send, px, stop_px, own_stop, sz)
            if stop_px > 0.0:
                rate = 1.0 / (2.0 * instruments[s, I_MAX_LEVERAGE])
                ruin = px - send * (usd - rate * amount * px) / amount / (1.0 - rate * send)
                if ruin > 0.0 and (stop_px - ruin) * send <= 0.0:
                    counts[BEYOND_LIQUIDATION] += 1
                    blocked += 1
            else:
                counts[SIZE] += 1
                blocked += 1
            if blocked > 0:
                counts[ENTRIES_BLOCKED] += 1
                continue
            if is_known:
                amount = known[told_by, M_SIZE]
                px = known[told_by, M_ENTRY]
                after = cash - (amount * send * px + known[told_by, M_FEE])
                best_usd = after + known[told_by, M_HIGH]
                worst_usd = after + known[told_by, M_LOW]
                session_high = max(session_peak, best_usd)
                high_usd = max(peak, best_usd)
                ruin = liquidation_price(
                    send, amount, after + known[told_by, M_FUNDING], s,
                    tier_bound, tier_rate, tier_deducted, int(instruments[s, I_TIERS]),
                )  # fmt: skip
                margin = 0.002 * px
                if (
                    session_high - worst_usd < setting[SESSION_LIMIT] * session_high * 0.999999
                    and high_usd - worst_usd < setting[DRAWDOWN_LIMIT] * high_usd * 0.999999
                    and (ruin == 0.0 or (known[told_by, M_STOP] - ruin) * send > margin)
                    and (ruin == 0.0 or (known[told_by, M_DUE] - ruin) * send > margin)
                ):
                    is_told = True
                    side[s] = send
                    size[s] = amount
                    entry[s] = px
                    first_stop[s] = known[told_by, M_STOP]
                    opened_ms[s] = np.int64(known[told_by, M_OPENED])
                    decided_ms[s] = close_ms
                    fees[s] = known[told_by, M_FEE]
                    funding[s] = known[told_by, M_FUNDING]
                    slippage[s] = known[told_by, M_SLIPPAGE]
                    missing[s] = np.int64(known[told_by, M_MISSING])
                    sums[S_MISSING_HOURS] += known[told_by, M_MISSING]
                    worst_px[s] = px
                    best_px[s] = px
                    if known[told_by, M_DAY] > 0.0:
                        worth = known[told_by, M_DAY_WORTH]
                        day_start = np.int64(known[told_by, M_DAY])
                        day_start_usd = after + worth if worth == worth else cash
                        day_net = 0.0
                    worth = known[told_by, M_LAST]
                    if worth == worth:
                        last_usd = after + worth
                    session_peak = session_high
                    peak = high_usd
                    cash = after
                    n_open += 1
                    today = opened_ms[s] - opened_ms[s] % DAY_MS
                    if today != entries_day:
                        entries_day = today
                        entries_today = 0
                    entries_today += 1
                    walked[s] = STAYS
                    b = int(known[told_by, M_BAR])
                    continue
            asked[s] = send
            asked_size[s] = amount
            asked_limit[s] = px
            asked_stop[s] = own_stop
            asked_target[s] = own_target
            asked_risk[s] = at_risk
            if remembers and own:
                known[told_by, M_LIMIT] = px
                known[told_by, M_ASKED_STOP] = stop_px
            n_asked += 1
            taken += 1
            used_usd += amount * px / setting[LEVERAGE_SET]
        if not is_told:
            b += 1

    if wants_equity:  # flat to the end
        for k in range(b + 1, end):
            equity_out[k - begin] = cash
            held_out[k - begin] = 0.0
    usd = cash
    for s in range(symbols):
        if side[s] != 0:
            usd += funding[s] + side[s] * size[s] * mark[s]
    sums[S_END_USD] = usd
    sums[S_OPEN] = n_open
    return n_trades
