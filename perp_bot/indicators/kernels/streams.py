"""The seven indicators brought up to date by one candle, for one symbol or for many at once.

The arithmetic is that of the columns, called from here, so a stream has the bits of the columns. One symbol keeps its
state together and takes the steps one after the other. Many keep each number of the state in a row, one place a symbol,
and take each step for all symbols before the next one: that is what lets the compiler use vector instructions.

Both keep everything in one array (`store`): a call costs more than the arithmetic, and each argument adds to it. Its
layout is `streaming`'s.
"""

from __future__ import annotations

from perp_bot.indicators.kernels.averages import (
    ATR_STATE,
    EMA_STATE,
    atr_step,
    ema_step,
    four_on,
    next_average,
    true_range,
    weights,
)
from perp_bot.indicators.kernels.columns import NAN, Floats, copy, fill
from perp_bot.indicators.kernels.wilder import ADX_STATE, RSI_STATE, adx_step, movement, next_adx, next_rsi, rsi_step
from perp_bot.indicators.kernels.windows import (
    band,
    bands,
    double_moments,
    doubled,
    join_moments,
    join_scale,
    joined,
    pair_moments,
    score,
    scores,
    settle_moments,
    settled,
)

# The values, in the order of `streaming.NAMES`.
ZSCORE, BB_UPPER, BB_MIDDLE, BB_LOWER, RSI, ADX, ATR, EMA, MACD, MACD_SIGNAL, MACD_HISTOGRAM = range(11)
VALUES = 11

# The plan, in front of the store: periods, then where things are. Whole numbers kept as floats.
ZSCORE_N, BAND_N, BAND_K, RSI_N, RSI_MEMORY, ADX_N, ADX_MEMORY, ATR_N = range(8)
EMA_N, FAST_N, SLOW_N, SIGNAL_N, SYMBOLS, NOW, RING, ZSCORE_ROWS = range(8, 16)
SIZES = 16  # of the rings that keep the sums of 2, 4, 8, ... closes: for the z-score's window, then for the bands'
LEVELS = 30
PLAN = SIZES + 2 * LEVELS
# Rows of many symbols before their closes: of ATR the previous candle's wholeness and four true ranges, of MACD four
# lines, and two for the moments of a window; an average takes five, and RSI's last close is among the closes.
ROOM_OF_ONE = VALUES + RSI_STATE + ADX_STATE + ATR_STATE + 4 * EMA_STATE  # before its closes
ROWS_OF_MANY = VALUES + (RSI_STATE - 1) + ADX_STATE + (1 + 4) + 5 * 5 + 4 + 2


def stream_one(store: Floats, high: float, low: float, close: float) -> None:
    """Take one candle of one symbol; the values are in the places after the plan."""
    values = store[PLAN : PLAN + VALUES]
    at = PLAN + VALUES
    n = int(store[RSI_N])
    values[RSI] = rsi_step(n, int(store[RSI_MEMORY]), (n - 1) / n, store[at : at + RSI_STATE], close)
    at += RSI_STATE
    n = int(store[ADX_N])
    values[ADX] = adx_step(n, int(store[ADX_MEMORY]), (n - 1) / n, store[at : at + ADX_STATE], high, low, close)
    at += ADX_STATE
    n = int(store[ATR_N])
    values[ATR] = atr_step(weights(1.0 / n), n, store[at : at + ATR_STATE], high, low, close)
    at += ATR_STATE
    n = int(store[EMA_N])
    values[EMA] = ema_step(weights(2.0 / (n + 1)), n, store[at : at + EMA_STATE], close)
    at += EMA_STATE
    n = int(store[FAST_N])
    fast = ema_step(weights(2.0 / (n + 1)), n, store[at : at + EMA_STATE], close)
    at += EMA_STATE
    n = int(store[SLOW_N])
    line = fast - ema_step(weights(2.0 / (n + 1)), n, store[at : at + EMA_STATE], close)
    at += EMA_STATE
    n = int(store[SIGNAL_N])
    signal = ema_step(weights(2.0 / (n + 1)), n, store[at : at + EMA_STATE], line)
    at += EMA_STATE
    values[MACD] = line
    values[MACD_SIGNAL] = signal
    values[MACD_HISTOGRAM] = line - signal
    now = int(store[NOW])
    ring = int(store[RING])
    closes = store[at : at + ring]  # of the last candles
    at += ring
    closes[now & (ring - 1)] = close
    store[NOW] = now + 1.0
    n = int(store[ZSCORE_N])
    sizes = store[SIZES : SIZES + LEVELS]
    offset, sigma = moments_one(n, now, closes, ring, sizes, store[at:])
    values[ZSCORE] = score(offset, sigma)
    if int(store[BAND_N]) != n:
        sizes = store[SIZES + LEVELS : PLAN]
        at += int(store[ZSCORE_ROWS])
        offset, sigma = moments_one(int(store[BAND_N]), now, closes, ring, sizes, store[at:])
    values[BB_UPPER], values[BB_MIDDLE], values[BB_LOWER] = band(close, offset, sigma, store[BAND_K])


