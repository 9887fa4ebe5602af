"""The decision row: a fixed window, nothing before it, None where undefined; and warm-up."""

from __future__ import annotations

import numpy as np
import pytest
from indicator_reference import Candles, walk
from numpy.testing import assert_allclose

from perp_bot.indicators import batch, warmup
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.row import IndicatorParams, IndicatorRow

DEFAULTS = IndicatorParams()
WINDOW = warmup.decision_window(DEFAULTS)
REMEMBERING = ("rsi", "adx", "atr", "ema", "macd", "macd_signal", "macd_histogram", "macd_histogram_before")


def test_the_default_window_is_512_bars_and_covers_every_warmup() -> None:
    """Warm-up as DESIGN says, about 400 bars for ADX 14; every window of the set fits."""
    bars = warmup.bars_by_value(DEFAULTS)
    assert bars == {
        "zscore": 20,
        "bb_upper": 20,
        "bb_middle": 20,
        "bb_lower": 20,
        "rsi": 295,
        "adx": 388,
        "atr": 295,
        "ema": 228,
        "macd": 398,
        "macd_signal": 398,
        "macd_histogram": 398,
        "macd_histogram_before": 399,
        "realized_vol": 21,
        "hurst": 101,
        "hurst_rs": 101,
        "volume_mean": 20,
    }
    assert set(bars) == set(IndicatorRow().as_dict())
    assert (warmup.warmup(DEFAULTS), WINDOW) == (399, 512)
    slow = IndicatorParams(adx_period=50, zscore_lookback=2_000)
    assert warmup.warmup(slow) == 2_000
    assert warmup.decision_window(slow) == 2_048


def test_the_row_depends_on_nothing_before_its_window(recorded: Candles) -> None:
    """A restarted daemon with less history, or other history, gets the identical bits."""
    high, low, close = recorded.high, recorded.low, recorded.close
    row = decision_row(high, low, close, DEFAULTS)
    for start in (0, 100, len(close) - WINDOW):
        other = decision_row(high[start:], low[start:], close[start:], DEFAULTS)
        assert other == row
    noise = walk(50, 1)
    joined = (
        np.concatenate([before, column[-WINDOW:]])
        for before, column in ((noise.high, high), (noise.low, low), (noise.close, close))
    )
    assert decision_row(*joined, DEFAULTS) == row
    assert decision_row(high.tolist(), tuple(low.tolist()), close.tolist(), DEFAULTS) == row


def test_the_row_is_the_batch_of_its_window_and_near_the_batch_of_all(recorded: Candles) -> None:
    """Bit-equal to the columns of the same 512 bars; within 1e-9 of columns that begin much earlier."""
    high, low, close = recorded.high, recorded.low, recorded.close
    for end in (WINDOW, 600, 701, 800):
        row = decision_row(high[:end], low[:end], close[:end], DEFAULTS, high[:end])
        window = slice(end - WINDOW, end)
        assert row == batch.indicator_set(high[window], low[window], close[window], None, high[window]).row(-1)
        whole = batch.indicator_set(high[:end], low[:end], close[:end], None, high[:end]).row(-1).as_dict()
        for name, value in row.as_dict().items():
            assert value == pytest.approx(whole[name], rel=1e-9), name


def test_too_little_history_gives_windows_first_and_memories_only_when_whole() -> None:
    """20 closes have a z-score; RSI and the like wait for all 512 bars, however near."""
    candles = walk(600, 2)
    rows = {
        bars: decision_row(candles.high[:bars], candles.low[:bars], candles.close[:bars], DEFAULTS, candles.high[:bars])
        for bars in (0, 1, 19, 20, 21, 100, 101, 511, 512)
    }
    assert rows[0] == rows[1] == rows[19] == IndicatorRow()
    assert rows[20].zscore is not None
    assert rows[20].realized_vol is None
    assert rows[21].realized_vol is not None
    assert (rows[100].hurst, rows[100].hurst_rs) == (None, None)
    assert rows[101].hurst is not None
    assert all(rows[511].as_dict()[name] is None for name in REMEMBERING)
    assert all(value is not None for value in rows[512].as_dict().values())


