"""The arithmetic of every indicator, in plain Python that numba can compile.

Each kernel fills columns it is given and allocates nothing, so that one code serves a whole series (batch), one candle
(streaming, `state` carries over) and one window (decisions). Nothing here imports numba or numpy: `compiled` runs these
very functions, interpreted or compiled, with identical bits. For that no operation may be regrouped or fused, division
by zero is always guarded (Python raises where compiled code would not), and slices are read from index 0 (compiled
code then needs no wrap-around test, which is what lets it use vector instructions).

A missing number is NaN. Kernels with a window give NaN while the window holds one; kernels with a memory give NaN and
start anew after it, seed included, as if the series began there.
"""

from __future__ import annotations

import math
from typing import Protocol, overload

NAN = math.nan
INF = math.inf
BLOCK = 256  # bars per pass: columns of 2 KiB stay in the first-level cache
FADED = 1e-250  # a sum that a block of bars without movement cannot bring down to 0
STRETCH = 4096  # bars that a loop without a scratch takes before it looks whether one was missing
SMALLEST_CHUNK = 8  # shorter chunks make R/S read mostly its own small-sample bias

Weights = tuple[float, float, float, float, float]

EMA_STATE = 8
MACD_STATE = 3 * EMA_STATE
MACD_BLOCK = 1024  # bars per pass of MACD, which has more to set up for each
MACD_SCRATCH = 2 * (MACD_BLOCK + 4)
ATR_STATE = 10
RSI_STATE = 5
ADX_STATE = 8


def moments_scratch(n: int) -> int:
    """Return how many numbers of scratch the kernels with a window of `n` need."""
    return 6 * (BLOCK + n)


class Floats(Protocol):
    """A column of float64: an array when compiled, a memoryview of the same array when interpreted."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> float: ...
    @overload
    def __getitem__(self, index: slice, /) -> Floats: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


def weights(alpha: float) -> Weights:
    """Return alpha, the weight of the newest four values together, and of each of the three before the newest."""
    keep = 1.0 - alpha
    squared = keep * keep
    return alpha, 1.0 - squared * squared, alpha * keep, alpha * squared, alpha * (squared * keep)


def four_on(w: Weights, average: float, x0: float, x1: float, x2: float, x3: float) -> float:
    """Return the exponential average four values after `average`; x0 is the newest of them.

    The same sum as four steps, taken at once: bars i to i + 3 then wait for nothing that is not four bars old, which
    is what lets the compiler use vector instructions. Written so that a constant series keeps its exact value, and that
    little is left to do once `average` is there.
    """
    news = w[1] * x0 + ((w[2] * (x1 - x0) + w[3] * (x2 - x0)) + w[4] * (x3 - x0))
    return average + (news - w[1] * average)


def next_average(
    w: Weights,
    n: int,
    seen: float,
    y1: float,
    y4: float,
    x0: float,
    x1: float,
    x2: float,
    x3: float,
) -> float:
    """Return the average after `seen` values and x0: a plain mean of the first n, then one step, then four at once.

    y1 is the average so far, y4 the one three values before it; x1 to x3 are the values before x0.
    """
    mean = y1 + (x0 - y1) / (seen + 1.0)
    one_on = y1 + w[0] * (x0 - y1)
    late = four_on(w, y4, x0, x1, x2, x3) if seen >= n + 3.0 else one_on
    return late if seen >= n else mean


def true_range(high: float, low: float, previous: float) -> float:
    """Return Wilder's true high minus true low, which reach to the previous close."""
    top = high if high > previous else previous
    bottom = low if low < previous else previous
    return top - bottom


def doubled(
    width: float, x: float, next_x: float, sums: float, next_sums: float, squares: float, next_squares: float
) -> tuple[float, float]:
    """Return both sums of a group of twice the width from those of its halves; x and next_x are the halves' oldest."""
    later = next_sums + width * (next_x - x)
    apart = later - sums
    return sums + later, (squares + next_squares) + apart * apart * (0.5 / width)


