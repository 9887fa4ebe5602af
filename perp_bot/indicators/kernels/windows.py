"""Mean and sigma of each window, from its own values alone; z-score and Bollinger bands on them."""

from __future__ import annotations

import math

from perp_bot.indicators.kernels.columns import BLOCK, NAN, Floats, copy, fill

# Written into their callers before the compiler looks at the loops: it then sees that the columns of one scratch lie
# apart.
INLINE = ("pair_moments", "double_moments", "join_moments", "settle_moments")


def moments_scratch(n: int) -> int:
    """Return how many numbers of scratch the kernels with a window of `n` need."""
    return 6 * (BLOCK + n)


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


def scores_and_bands(
    x: Floats, n: int, k: float, scratch: Floats, z: Floats, upper: Floats, middle: Floats, lower: Floats
) -> None:
    """Fill what `zscore` and `bollinger` fill, for the same `n`: the windows are added up once."""
    room = BLOCK + n
    inverse = 1.0 / n
    for start in range(0, len(z), BLOCK):
        bars = min(BLOCK, len(z) - start)
        values = x[start : start + bars + n - 1]
        sums = scratch[4 * room : 4 * room + bars]
        squares = scratch[5 * room : 5 * room + bars]
        block_sums(values, n, scratch, sums, squares)
        newest = values[n - 1 :]
        scored = z[start : start + bars]
        above = upper[start : start + bars]
        mean = middle[start : start + bars]
        below = lower[start : start + bars]
        for i in range(bars):
            offset, sigma = settled(inverse, values[i], newest[i], sums[i], squares[i])
            scored[i] = score(offset, sigma)
            above[i], mean[i], below[i] = band(newest[i], offset, sigma, k)
