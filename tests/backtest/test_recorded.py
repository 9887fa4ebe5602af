"""The simulation on a recorded market, with recordings written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from perp_bot.backtest.grid import REGIMES
from perp_bot.backtest.market import Regimes
from perp_bot.backtest.recorded import RecordedRun, simulate
from perp_bot.backtest.recorded_result import result_of_run, run_recorded
from perp_bot.config.model import Config, RiskConfig, SignalsConfig, TradingConfig
from perp_bot.core.errors import StoreError, UsageError
from perp_bot.core.events import BoundaryClosed, CloseStatus, FundingSettled, SeriesClose
from perp_bot.core.types import (
    AssetContext,
    Book,
    BookLevel,
    Candle,
    FundingRate,
    Instrument,
    OrderSide,
    PublicTrade,
    Regime,
)
from perp_bot.data import recordings
from perp_bot.data.recordings import MARKET, Recording
from perp_bot.data.session_format import Ending, Entry, Opening, Pass, named

QUARTER = 900_000
HOUR = 4 * QUARTER
START = 1_768_446_000_000  # 03:00 UTC
BARS = 640


def candles() -> list[Candle]:
    """Return closes that wave around 100 and end with a fall that any threshold calls an entry LONG."""
    found = []
    for place in range(BARS):
        px = 100.0 + (place % 4) * 0.1
        found.append(Candle("BTC", "15m", START - (BARS - place) * QUARTER, px, px + 0.1, px - 0.1, px, 10.0))
    return found


def config(**changes: object) -> Config:
    """Return settings that enter at almost any move."""
    signals = SignalsConfig(
        zscore_entry_threshold=1.0, zscore_exit_threshold=0.3, zscore_stop_threshold=50.0, bollinger_std=1.0,
        rsi_overbought=50.5, rsi_oversold=49.5, adx_threshold=100.0,
    )  # fmt: skip
    trading = TradingConfig(symbols=("BTC",), capital_usd=1_000.0, leverage=3)
    return replace(Config(signals=signals, trading=trading, risk=RiskConfig()), **changes)  # type: ignore[arg-type]


def moment(at_ms: int, px: float, *events: object, trades: Sequence[PublicTrade] = ()) -> Pass:
    """Return a moment with a mark and a book around `px`."""
    context = AssetContext("BTC", at_ms, px, px, px, 0.0000125, 1.0, 0.0)
    book = Book("BTC", at_ms, (BookLevel(px - 0.1, 99.0),), (BookLevel(px + 0.1, 99.0),))
    return Pass(at_ms, at_ms, {"BTC": (context,)}, {"BTC": book}, {}, list(trades), named(events))  # type: ignore[arg-type]


def close(at_ms: int, px: float) -> BoundaryClosed:
    """Return the close of a quarter of an hour."""
    candle = Candle("BTC", "15m", at_ms - QUARTER, px, px + 0.1, px - 0.1, px, 10.0)
    return BoundaryClosed("15m", at_ms, (SeriesClose("BTC", CloseStatus.CONFIRMED, (candle,)),))


def recorded(root: Path, passes: Sequence[Pass], *, is_whole: bool = True) -> Recording:
    """Write a recording."""
    recording, recorder = recordings.begin(root, config(), kind=MARKET, venue="v", boot_id="")
    opening = Opening(
        None, START, None, [Instrument("BTC", 0, 5, 40)], False, 15_000, "v", None, {"BTC": tuple(candles())}, "",
        START, [], [],
    )  # fmt: skip
    entries: list[Entry] = [opening, *passes]
    for entry in entries:
        recorder.put(entry)
    recorder.start()
    recorder.stop(Ending("", passes[-1].now_ms, len(passes)) if is_whole else None)
    return recording


FALL = [
    moment(START, 100.0),
    moment(START + QUARTER, 98.0, close(START + QUARTER, 98.0)),  # decided LONG, rests at 97.9
    moment(
        START + QUARTER + 60_000, 98.0,
        trades=[PublicTrade("BTC", START + QUARTER + 5_000, 97.0, 50.0, OrderSide.SELL, 1)],
    ),
]  # fmt: skip


def run(root: Path, passes: Sequence[Pass], settings: Config | None = None) -> RecordedRun:
    return simulate(settings or config(), recorded(root, passes))


def test_an_entry_is_decided_and_filled_from_the_recorded_market(tmp_path: Path) -> None:
    """LONG at the close, filled as maker by the trade that went through its limit, with a stop under it."""
    found = run(tmp_path, FALL)
    (fill,) = found.fills
    assert (fill.px, fill.venue_ms, str(fill.liquidity)) == (Decimal("97.9"), START + QUARTER + 5_000, "maker")
    (position,) = found.positions
    assert position.stop_px is not None
    assert position.stop_px < 97.9
    assert [str(row.action) for row in found.journal] == ["enter"]


def test_a_stored_regime_decides_and_its_share_is_said(tmp_path: Path) -> None:
    """A recording holds none: the store's is used while it is fresh, else NORMAL; which is told with the result."""
    recording = recorded(tmp_path, FALL)
    crisis = np.array([REGIMES.index(Regime.CRISIS)], np.int8)
    fresh, old = (Regimes(np.array([START + QUARTER - age]), crisis, HOUR) for age in (HOUR, HOUR + 1))
    none = "regime: none is recorded for these closes, NORMAL is assumed for 100.0% of them"
    for regimes, decided, note in (
        (fresh, ("CRISIS", "hold"), "regime: as recorded, for every close"),  # its thresholds are wider
        (old, ("NORMAL", "enter"), none),
        (None, ("NORMAL", "enter"), none),
    ):
        found = simulate(config(), recording, regimes=regimes)
        assert [(str(row.regime), str(row.action)) for row in found.journal] == [decided]
        assert note in result_of_run(config(), recording, found).notes