def joined(
    have: float,
    width: float,
    scale: float,
    x: float,
    later_x: float,
    sums: float,
    later_sums: float,
    squares: float,
    later_squares: float,
) -> tuple[float, float]:
    """Return both sums of a group of `have` values and a later one of `width`; scale is `join_scale` of both."""
    later = later_sums + width * (later_x - x)
    apart = later * have - sums * width
    return sums + later, (squares + later_squares) + apart * apart * scale


def join_scale(have: float, width: float) -> float:
    """Return the weight of the squared distance of two groups."""
    return 1.0 / (have * width * (have + width))


def settled(inverse: float, x: float, newest: float, sums: float, squares: float) -> tuple[float, float]:
    """Return mean minus newest value, and population sigma, of a window that begins at x; inverse is 1 / length."""
    spread = math.sqrt(squares * inverse)
    missing = spread - spread  # NaN where a value is missing, else 0
    return (sums * inverse - (newest - x)) + missing, spread + missing


def pair_moments(x: Floats, next_x: Floats, sums: Floats, squares: Floats) -> None:
    """Fill, of each pair, the sum of differences from its older value, and of squares around its mean."""
    for i in range(len(sums)):
        sums[i], squares[i] = doubled(1.0, x[i], next_x[i], 0.0, 0.0, 0.0, 0.0)


def double_moments(
    width: int,
    x: Floats,
    next_x: Floats,
    sums: Floats,
    next_sums: Floats,
    squares: Floats,
    next_squares: Floats,
    wider_sums: Floats,
    wider_squares: Floats,
) -> None:
    """Fill both sums of groups of twice the width from those of their halves."""
    w = float(width)
    for i in range(len(wider_sums)):
        wider_sums[i], wider_squares[i] = doubled(
            w, x[i], next_x[i], sums[i], next_sums[i], squares[i], next_squares[i]
        )


def join_moments(
    have: int,
    width: int,
    x: Floats,
    later_x: Floats,
    later_sums: Floats,
    later_squares: Floats,
    sums: Floats,
    squares: Floats,
) -> None:
    """Bring a later group of another width into the sums of the `have` values that begin at x."""
    h = float(have)
    w = float(width)
    scale = join_scale(h, w)
    for i in range(len(sums)):
        sums[i], squares[i] = joined(
            h, w, scale, x[i], later_x[i], sums[i], later_sums[i], squares[i], later_squares[i]
        )


def settle_moments(n: int, x: Floats, newest: Floats, offset: Floats, sigma: Floats) -> None:
    """Turn both sums of windows of `n` that begin at x into mean minus newest value, and population sigma."""
    inverse = 1.0 / n
    for i in range(len(offset)):
        offset[i], sigma[i] = settled(inverse, x[i], newest[i], offset[i], sigma[i])


def fill(value: float, out: Floats) -> None:
    """Set every value of a column."""
    for i in range(len(out)):
        out[i] = value


def copy(x: Floats, out: Floats) -> None:
    """Copy a column."""
    for i in range(len(out)):
        out[i] = x[i]


