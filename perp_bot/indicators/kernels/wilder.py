"""Wilder's RSI and ADX, which forget what a long still stretch has made weightless."""

from __future__ import annotations

from perp_bot.indicators.kernels.columns import BLOCK, NAN, Floats

FADED = 1e-250  # a sum that a block of bars without movement cannot bring down to 0

RSI_STATE = 5
ADX_STATE = 8


def next_rsi(
    n: int,
    memory: int,
    keep: float,
    bars: float,
    previous: float,
    gains: float,
    losses: float,
    idle: float,
    price: float,
) -> tuple[float, float, float, float, float]:
    """Return bars, gains, losses, idle bars and RSI after one close; RSI is NaN while it is not defined."""
    is_number = price - price == 0.0
    has_previous = bars >= 1.0
    change = price - previous if has_previous else 0.0
    factor = keep if bars > n else 1.0
    gains = gains * factor + (change if change > 0.0 else 0.0)
    losses = losses * factor + (-change if change < 0.0 else 0.0)
    idle = idle + 1.0 if has_previous & (change == 0.0) else 0.0
    is_forgotten = (idle >= memory) | (not is_number)
    gains = 0.0 if is_forgotten else gains
    losses = 0.0 if is_forgotten else losses
    bars = (bars + 1.0 if bars <= n else bars) if is_number else 0.0
    total = gains + losses
    value = 100.0 * (gains / total) if (bars > n) & (total > 0.0) else NAN
    return bars, gains, losses, idle if is_number else 0.0, value


def rsi_step(n: int, memory: int, keep: float, state: Floats, price: float) -> float:
    """Take one close and return RSI, NaN while it is not defined."""
    bars, gains, losses, idle, value = next_rsi(
        n, memory, keep, state[0], state[1], state[2], state[3], state[4], price
    )
    state[0] = bars
    state[1] = price
    state[2] = gains
    state[3] = losses
    state[4] = idle
    return value


def rsi_stretch(memory: int, keep: float, state: Floats, prices: Floats, out: Floats) -> bool:
    """Fill the RSI of the closes after the first and bring the state up to date, without `rsi_step`'s case analysis.

    False, with the state as it was, where a close is missing or the price stands still for long.
    """
    length = len(out)
    first = 1
    while first <= length and prices[first] == prices[first - 1]:
        first += 1
    if first > length or state[4] + first > memory:
        return False
    gains = state[2]
    losses = state[3]
    missing = False
    for k in range(length):
        change = prices[k + 1] - prices[k]
        missing |= change - change != 0.0
        gain = change if change > 0.0 else 0.0
        loss = -change if change < 0.0 else 0.0
        gains = gains * keep + gain
        losses = losses * keep + loss
        out[k] = 100.0 * (gains / (gains + losses))
    if missing:
        return False
    last = length
    while prices[last] == prices[last - 1]:
        last -= 1
    state[1] = prices[length]
    state[2] = gains
    state[3] = losses
    state[4] = float(length - last)
    return True


def rsi(close: Floats, n: int, memory: int, state: Floats, out: Floats) -> None:
    """Fill Wilder's RSI. state: bars, previous close, sum of gains, sum of losses, bars without a change.

    The sums are n times Wilder's averages (the factor cancels). After `memory` bars without a change all that moved
    before weighs less than 1e-9: it is forgotten, and RSI is NaN until the price moves again.
    """
    keep = (n - 1) / n
    i = 0
    step_until = 1
    while i < len(close):
        if i >= step_until and state[0] > n and state[2] + state[3] > FADED:
            stop = min(i + min(BLOCK, memory), len(close))
            if rsi_stretch(memory, keep, state, close[i - 1 : stop], out[i:stop]):
                i = stop
                continue
            step_until = stop
        out[i] = rsi_step(n, memory, keep, state, close[i])
        i += 1


def movement(high: float, low: float, previous_high: float, previous_low: float) -> tuple[float, float]:
    """Return Wilder's +DM and -DM of a bar: the larger of the two ways it went beyond the bar before, else 0."""
    up = high - previous_high
    down = previous_low - low
    # `&` and not `and`: which way a bar goes cannot be foreseen, so nothing may branch on it
    return up if (up > down) & (up > 0.0) else 0.0, down if (down > up) & (down > 0.0) else 0.0


def is_still(high: Floats, low: Floats, bar: int) -> bool:
    """Return whether a bar has no directional movement."""
    plus, minus = movement(high[bar], low[bar], high[bar - 1], low[bar - 1])
    return plus + minus == 0.0