def test_it_starts_flat_with_the_configured_capital(tmp_path: Path) -> None:
    """Whatever the session had."""
    rich = config(trading=replace(config().trading, capital_usd=5_000.0))
    assert [equity for _, equity, _ in run(tmp_path / "a", FALL, rich).equity] == [5_000.0]
    assert [equity for _, equity, _ in run(tmp_path / "b", FALL).equity] == [1_000.0]


def test_who_held_at_the_hour_pays_its_funding(tmp_path: Path) -> None:
    """The stop fires after the hour within one moment: that hour is still paid, on the oracle of the hour."""
    hour_ms = START + HOUR
    last = AssetContext("BTC", hour_ms - 1_000, 98.0, 98.5, None, None, None, None)
    crash = AssetContext("BTC", hour_ms + 5_000, 50.0, 50.0, None, None, None, None)
    thin = Book("BTC", hour_ms + 4_000, (BookLevel(95.0, 99.0),), (BookLevel(95.2, 99.0),))
    both = Pass(hour_ms + 10_000, hour_ms + 10_000, {"BTC": (last, crash)}, {"BTC": thin})
    paid = FundingSettled(FundingRate("BTC", hour_ms, 0.0001, None))
    found = run(tmp_path, [*FALL, both, moment(hour_ms + 60_000, 96.0, paid)])
    (payment,) = found.funding
    assert (payment.oracle_px, payment.signed_size) == (Decimal("98.5"), found.fills[0].size)
    (trade,) = found.trades
    assert trade.exit_reason == "capital_stop"
    assert trade.funding_usd == payment.usd < 0


def test_a_rate_that_the_session_never_asked_for_comes_from_the_store(tmp_path: Path) -> None:
    """Only the backtest held: the stored rate is used, else the hour is counted as missing."""
    hour_ms = START + HOUR
    later = [*FALL, moment(hour_ms, 98.0), moment(hour_ms + 11 * 60_000, 98.0)]
    known = simulate(config(), recorded(tmp_path / "a", later), {("BTC", hour_ms): 0.0002})
    assert [payment.rate for payment in known.funding] == [Decimal("0.0002")]
    assert known.missing_hours == 0
    unknown = simulate(config(), recorded(tmp_path / "b", later))
    assert (unknown.funding, unknown.missing_hours) == ((), 1)


def test_a_recording_without_an_end_is_simulated_as_far_as_it_goes(tmp_path: Path) -> None:
    """And the result says so."""
    recording = recorded(tmp_path, FALL, is_whole=False)
    found = simulate(config(), recording)
    assert len(found.fills) == 1
    assert not found.is_whole
    assert any("has no end" in note for note in result_of_run(config(), recording, found).notes)


def test_what_is_not_in_the_recording_is_refused(tmp_path: Path) -> None:
    """Another coin, another timeframe, a recording that holds no beginning."""
    recording = recorded(tmp_path, FALL)
    with pytest.raises(UsageError, match="recorded BTC, not ETH"):
        run_recorded(config(trading=replace(config().trading, symbols=("ETH",))), recording)
    with pytest.raises(UsageError, match="recorded the closes of 15m, not of 1h"):
        run_recorded(config(data=replace(config().data, primary_timeframe="1h")), recording)
    for segment in recording.folder.glob("*.rec"):
        segment.unlink()
    with pytest.raises(StoreError, match="holds no beginning"):
        simulate(config(), recording)