def block_sums(x: Floats, n: int, scratch: Floats, window_sums: Floats, window_squares: Floats) -> None:
    """Fill both sums of each window of `n`, for one block: what `settled` makes mean and sigma of.

    Sums of 2, 4, 8, ... values are shared by neighbouring windows; a window is put together from those that the binary
    digits of n name, oldest and shortest first, so it reads its own values alone: nothing carried can drift, and its
    bits do not depend on where the series begins. Sums are of differences from the oldest value, squares are combined
    as Chan, Golub and LeVeque (1983) do: a constant window has sigma 0 exactly, and a shift of all prices changes no
    bit where the differences are exact.
    """
    bars = len(window_sums)
    room = BLOCK + n
    have = 0  # values of the window, from its oldest, that are in the window's sums
    if n & 1:
        fill(0.0, window_sums)
        fill(0.0, window_squares)
        have = 1
    groups = bars + n - 2
    if n > 1:
        pair_moments(x[:groups], x[1 : groups + 1], scratch[:groups], scratch[room : room + groups])
    width = 2
    at = 0  # the half of the scratch that holds the sums of this width; those twice as wide go to the other
    while width <= n:
        sums = scratch[at : at + groups]
        squares = scratch[at + room : at + room + groups]
        if n & width:
            if have == 0:
                copy(sums, window_sums)
                copy(squares, window_squares)
            else:
                end = have + bars
                join_moments(
                    have, width, x, x[have:end], sums[have:end], squares[have:end], window_sums, window_squares
                )
            have += width
        if 2 * width <= n:
            groups -= width
            at = 2 * room - at
            double_moments(
                width,
                x,
                x[width : width + groups],
                sums,
                sums[width : width + groups],
                squares,
                squares[width : width + groups],
                scratch[at : at + groups],
                scratch[at + room : at + room + groups],
            )
        width *= 2


def block_moments(x: Floats, n: int, scratch: Floats, offset: Floats, sigma: Floats) -> None:
    """Fill mean minus newest value, and population sigma, of each window of `n`, for one block."""
    block_sums(x, n, scratch, offset, sigma)
    settle_moments(n, x, x[n - 1 : n - 1 + len(offset)], offset, sigma)


def window_moments(x: Floats, n: int, scratch: Floats, offset: Floats, sigma: Floats) -> None:
    """Fill mean minus newest value, and population sigma, of each window of `n`; x has n - 1 values more than both.

    `scratch` has room for `moments_scratch(n)` numbers.
    """
    for start in range(0, len(offset), BLOCK):
        stop = min(start + BLOCK, len(offset))
        block_moments(x[start : stop + n - 1], n, scratch, offset[start:stop], sigma[start:stop])


def score(offset: float, sigma: float) -> float:
    """Return the z-score of the newest value from the moments of its window; a flat one has none."""
    return (0.0 - offset) / sigma if sigma > 0.0 else NAN


def band(newest: float, offset: float, sigma: float, k: float) -> tuple[float, float, float]:
    """Return mean plus k sigma, mean, and mean minus k sigma from the moments of a window."""
    mean = newest + offset
    width = k * sigma
    return mean + width, mean, mean - width


def scores(offset: Floats, sigma: Floats, out: Floats) -> None:
    """Fill the z-scores from the moments of the windows."""
    for i in range(len(out)):
        out[i] = score(offset[i], sigma[i])


def bands(
    newest: Floats, offset: Floats, sigma: Floats, k: float, upper: Floats, middle: Floats, lower: Floats
) -> None:
    """Fill mean plus k sigma, mean, and mean minus k sigma from the moments of the windows."""
    for i in range(len(middle)):
        upper[i], middle[i], lower[i] = band(newest[i], offset[i], sigma[i], k)


def zscore(x: Floats, n: int, scratch: Floats, out: Floats) -> None:
    """Fill (newest - mean) / sigma of each window of `n`, NaN where it is flat; x has n - 1 values more than `out`."""
    room = BLOCK + n
    inverse = 1.0 / n
    for start in range(0, len(out), BLOCK):
        bars = min(BLOCK, len(out) - start)
        values = x[start : start + bars + n - 1]
        sums = scratch[4 * room : 4 * room + bars]
        squares = scratch[5 * room : 5 * room + bars]
        block_sums(values, n, scratch, sums, squares)
        newest = values[n - 1 :]
        z = out[start : start + bars]
        for i in range(bars):
            offset, sigma = settled(inverse, values[i], newest[i], sums[i], squares[i])
            z[i] = score(offset, sigma)


