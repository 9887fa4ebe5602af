"""The small rules of the account kernel: prices on the grid, luck, stops, margin, the path inside a bar."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from perp_bot.backtest import arithmetic, luck
from perp_bot.backtest.account_layout import (
    CAPITAL_STOP,
    LIQUIDATION,
    MONDAY_MS,
    SEED,
    SLIP_LEAST,
    SLIP_MOST,
    TARGET,
    TIMEOUT,
    TRAIL_AFTER,
    TRAIL_DISTANCE,
    TRAIL_STEP,
    WEEK_MS,
)
from perp_bot.strategies import trailing

_U11, _U27, _U30, _U31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_GOLDEN, _MIX_A, _MIX_B = np.uint64(luck.GOLDEN), np.uint64(luck.MIX_A), np.uint64(luck.MIX_B)

power_of_ten = register_jitable(arithmetic.power_of_ten)
decimals_at = register_jitable(arithmetic.decimals_at)
tick_down = register_jitable(arithmetic.tick_down)
tick_up = register_jitable(arithmetic.tick_up)
next_tick = register_jitable(arithmetic.next_tick)
lots_down = register_jitable(arithmetic.lots_down)
to_money = register_jitable(arithmetic.to_money)
trailed_stop = register_jitable(trailing.trailed_stop)


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
def moved_stop(side, entry_px, close_px, stop_px, setting, sz_decimals):  # type: ignore[no-untyped-def]
    """Return where a stop trails to at a close, on the tick; 0.0 when it is no nearer, or the close is beyond it."""
    exact = trailed_stop(
        float(side), entry_px, close_px, setting[TRAIL_AFTER], setting[TRAIL_DISTANCE], setting[TRAIL_STEP]
    )
    if exact <= 0.0:
        return 0.0
    moved = tick_up(exact, sz_decimals) if side > 0 else tick_down(exact, sz_decimals)
    return moved if (moved - stop_px) * side > 0.0 and (close_px - moved) * side > 0.0 else 0.0


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
    s, open_, high, low, trigger_low, trigger_high,
):  # fmt: skip
    """Follow the slots `begin`..`end` of a symbol's finest path; return (reason or -1, due price, slot).

    The open comes first: due timeout, gap through liquidation, stop or target. Then inside the slot the worst order:
    liquidation or stop, whichever is nearer, before the target.
    """
    for k in range(begin, end):
        opened = open_[s, k]
        if not (k == begin and skip_open):
            if first_ms + (k - begin) * slot_ms >= due_ms:
                return TIMEOUT, opened, k
            if liquidation > 0.0 and (opened - liquidation) * side <= 0.0:
                return LIQUIDATION, opened, k
            if (opened - stop) * side <= 0.0:
                return CAPITAL_STOP, opened, k
            if target > 0.0 and (opened - target) * side >= 0.0:
                return TARGET, opened, k
        worst = trigger_low[s, k] if side > 0 else trigger_high[s, k]
        best = trigger_high[s, k] if side > 0 else trigger_low[s, k]
        if liquidation > 0.0 and (liquidation - stop) * side > 0.0 and (worst - liquidation) * side <= 0.0:
            return LIQUIDATION, min(max(liquidation, low[s, k]), high[s, k]), k
        if (worst - stop) * side <= 0.0:
            return CAPITAL_STOP, min(max(stop, low[s, k]), high[s, k]), k
        if target > 0.0 and k != maker_slot and (best - target) * side >= 0.0:
            return TARGET, min(max(target, low[s, k]), high[s, k]), k
    return -1, 0.0, end


@register_jitable
def admit(bar, side, values, regimes, limits, out):  # type: ignore[no-untyped-def]
    """List the candidates whose numbers are all below the limits (side, regime, value); return how many there are."""
    count = 0
    for e in range(len(bar)):
        regime = regimes[bar[e]] if len(regimes) > 0 else 0
        is_within = True
        for v in range(values.shape[1]):
            is_within &= values[e, v] < limits[side[e], regime, v]
        out[count] = e
        count += 1 if is_within else 0
    return count