def row(rows: Floats, symbols: int, index: int) -> Floats:
    """Return one row."""
    return rows[index * symbols : (index + 1) * symbols]


def moments_one(n: int, now: int, closes: Floats, ring: int, sizes: Floats, state: Floats) -> tuple[float, float]:
    """Return mean minus newest close, and population sigma, of one symbol: `moments_many` of a single place."""
    newest = closes[now & (ring - 1)]
    oldest = closes[(now - n + 1) & (ring - 1)]
    have = n & 1
    offset = 0.0
    sigma = 0.0
    base = 0
    half_base = 0
    half_size = 1
    total = 0.0
    square = 0.0
    width = 2
    level = 0
    while width <= n:
        size = int(sizes[level])
        level += 1
        half = width // 2
        older_x = closes[(now - width + 1) & (ring - 1)]
        next_x = closes[(now - half + 1) & (ring - 1)]
        if width == 2:
            total, square = doubled(1.0, older_x, newest, 0.0, 0.0, 0.0, 0.0)
        else:
            place = half_base + ((now - half) & (half_size - 1))
            total, square = doubled(float(half), older_x, next_x, state[place], total, state[place + half_size], square)
        state[base + (now & (size - 1))] = total
        state[base + size + (now & (size - 1))] = square
        if n & width:
            place = base + ((now - (n - have - width)) & (size - 1))
            if have == 0:
                offset = state[place]
                sigma = state[place + size]
            else:
                scale = join_scale(float(have), float(width))
                later_x = closes[(now - n + 1 + have) & (ring - 1)]
                offset, sigma = joined(
                    float(have), float(width), scale, oldest, later_x, offset, state[place], sigma, state[place + size]
                )
            have += width
        half_base = base
        half_size = size
        base += 2 * size
        width *= 2
    return settled(1.0 / n, oldest, newest, offset, sigma)


def moments_many(
    n: int,
    symbols: int,
    now: int,
    closes: Floats,
    ring: int,
    sizes: Floats,
    state: Floats,
    offset: Floats,
    sigma: Floats,
) -> None:
    """Fill mean minus newest close, and population sigma, of every symbol: `block_moments` with the sums kept."""
    newest = row(closes, symbols, now & (ring - 1))
    oldest = row(closes, symbols, (now - n + 1) & (ring - 1))
    have = n & 1
    if have:
        fill(0.0, offset)
        fill(0.0, sigma)
    base = 0
    half_base = 0
    half_size = 1
    width = 2
    level = 0
    while width <= n:
        size = int(sizes[level])
        level += 1
        sums = row(state, symbols, base + (now & (size - 1)))
        squares = row(state, symbols, base + size + (now & (size - 1)))
        older_x = row(closes, symbols, (now - width + 1) & (ring - 1))
        if width == 2:
            pair_moments(older_x, newest, sums, squares)
        else:
            half = width // 2
            before = half_base + ((now - half) & (half_size - 1))
            last = half_base + (now & (half_size - 1))
            double_moments(
                half,
                older_x,
                row(closes, symbols, (now - half + 1) & (ring - 1)),
                row(state, symbols, before),
                row(state, symbols, last),
                row(state, symbols, before + half_size),
                row(state, symbols, last + half_size),
                sums,
                squares,
            )
        if n & width:
            place = base + ((now - (n - have - width)) & (size - 1))
            if have == 0:
                copy(row(state, symbols, place), offset)
                copy(row(state, symbols, place + size), sigma)
            else:
                join_moments(
                    have,
                    width,
                    oldest,
                    row(closes, symbols, (now - n + 1 + have) & (ring - 1)),
                    row(state, symbols, place),
                    row(state, symbols, place + size),
                    offset,
                    sigma,
                )
            have += width
        half_base = base
        half_size = size
        base += 2 * size
        width *= 2
    settle_moments(n, oldest, newest, offset, sigma)