def bollinger(x: Floats, n: int, k: float, scratch: Floats, upper: Floats, middle: Floats, lower: Floats) -> None:
    """Fill mean plus k sigma, mean, and mean minus k sigma of each window of `n`; x has n - 1 values more than each."""
    room = BLOCK + n
    inverse = 1.0 / n
    for start in range(0, len(middle), BLOCK):
        bars = min(BLOCK, len(middle) - start)
        values = x[start : start + bars + n - 1]
        sums = scratch[4 * room : 4 * room + bars]
        squares = scratch[5 * room : 5 * room + bars]
        block_sums(values, n, scratch, sums, squares)
        newest = values[n - 1 :]
        above = upper[start : start + bars]
        mean = middle[start : start + bars]
        below = lower[start : start + bars]
        for i in range(bars):
            offset, sigma = settled(inverse, values[i], newest[i], sums[i], squares[i])
            above[i], mean[i], below[i] = band(newest[i], offset, sigma, k)


def ema_step(w: Weights, n: int, state: Floats, value: float) -> float:
    """Take one value and return the average of the last ones, NaN until there are `n`."""
    if value - value != 0.0:
        state[0] = 0.0
        state[1] = 0.0
        return NAN
    seen = state[0]
    average = next_average(w, n, seen, state[1], state[4], value, state[5], state[6], state[7])
    state[0] = min(seen + 1.0, n + 3.0)
    state[4] = state[3]
    state[3] = state[2]
    state[2] = state[1]
    state[1] = average
    state[7] = state[6]
    state[6] = state[5]
    state[5] = value
    return average if seen + 1.0 >= n else NAN


def ema_stretch(w: Weights, x: Floats, out: Floats) -> bool:
    """Fill the averages of the values from the fourth on, four being there; return whether all values were numbers."""
    missing = 0
    for k in range(len(x) - 3):
        value = x[k + 3]
        missing += 0 if value - value == 0.0 else 1
        out[k + 4] = four_on(w, out[k], value, x[k + 2], x[k + 1], x[k])
    return missing == 0


def ema_resume(state: Floats, x: Floats, out: Floats) -> None:
    """Set the state to what it is after the last of the values and averages."""
    for j in range(4):
        state[1 + j] = out[len(out) - 1 - j]
    for j in range(3):
        state[5 + j] = x[len(x) - 1 - j]


def ema(x: Floats, n: int, alpha: float, state: Floats, out: Floats) -> None:
    """Fill the exponential average, seeded by the mean of the first `n`.

    state: values seen (up to n + 3), the last four averages and the last three values, newest first.
    """
    w = weights(alpha)
    i = 0
    step_until = 4  # a stretch reads the four bars before it
    while i < len(x):
        if i >= step_until and state[0] >= n + 3:
            stop = min(i + STRETCH, len(x))
            if ema_stretch(w, x[i - 3 : stop], out[i - 4 : stop]):
                ema_resume(state, x[:stop], out[:stop])
                i = stop
                continue
            step_until = stop
        out[i] = ema_step(w, n, state, x[i])
        i += 1


def macd_stretch(fast: Weights, slow: Weights, x: Floats, fasts: Floats, slows: Floats, line: Floats) -> bool:
    """Fill both averages of the values from the fourth on, four being there, and their difference."""
    missing = 0
    for k in range(len(line)):
        value = x[k + 3]
        missing += 0 if value - value == 0.0 else 1
        fasts[k + 4] = four_on(fast, fasts[k], value, x[k + 2], x[k + 1], x[k])
        slows[k + 4] = four_on(slow, slows[k], value, x[k + 2], x[k + 1], x[k])
        line[k] = fasts[k + 4] - slows[k + 4]
    return missing == 0


def signal_stretch(w: Weights, line: Floats, signal: Floats, histogram: Floats) -> None:
    """Fill the average of the line from the fourth on, four being there, and what the line is above it."""
    for k in range(len(histogram)):
        signal[k + 4] = four_on(w, signal[k], line[k + 3], line[k + 2], line[k + 1], line[k])
        histogram[k] = line[k + 3] - signal[k + 4]