def next_adx(
    n: int,
    memory: int,
    keep: float,
    bars: float,
    plus: float,
    minus: float,
    idle: float,
    count: float,
    value: float,
    plus_move: float,
    minus_move: float,
    is_whole: bool,
) -> tuple[float, float, float, float, float, float, float]:
    """Return bars, sums of +DM and -DM, idle bars, DX count, their average and ADX (NaN: undefined) after one candle.

    Whatever the movements of the first bar are, they are not counted.
    """
    has_previous = bars >= 1.0
    factor = keep if bars > n else 1.0
    plus = plus * factor + (plus_move if has_previous else 0.0)
    minus = minus * factor + (minus_move if has_previous else 0.0)
    idle = idle + 1.0 if has_previous & (plus_move + minus_move == 0.0) else 0.0
    is_forgotten = (idle >= memory) | (not is_whole)
    plus = 0.0 if is_forgotten else plus
    minus = 0.0 if is_forgotten else minus
    count = 0.0 if is_forgotten else count
    value = 0.0 if is_forgotten else value
    bars = (bars + 1.0 if bars <= n else bars) if is_whole else 0.0
    total = plus + minus
    has_dx = (bars > n) & (total > 0.0)
    dx = 100.0 * (abs(plus - minus) / total) if has_dx else 0.0
    count = count + 1.0 if has_dx & (count < n + 1.0) else count  # n + 1: more than the first n
    mean = value + (dx - value) / max(count, 1.0)
    later = value + (dx - value) * (1.0 / n)
    value = (mean if count <= n else later) if has_dx else value
    return bars, plus, minus, idle if is_whole else 0.0, count, value, value if has_dx & (count >= n) else NAN


def adx_step(n: int, memory: int, keep: float, state: Floats, high: float, low: float, close: float) -> float:
    """Take one candle and return ADX, NaN while it is not defined."""
    plus_move, minus_move = movement(high, low, state[1], state[2])
    total = (high - low) + close
    bars, plus, minus, idle, count, average, value = next_adx(
        n, memory, keep, state[0], state[3], state[4], state[5], state[6], state[7], plus_move, minus_move,
        total - total == 0.0,
    )  # fmt: skip
    state[0] = bars
    state[1] = high
    state[2] = low
    state[3] = plus
    state[4] = minus
    state[5] = idle
    state[6] = count
    state[7] = average
    return value


def adx_stretch(
    n: int, memory: int, keep: float, state: Floats, high: Floats, low: Floats, close: Floats, out: Floats
) -> bool:
    """Fill the ADX of the candles after the first and bring the state up to date, without `adx_step`'s case analysis.

    `close` begins one bar later than `high` and `low`. False, with the state as it was, where a number is missing or
    nothing moves for long.
    """
    length = len(out)
    first = 1
    while first <= length and is_still(high, low, first):
        first += 1
    if first > length or state[5] + first > memory:
        return False
    alpha = 1.0 / n
    plus = state[3]
    minus = state[4]
    value = state[7]
    missing = False
    for k in range(length):
        total = (high[k + 1] - low[k + 1]) + close[k]
        missing |= total - total != 0.0
        plus_move, minus_move = movement(high[k + 1], low[k + 1], high[k], low[k])
        plus = plus * keep + plus_move
        minus = minus * keep + minus_move
        dx = 100.0 * (abs(plus - minus) / (plus + minus))
        value += (dx - value) * alpha
        out[k] = value
    if missing:
        return False
    last = length
    while is_still(high, low, last):
        last -= 1
    state[1] = high[length]
    state[2] = low[length]
    state[3] = plus
    state[4] = minus
    state[5] = float(length - last)
    state[7] = value
    return True


def adx(high: Floats, low: Floats, close: Floats, n: int, memory: int, state: Floats, out: Floats) -> None:
    """Fill Wilder's ADX. state: bars, previous high, previous low, sum of +DM, of -DM, idle bars, DX count, average.

    The true range cancels out of DX and is not computed; `close` only tells that a bar is missing. DX is undefined
    before the first directional movement; after `memory` bars without one the past is forgotten (it weighs less than
    1e-9) and ADX starts anew with the next. Seeds as Wilder's book: the sum of the first n movements, the mean of the
    first n DX.
    """
    keep = (n - 1) / n
    i = 0
    step_until = 1
    while i < len(close):
        if i >= step_until and state[6] > n and state[3] + state[4] > FADED:
            stop = min(i + min(BLOCK, memory), len(close))
            tops, bottoms = high[i - 1 : stop], low[i - 1 : stop]
            if adx_stretch(n, memory, keep, state, tops, bottoms, close[i:stop], out[i:stop]):
                i = stop
                continue
            step_until = stop
        out[i] = adx_step(n, memory, keep, state, high[i], low[i], close[i])
        i += 1