def average_many(
    alpha: float, n: int, symbols: int, now: int, inputs: Floats, ring: int, state: Floats, out: Floats
) -> None:
    """Fill the exponential average of every symbol. state: values seen, then a ring of the last four averages."""
    w = weights(alpha)
    x0 = row(inputs, symbols, now & (ring - 1))
    x1 = row(inputs, symbols, (now - 1) & (ring - 1))
    x2 = row(inputs, symbols, (now - 2) & (ring - 1))
    x3 = row(inputs, symbols, (now - 3) & (ring - 1))
    seen = row(state, symbols, 0)
    y1 = row(state, symbols, 1 + ((now - 1) & 3))
    y = row(state, symbols, 1 + (now & 3))  # the average of four candles ago, whose place the new one takes
    others = 0
    for k in range(symbols):
        value = x0[k]
        others += 0 if (seen[k] >= n + 3.0) & (value - value == 0.0) else 1
        out[k] = four_on(w, y[k], value, x1[k], x2[k], x3[k])
    if others == 0:  # nearly always: no symbol is new or has a candle missing
        copy(out, y)
        return
    for k in range(symbols):
        value = x0[k]
        is_number = value - value == 0.0
        average = next_average(w, n, seen[k], y1[k], y[k], value, x1[k], x2[k], x3[k])
        count = min(seen[k] + 1.0, n + 3.0) if is_number else 0.0
        seen[k] = count
        y[k] = average if is_number else 0.0
        out[k] = average if is_number & (count >= n) else NAN


def true_range_many(
    high: Floats, low: Floats, close: Floats, previous: Floats, has_previous: Floats, out: Floats
) -> None:
    """Fill the true range of every symbol, NaN where this candle or the one before it is not whole."""
    for k in range(len(out)):
        total = (high[k] - low[k]) + close[k]
        is_whole = total - total == 0.0
        span = true_range(high[k], low[k], previous[k])
        out[k] = span if is_whole & (has_previous[k] != 0.0) else NAN
        has_previous[k] = 1.0 if is_whole else 0.0


def rsi_many(n: int, memory: int, symbols: int, state: Floats, previous: Floats, close: Floats, out: Floats) -> None:
    """Fill the RSI of every symbol. state: bars, gains, losses, idle bars."""
    bars, gains, losses, idle = (
        row(state, symbols, 0),
        row(state, symbols, 1),
        row(state, symbols, 2),
        row(state, symbols, 3),
    )
    keep = (n - 1) / n
    for k in range(symbols):
        bars[k], gains[k], losses[k], idle[k], out[k] = next_rsi(
            n, memory, keep, bars[k], previous[k], gains[k], losses[k], idle[k], close[k]
        )


def adx_many(
    n: int, memory: int, symbols: int, state: Floats, high: Floats, low: Floats, close: Floats, out: Floats
) -> None:
    """Fill the ADX of every symbol. state: as of `adx`."""
    bars, top, bottom, plus = (
        row(state, symbols, 0),
        row(state, symbols, 1),
        row(state, symbols, 2),
        row(state, symbols, 3),
    )
    minus, idle, count, value = (
        row(state, symbols, 4),
        row(state, symbols, 5),
        row(state, symbols, 6),
        row(state, symbols, 7),
    )
    keep = (n - 1) / n
    for k in range(symbols):
        plus_move, minus_move = movement(high[k], low[k], top[k], bottom[k])
        top[k] = high[k]
        bottom[k] = low[k]
        total = (high[k] - low[k]) + close[k]
        bars[k], plus[k], minus[k], idle[k], count[k], value[k], out[k] = next_adx(
            n, memory, keep, bars[k], plus[k], minus[k], idle[k], count[k], value[k], plus_move, minus_move,
            total - total == 0.0,
        )  # fmt: skip