def macd(
    x: Floats,
    fast: int,
    slow: int,
    n: int,
    state: Floats,
    scratch: Floats,
    line: Floats,
    signal: Floats,
    histogram: Floats,
) -> None:
    """Fill EMA fast - EMA slow, its EMA over `n`, and their difference. state: that of three EMAs.

    `scratch` has room for MACD_SCRATCH numbers.
    """
    of_fast, of_slow, of_line = weights(2.0 / (fast + 1)), weights(2.0 / (slow + 1)), weights(2.0 / (n + 1))
    fast_state, slow_state, line_state = state[:EMA_STATE], state[EMA_STATE : 2 * EMA_STATE], state[2 * EMA_STATE :]
    fasts, slows = scratch[: MACD_BLOCK + 4], scratch[MACD_BLOCK + 4 :]
    i = 0
    step_until = 4
    while i < len(x):
        if i >= step_until and slow_state[0] >= slow + 3 and line_state[0] >= n + 3:
            stop = min(i + MACD_BLOCK, len(x))
            bars = stop - i
            for j in range(4):
                fasts[j] = fast_state[4 - j]
                slows[j] = slow_state[4 - j]
            if macd_stretch(of_fast, of_slow, x[i - 3 : stop], fasts, slows, line[i:stop]):
                signal_stretch(of_line, line[i - 3 : stop], signal[i - 4 : stop], histogram[i:stop])
                ema_resume(fast_state, x[:stop], fasts[: bars + 4])
                ema_resume(slow_state, x[:stop], slows[: bars + 4])
                ema_resume(line_state, line[:stop], signal[:stop])
                i = stop
                continue
            step_until = stop
        line[i] = ema_step(of_fast, fast, fast_state, x[i]) - ema_step(of_slow, slow, slow_state, x[i])
        signal[i] = ema_step(of_line, n, line_state, line[i])
        histogram[i] = line[i] - signal[i]
        i += 1


def atr_step(w: Weights, n: int, state: Floats, high: float, low: float, close: float) -> float:
    """Take one candle and return the average true range of the last ones, NaN until there are `n`."""
    total = (high - low) + close
    if total - total != 0.0:
        state[9] = 0.0
        return ema_step(w, n, state, NAN)
    previous = state[8]
    state[8] = close
    if state[9] == 0.0:  # the first bar has no previous close, so no true range
        state[9] = 1.0
        return NAN
    return ema_step(w, n, state, true_range(high, low, previous))


def atr_stretch(w: Weights, high: Floats, low: Floats, close: Floats, out: Floats) -> bool:
    """Fill the averages of the candles from the fourth on, four being there; `close` begins one bar earlier.

    The true ranges of four bars are taken anew for each: cheaper than to keep them, the loop waits for memory.
    """
    missing = 0
    for k in range(len(high) - 3):
        total = (high[k + 3] - low[k + 3]) + close[k + 4]
        missing += 0 if total - total == 0.0 else 1
        out[k + 4] = four_on(
            w,
            out[k],
            true_range(high[k + 3], low[k + 3], close[k + 3]),
            true_range(high[k + 2], low[k + 2], close[k + 2]),
            true_range(high[k + 1], low[k + 1], close[k + 1]),
            true_range(high[k], low[k], close[k]),
        )
    return missing == 0


