"""Exponential averages, four bars a step: EMA, MACD, and Wilder's average true range."""

from __future__ import annotations

from perp_bot.indicators.kernels.columns import NAN, Floats

STRETCH = 4096  # bars that a loop without a scratch takes before it looks whether one was missing

Weights = tuple[float, float, float, float, float]

EMA_STATE = 8
MACD_STATE = 3 * EMA_STATE
MACD_BLOCK = 1024  # bars per pass of MACD, which has more to set up for each
MACD_SCRATCH = 2 * (MACD_BLOCK + 4)
ATR_STATE = 10


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