def subtract_many(x: Floats, y: Floats, out: Floats) -> None:
    """Fill the differences."""
    for k in range(len(out)):
        out[k] = x[k] - y[k]


def stream_many(store: Floats, high: Floats, low: Floats, close: Floats) -> None:
    """Take one candle of every symbol; the values are the first rows after the plan, one place a symbol."""
    symbols, now, ring = int(store[SYMBOLS]), int(store[NOW]), int(store[RING])
    rows = store[PLAN:]
    values = rows[: VALUES * symbols]
    at = VALUES
    closes = rows[ROWS_OF_MANY * symbols : (ROWS_OF_MANY + ring) * symbols]  # of the last candles
    close_now = row(closes, symbols, now & (ring - 1))
    close_before = row(closes, symbols, (now - 1) & (ring - 1))
    copy(close, close_now)
    state = rows[at * symbols :]
    rsi_many(
        int(store[RSI_N]), int(store[RSI_MEMORY]), symbols, state, close_before, close_now, row(values, symbols, RSI)
    )
    at += RSI_STATE - 1  # the close before is in the ring
    state = rows[at * symbols :]
    adx_many(int(store[ADX_N]), int(store[ADX_MEMORY]), symbols, state, high, low, close_now, row(values, symbols, ADX))
    at += ADX_STATE
    has_previous = row(rows, symbols, at)
    at += 1
    ranges = rows[at * symbols : (at + 4) * symbols]
    at += 4
    true_range_many(high, low, close_now, close_before, has_previous, row(ranges, symbols, now & 3))
    n = int(store[ATR_N])
    average_many(1.0 / n, n, symbols, now, ranges, 4, rows[at * symbols :], row(values, symbols, ATR))
    at += 5
    n = int(store[EMA_N])
    average_many(2.0 / (n + 1), n, symbols, now, closes, ring, rows[at * symbols :], row(values, symbols, EMA))
    at += 5
    n = int(store[FAST_N])
    average_many(2.0 / (n + 1), n, symbols, now, closes, ring, rows[at * symbols :], row(values, symbols, MACD))
    at += 5
    n = int(store[SLOW_N])
    average_many(2.0 / (n + 1), n, symbols, now, closes, ring, rows[at * symbols :], row(values, symbols, MACD_SIGNAL))
    at += 5
    lines = rows[at * symbols : (at + 4) * symbols]
    at += 4
    line = row(lines, symbols, now & 3)
    subtract_many(row(values, symbols, MACD), row(values, symbols, MACD_SIGNAL), line)
    copy(line, row(values, symbols, MACD))
    n = int(store[SIGNAL_N])
    average_many(2.0 / (n + 1), n, symbols, now, lines, 4, rows[at * symbols :], row(values, symbols, MACD_SIGNAL))
    at += 5
    subtract_many(line, row(values, symbols, MACD_SIGNAL), row(values, symbols, MACD_HISTOGRAM))
    offset = row(rows, symbols, at)
    sigma = row(rows, symbols, at + 1)
    at += 2 + ring
    n = int(store[ZSCORE_N])
    sizes = store[SIZES : SIZES + LEVELS]
    moments_many(n, symbols, now, closes, ring, sizes, rows[at * symbols :], offset, sigma)
    scores(offset, sigma, row(values, symbols, ZSCORE))
    if int(store[BAND_N]) != n:
        at += int(store[ZSCORE_ROWS])
        sizes = store[SIZES + LEVELS : PLAN]
        moments_many(int(store[BAND_N]), symbols, now, closes, ring, sizes, rows[at * symbols :], offset, sigma)
    upper, middle, lower = (
        row(values, symbols, BB_UPPER),
        row(values, symbols, BB_MIDDLE),
        row(values, symbols, BB_LOWER),
    )
    bands(close_now, offset, sigma, store[BAND_K], upper, middle, lower)
    store[NOW] = now + 1.0