def atr(high: Floats, low: Floats, close: Floats, n: int, state: Floats, out: Floats) -> None:
    """Fill Wilder's average true range, seeded by the mean of the first `n`.

    state: as of `ema`, its values being true ranges, then the previous close and 1 when there is one.
    """
    w = weights(1.0 / n)
    i = 0
    step_until = 4
    while i < len(close):
        if i >= step_until and state[0] >= n + 3:
            stop = min(i + STRETCH, len(close))
            if atr_stretch(w, high[i - 3 : stop], low[i - 3 : stop], close[i - 4 : stop], out[i - 4 : stop]):
                for j in range(4):
                    state[1 + j] = out[stop - 1 - j]
                for j in range(3):
                    at = stop - 1 - j
                    state[5 + j] = true_range(high[at], low[at], close[at - 1])
                state[8] = close[stop - 1]
                i = stop
                continue
            step_until = stop
        out[i] = atr_step(w, n, state, high[i], low[i], close[i])
        i += 1


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
            length = stop - i
            prices = close[i - 1 : stop]
            first = 1
            while first <= length and prices[first] == prices[first - 1]:
                first += 1
            missing = first > length or state[4] + first > memory  # nothing moves for long: bar by bar
            if not missing:
                gains = state[2]
                losses = state[3]
                values = out[i:stop]
                for k in range(length):
                    change = prices[k + 1] - prices[k]
                    missing |= change - change != 0.0
                    gain = change if change > 0.0 else 0.0
                    loss = -change if change < 0.0 else 0.0
                    gains = gains * keep + gain
                    losses = losses * keep + loss
                    values[k] = 100.0 * (gains / (gains + losses))
                if not missing:
                    last = length
                    while prices[last] == prices[last - 1]:
                        last -= 1
                    state[1] = prices[length]
                    state[2] = gains
                    state[3] = losses
                    state[4] = float(length - last)
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


def adx(high: Floats, low: Floats, close: Floats, n: int, memory: int, state: Floats, out: Floats) -> None:
    """Fill Wilder's ADX. state: bars, previous high, previous low, sum of +DM, of -DM, idle bars, DX count, average.

    The true range cancels out of DX and is not computed; `close` only tells that a bar is missing. DX is undefined
    before the first directional movement; after `memory` bars without one the past is forgotten (it weighs less than
    1e-9) and ADX starts anew with the next. Seeds as Wilder's book: the sum of the first n movements, the mean of the
    first n DX.
    """
    keep = (n - 1) / n
    alpha = 1.0 / n
    i = 0
    step_until = 1
    while i < len(close):
        if i >= step_until and state[6] > n and state[3] + state[4] > FADED:
            stop = min(i + min(BLOCK, memory), len(close))
            length = stop - i
            tops = high[i - 1 : stop]
            bottoms = low[i - 1 : stop]
            first = 1
            while first <= length and is_still(tops, bottoms, first):
                first += 1
            missing = first > length or state[5] + first > memory  # nothing moves for long: bar by bar
            if not missing:
                plus = state[3]
                minus = state[4]
                value = state[7]
                closes = close[i:stop]
                values = out[i:stop]
                for k in range(length):
                    whole = (tops[k + 1] - bottoms[k + 1]) + closes[k]
                    missing |= whole - whole != 0.0
                    plus_move, minus_move = movement(tops[k + 1], bottoms[k + 1], tops[k], bottoms[k])
                    plus = plus * keep + plus_move
                    minus = minus * keep + minus_move
                    dx = 100.0 * (abs(plus - minus) / (plus + minus))
                    value += (dx - value) * alpha
                    values[k] = value
                if not missing:
                    last = length
                    while is_still(tops, bottoms, last):
                        last -= 1
                    state[1] = tops[length]
                    state[2] = bottoms[length]
                    state[3] = plus
                    state[4] = minus
                    state[5] = float(length - last)
                    state[7] = value
                    i = stop
                    continue
            step_until = stop
        out[i] = adx_step(n, memory, keep, state, high[i], low[i], close[i])
        i += 1


def log_returns(x: Floats, out: Floats) -> None:
    """Fill log(x[i + 1] / x[i]); NaN where a price is missing or not positive. `out` is one shorter than x."""
    for i in range(len(out)):
        previous = x[i]
        price = x[i + 1]
        out[i] = NAN
        if not (previous > 0.0 and price > 0.0):
            continue
        quotient = price / previous
        if not 0.0 < quotient < INF:
            continue
        change = (price - previous) / previous
        # log1p keeps all digits of a small move; far below, price - previous would round to -previous
        out[i] = math.log1p(change) if change > -0.5 else math.log(quotient)


