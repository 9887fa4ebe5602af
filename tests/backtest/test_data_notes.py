"""What qualifies a result is said: ranges, holes, warm-up, odd candles, regimes and for which share they were known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from market_rig import QUARTER, START, Script, coin, config_with, flat, market_of, regimes_of, simulate, wandering

from perp_bot.backtest.data_notes import notes_of, odd_candles, refuse_undecidable
from perp_bot.backtest.engine import run
from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.market import Candles, Market, Regimes
from perp_bot.backtest.regimes import regime_note
from perp_bot.config.model import Config
from perp_bot.core.errors import UsageError
from perp_bot.core.types import Side

WINDOW = 512  # candles in a row that the default settings need


def cut(market: Market, place: int, keep: slice) -> Market:
    """Return a market of whose symbol `place` only some candles are stored."""
    item = market.symbols[place]
    columns = (getattr(item.candles, n)[keep] for n in ("open_ms", "open", "high", "low", "close", "volume"))
    symbols = list(market.symbols)
    symbols[place] = replace(item, candles=Candles("15m", *columns))
    return replace(market, symbols=tuple(symbols))


def told(market: Market, begin: int = 0, end: int | None = None) -> list[str]:
    grid = grid_of(market)
    return list(notes_of(grid, Config(), begin, grid.bars if end is None else end))


def starting(notes: list[str], words: str) -> list[str]:
    return [note for note in notes if note.startswith(words)]


def test_coins_with_different_ranges_are_named_and_not_called_holes() -> None:
    """One listed later: its range is said, and nothing is missing."""
    notes = told(cut(market_of(coin(flat(600)), coin(flat(600), "BBB")), 1, slice(200, 500)))
    (note,) = starting(notes, "the coins are stored over")
    assert note == (
        "the coins are stored over different ranges, each is traded within its own: "
        "AAA 2023-11-15T00:00:00Z to 2023-11-21T06:00:00Z, BBB 2023-11-17T02:00:00Z to 2023-11-20T05:00:00Z"
    )
    assert not any("missing" in note for note in notes)


def test_holes_are_counted_by_coin_within_its_range() -> None:
    """Two candles of one coin, one of the other; equal ranges are not mentioned."""
    rows = [*flat(600)]
    rows[100] = rows[101] = None  # type: ignore[call-overload]
    other = [*flat(600)]
    other[300] = None  # type: ignore[call-overload]
    notes = told(market_of(coin(rows), coin(other, "BBB")))
    assert starting(notes, "AAA:") == [
        "AAA: 2 candles are missing: no decision there, and a new warm-up behind each hole"
    ]
    assert starting(notes, "BBB:") == [
        "BBB: 1 candle is missing: no decision there, and a new warm-up behind each hole"
    ]
    assert not starting(notes, "the coins are stored over")


@pytest.mark.parametrize(
    ("bars", "hole", "begin", "can"),
    [(800, None, 0, 289), (800, None, 600, None), (800, None, 400, 289), (1_100, 550, 0, 39 + 38)],
    ids=["from the start", "warm already", "warm within the span", "again behind a hole"],
)
def test_the_warm_up_is_said_with_what_it_leaves(bars: int, hole: int | None, begin: int, can: int | None) -> None:
    """The 512th candle in a row is the first that can be decided; where all can, nothing is said."""
    rows = [*flat(bars)]
    if hole is not None:
        rows[hole] = None  # type: ignore[call-overload]
    there = bars - begin - (hole is not None)
    found = starting(told(market_of(coin(rows)), begin), "the warm-up takes")
    expected = (
        f"the warm-up takes 512 candles in a row: {can} of {there:,} candles can be decided, nothing is entered at the "
        "others"
    )
    assert found == ([] if can is None else [expected])


def test_a_warm_up_longer_than_the_data_is_refused_with_both_lengths() -> None:
    """One candle short: nothing can be decided; one more, and one close can."""
    short = market_of(coin(flat(WINDOW - 1)))
    with pytest.raises(UsageError, match=r"takes 512 15m candles in a row \(5.3 days\), and at most 511 are stored"):
        refuse_undecidable(short, Config(), None, None)
    enough = market_of(coin(flat(WINDOW)))
    refuse_undecidable(enough, Config(), None, None)
    with pytest.raises(UsageError, match="at most 511 are stored up to the end of the span"):
        refuse_undecidable(enough, Config(), None, START + (WINDOW - 1) * QUARTER)
    with pytest.raises(UsageError, match="nothing can be decided"):  # the only close that can lies before the span
        refuse_undecidable(enough, Config(), START + WINDOW * QUARTER, None)


def test_odd_candles_are_named_with_the_worst_of_it() -> None:
    """A bar of 58 %, two days without volume: each once, with its place; lawful series have none."""
    market = wandering(7, 1_200)
    assert odd_candles(market) == ()
    candles = market.symbols[0].candles
    for column in (candles.open, candles.high, candles.low, candles.close):
        column[801:] *= 0.42
    candles.low[800] = candles.close[800] = candles.open[800] * 0.42
    candles.volume[300:492] = 0.0
    quiet, jump, *rest = odd_candles(market)
    assert quiet == ("odd candles, AAA 15m: no volume from 2023-11-18T03:00:00Z to 2023-11-20T03:00:00Z (192 candles)")
    assert jump.startswith("odd candles, AAA 15m: the close of 2023-11-23T08:00:00Z is -5")
    assert rest == []


def test_many_of_a_kind_are_one_note() -> None:
    """The first, and how many more."""
    rows = [(100.0 * 2 ** (bar % 2),) * 4 for bar in range(600)]
    (note,) = odd_candles(market_of(coin(rows)))
    assert note.endswith("is +100.0% from the one before, and 598 more like it (perpbot data check)")


# ------------------------------------------------------------ regimes


@pytest.mark.parametrize(
    ("regimes", "expected"),
    [
        (None, "regime: none is recorded for these closes, NORMAL is assumed for 100.0% of them"),
        (
            regimes_of((100, "NORMAL")),
            "regime: none is recorded for these closes, NORMAL is assumed for 100.0% of them",
        ),
        (regimes_of((0, "NORMAL")), "regime: as recorded, for every close"),
        (regimes_of((76, "HIGH_RISK")), "regime: as recorded for 25.0% of the closes, NORMAL is assumed for 75.0%"),
        (regimes_of((76, "NORMAL")), "regime: as recorded for 25.0% of the closes, NORMAL is assumed for 75.0%"),
    ],
    ids=["none", "later", "all", "a quarter", "a quarter, and NORMAL"],
)
def test_the_share_of_recorded_regimes_is_said(regimes: Regimes | None, expected: str) -> None:
    """NORMAL that was recorded is not NORMAL that is assumed. The close of bar n is at n + 1 quarters."""
    market = market_of(coin(flat(100)), regimes=regimes)
    notes = told(market) if regimes is None or regimes.venue_ms[0] < START + 100 * QUARTER else told(market, 0, 99)
    assert starting(notes, "regime") == [expected]


def test_a_regime_is_not_used_beyond_its_age_and_the_share_says_so() -> None:
    """Recorded twice, each good for two hours and the close at their end: 18 of 100 closes."""
    recorded = replace(regimes_of((1, "CRISIS"), (51, "CRISIS")), max_age_ms=8 * QUARTER)
    assert regime_note(recorded, START + QUARTER, START + 100 * QUARTER, QUARTER) == (
        "regime: as recorded for 18.0% of the closes, NORMAL is assumed for 82.0%"
    )
    grid = grid_of(market_of(coin(flat(100)), regimes=recorded))
    assert np.flatnonzero(grid.regimes).tolist() == [*range(9), *range(50, 59)]


@pytest.mark.parametrize("engine", ["plain", "kernel"])
def test_a_crisis_that_is_too_old_forbids_no_entry(engine: str) -> None:
    """CRISIS forbids the entry at bar 2, and no longer the one at bar 8."""
    regimes = replace(regimes_of((1, "CRISIS")), max_age_ms=4 * QUARTER)
    market = market_of(coin(flat(20)), regimes=regimes)
    result = simulate(market, Script({2: Side.LONG, 8: Side.LONG}, {12: False}), config_with(), engine)
    assert result.blocked["regime"] == 1
    assert [row.decided_ms for row in result.trades.rows()] == [START + 9 * QUARTER]


def test_the_engine_says_what_the_notes_say() -> None:
    """One function for all: a result has the notes of its bars."""
    market = wandering(3, 900)
    result = run(Config(), market, "mean_reversion")
    assert result.notes == notes_of(grid_of(market), Config(), 0, 900, result.missing_funding_hours)