@pytest.mark.parametrize("age", [0, 1, 19, 20, 21, 100, 101, 511, 512])
def test_a_hole_in_the_window_silences_whatever_it_could_touch(age: int) -> None:
    """A missing close `age` bars ago: windows that hold it and all memories are None until it has left."""
    candles = walk(700, 3)
    close = candles.close.copy()
    close[699 - age] = np.nan
    row = decision_row(candles.high, candles.low, close, DEFAULTS)
    clean = decision_row(candles.high, candles.low, candles.close, DEFAULTS)
    reach = {"zscore": 20, "bb_upper": 20, "realized_vol": 21, "hurst": 101, "hurst_rs": 101, "rsi": 512, "macd": 512}
    for name, bars in reach.items():
        expected = None if age < bars else clean.as_dict()[name]
        assert row.as_dict()[name] == expected, name


def test_columns_of_unequal_length_are_refused() -> None:
    """A row from misaligned columns would be silently wrong."""
    with pytest.raises(ValueError, match="have 3, 2 and 3 bars"):
        decision_row([1.0] * 3, [1.0] * 2, [1.0] * 3, DEFAULTS)


def test_values_are_plain_floats_fit_for_the_journal(recorded: Candles) -> None:
    """JSON and msgpack take Python floats; a numpy scalar would not be encoded."""
    row = decision_row(recorded.high, recorded.low, recorded.close, DEFAULTS, recorded.high)
    assert {type(value) for value in row.as_dict().values()} == {float}


@pytest.mark.parametrize("n", [2, 5, 14, 25])
@pytest.mark.parametrize("offset", [1, 37, 200])
def test_two_starts_agree_to_1e9_once_warm(n: int, offset: int) -> None:
    """DESIGN: warm-up is where the start weighs less than 1e-9, proved at every later bar from two other starts."""
    candles = walk(3_000, n)
    late = Candles(candles.high[offset:], candles.low[offset:], candles.close[offset:])

    def gap(whole: np.ndarray, cut: np.ndarray, warm: int) -> None:
        assert_allclose(cut[warm - 1 :], whole[offset + warm - 1 :], rtol=1e-9)

    gap(batch.ema(candles.close, n), batch.ema(late.close, n), warmup.ema_bars(n))
    gap(batch.rsi(candles.close, n), batch.rsi(late.close, n), warmup.rsi_bars(n))
    gap(
        batch.atr(candles.high, candles.low, candles.close, n),
        batch.atr(late.high, late.low, late.close, n),
        warmup.atr_bars(n),
    )
    gap(
        batch.adx(candles.high, candles.low, candles.close, n),
        batch.adx(late.high, late.low, late.close, n),
        warmup.adx_bars(n),
    )
    warm = warmup.macd_bars(12, 26, 9)
    for whole, cut in zip(batch.macd(candles.close), batch.macd(late.close), strict=True):
        # MACD crosses zero, so its gap is measured against its usual size
        assert_allclose(cut[warm - 1 :], whole[offset + warm - 1 :], rtol=0, atol=1e-9 * np.nanstd(whole))


def test_warmup_is_not_far_longer_than_it_has_to_be() -> None:
    """At half the warm-up two starts still differ by more than 1e-9: the figure is a measure, not a guess."""
    candles = walk(3_000, 14)
    for warm, column in (
        (warmup.rsi_bars(14), lambda c: batch.rsi(c.close, 14)),
        (warmup.adx_bars(14), lambda c: batch.adx(c.high, c.low, c.close, 14)),
        (warmup.ema_bars(20), lambda c: batch.ema(c.close, 20)),
    ):
        late = column(Candles(candles.high[37:], candles.low[37:], candles.close[37:]))
        whole = column(candles)[37:]
        assert abs(late[warm // 2] / whole[warm // 2] - 1) > 1e-9