def hurst_vr(r1: Floats, r2: Floats, r4: Floats, r8: Floats, n: int, out: Floats) -> None:
    """Fill the variance-ratio Hurst exponent of each window of `n` returns; rq are overlapping sums of q returns.

    The formulas are in `batch.hurst_vr`. Each variance ratio is first brought back by half its own variance under
    independent returns, because the logarithm of a noisy number reads low.
    """
    log_2 = math.log(2.0)
    scale = 2.0 * (log_2 * log_2 + (2.0 * log_2) * (2.0 * log_2) + (3.0 * log_2) * (3.0 * log_2))
    for i in range(len(out)):
        out[i] = NAN
        mean = 0.0
        for j in range(n):
            mean += r1[i + j]
        mean /= n
        variance = 0.0
        for j in range(n):
            d = r1[i + j] - mean
            variance += d * d
        variance /= n - 1
        if not 0.0 < variance < INF:
            continue
        sum_2 = 0.0
        for j in range(n - 1):
            d = r2[i + j] - 2.0 * mean
            sum_2 += d * d
        sum_4 = 0.0
        for j in range(n - 3):
            d = r4[i + j] - 4.0 * mean
            sum_4 += d * d
        sum_8 = 0.0
        for j in range(n - 7):
            d = r8[i + j] - 8.0 * mean
            sum_8 += d * d
        ratio_2 = sum_2 / (2.0 * (n - 1) * (1.0 - 2.0 / n)) / variance
        ratio_4 = sum_4 / (4.0 * (n - 3) * (1.0 - 4.0 / n)) / variance
        ratio_8 = sum_8 / (8.0 * (n - 7) * (1.0 - 8.0 / n)) / variance
        if not (ratio_2 > 0.0 and ratio_4 > 0.0 and ratio_8 > 0.0):
            out[i] = 0.0 if (ratio_2 >= 0.0 and ratio_4 >= 0.0 and ratio_8 >= 0.0) else NAN
            continue
        slope = log_2 * (math.log(ratio_2) + 3.0 / (6.0 * n))
        slope += 2.0 * log_2 * (math.log(ratio_4) + 21.0 / (12.0 * n))
        slope += 3.0 * log_2 * (math.log(ratio_8) + 105.0 / (24.0 * n))
        out[i] = min(1.0, max(0.0, 0.5 + slope / scale))


def hurst_rs(r: Floats, n: int, out: Floats) -> None:
    """Fill the classical rescaled-range Hurst exponent of each window of `n` returns.

    Chunks of n//2, n//4, ... down to 8 returns, counted back from the newest; the slope of log(mean R/S) on log(size).
    NaN when a chunk is flat (its R/S is 0/0).
    """
    for i in range(len(out)):
        out[i] = NAN
        sizes = 0
        sum_x = 0.0
        sum_y = 0.0
        sum_xx = 0.0
        sum_xy = 0.0
        is_defined = r[i] == r[i]  # with an odd n no chunk reads the oldest return, which may be missing all the same
        size = n // 2
        while size >= SMALLEST_CHUNK and is_defined:
            chunks = n // size
            total = 0.0
            for chunk in range(chunks):
                first = i + n - (chunk + 1) * size
                mean = 0.0
                for j in range(size):
                    mean += r[first + j]
                mean /= size
                path = 0.0
                highest = 0.0
                lowest = 0.0
                squares = 0.0
                for j in range(size):
                    d = r[first + j] - mean
                    path += d
                    highest = max(highest, path)
                    lowest = min(lowest, path)
                    squares += d * d
                if not 0.0 < squares < INF:
                    is_defined = False
                    break
                total += (highest - lowest) / math.sqrt(squares / size)
            if is_defined:
                x = math.log(size)
                y = math.log(total / chunks)
                sizes += 1
                sum_x += x
                sum_y += y
                sum_xx += x * x
                sum_xy += x * y
            size //= 2
        if is_defined:
            out[i] = (sizes * sum_xy - sum_x * sum_y) / (sizes * sum_xx - sum_x * sum_x)
