"""Requirements that only the sabotage suite showed to be tested too late, too slowly, or not at all."""

from __future__ import annotations

import os
import random
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "trading"))  # the desk on a real queue, journal and database

from desk_rig import MINUTE, QUARTER, START, DeskRig

from perp_bot.config.model import SignalsConfig
from perp_bot.core import timeframes
from perp_bot.core.errors import StoreBusy
from perp_bot.core.types import Enter, Side
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.row import IndicatorParams
from perp_bot.ipc.control import Outcome
from perp_bot.risk import kill_switch
from perp_bot.strategies.parameters import params_from

PARAMS: IndicatorParams = params_from(SignalsConfig())
BARS = 512


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DeskRig]:
    """A desk that has seen marks and books of both coins at `START`, stepped."""
    with DeskRig(tmp_path) as made:
        made.step(START)
        yield made


# ---------------------------------------------------------------- numbers, interpreted: as the first decisions run


@pytest.fixture(scope="module")
def prices() -> tuple[list[float], list[float], list[float]]:
    """High, low and close of 512 generated bars."""
    rng, close = random.Random(20), [100.0]
    while len(close) < BARS:
        close.append(close[-1] * (1 + rng.gauss(0, 0.004)))
    return [px + rng.random() for px in close], [px - rng.random() for px in close], close


def wilder(values: Sequence[float], n: int) -> float:
    """Return Wilder's average: the mean of the first n, then 1/n of each new value."""
    average = sum(values[:n]) / n
    for value in values[n:]:
        average += (value - average) / n
    return average


def test_the_zscore_of_a_decision_uses_the_populations_sigma(
    prices: tuple[list[float], list[float], list[float]],
) -> None:
    """Two passes over the newest 20 closes, divided by 20 and not by 19."""
    window = prices[2][-20:]
    mean = sum(window) / 20
    sigma = (sum((px - mean) ** 2 for px in window) / 20) ** 0.5
    row = decision_row(*prices, PARAMS)
    assert row.zscore == pytest.approx((window[-1] - mean) / sigma, abs=1e-9)
    assert row.bb_upper == pytest.approx(mean + 2 * sigma, abs=1e-9)


def test_rsi_atr_and_adx_of_a_decision_are_wilders(prices: tuple[list[float], list[float], list[float]]) -> None:
    """Averages with 1/14, seeded by the mean; an EMA of span 14 weighs the newest with 2/15."""
    high, low, close = prices
    row = decision_row(high, low, close, PARAMS)
    moves = [now - before for before, now in pairwise(close)]
    gain, loss = wilder([max(m, 0.0) for m in moves], 14), wilder([max(-m, 0.0) for m in moves], 14)
    assert row.rsi == pytest.approx(100 * gain / (gain + loss), abs=1e-9)
    ranges, plus, minus = [], [], []
    for i in range(1, BARS):
        ranges.append(max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1])))
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
    assert row.atr == pytest.approx(wilder(ranges, 14), abs=1e-9)
    dx = []
    for end in range(14, len(plus) + 1):
        p, m = wilder(plus[:end], 14), wilder(minus[:end], 14)
        dx.append(100 * abs(p - m) / (p + m))
    assert row.adx == pytest.approx(wilder(dx, 14), abs=1e-9)


def test_a_year_has_as_many_candles_as_the_market_is_open() -> None:
    """365 days of 24 hours: metrics annualised with 252 trading days would be wrong by 20 %."""
    years = {"1m": 525_600, "15m": 35_040, "1h": 8_760, "4h": 2_190, "1d": 365, "1M": 12}
    assert {name: timeframes.periods_per_year(name) for name in years} == years


# ---------------------------------------------------------------- the kill latch


def test_the_latch_and_its_name_are_synced_before_latch_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I6: a file that is not fsynced, or whose folder is not, is gone after a power cut."""
    synced: list[str] = []
    fsync = os.fsync

    def fsync_seen(fd: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync_seen)
    kill_switch.latch(tmp_path / "KILL", who="test", reason="power cut", venue_ms=None)
    assert synced == ["file", "folder"]


def test_a_resume_leaves_the_latch_and_the_stored_kill(rig: DeskRig) -> None:
    """I6: resume ends pauses; only unkill, with its phrase, ends a kill."""
    rig.done("pause")
    kill_switch.latch(rig.latch, who="test", reason="enough", venue_ms=None)
    rig.handle()
    rig.done("resume")
    assert kill_switch.is_latched(rig.latch)
    assert rig.desk.killed is not None
    rig.decide(START + QUARTER, Enter("BTC", Side.LONG, "told to"))
    assert rig.actions()[0] == ("BTC", "blocked", "killed")


# ---------------------------------------------------------------- restarts


def test_cooldown_and_loss_are_the_same_after_a_restart(rig: DeskRig) -> None:
    """I12: a stop, a restart, and every limit reads as before; an entry is refused for the cooldown."""
    rig.enter("BTC")
    (position,) = rig.desk.account.positions
    assert position.stop_px is not None
    rig.step(START + QUARTER + MINUTE, {"BTC": position.stop_px - 1.0})
    rig.step(START + QUARTER + 2 * MINUTE, {"BTC": position.stop_px - 1.0})
    assert rig.desk.account.positions == ()
    before = asdict(rig.desk.risk)
    assert before["cooldown_until_ms"] == START + QUARTER + MINUTE + 1_800_000
    assert before["day_realized_net_usd"] < 0
    rig.restart()
    assert asdict(rig.desk.risk) == before
    rig.step(START + QUARTER + 3 * MINUTE)
    rig.decide(START + 2 * QUARTER, Enter("ETH", Side.LONG, "told to"))
    assert [row for row in rig.actions() if row[0] == "ETH"][-1] == ("ETH", "blocked", "cooldown")


# ---------------------------------------------------------------- observers


def test_the_loop_never_waits_for_what_an_observer_asks(rig: DeskRig) -> None:
    """I7: whether a step is on disk is looked at (a wait of 0 seconds), however often it is not."""
    waits: list[float] = []

    def flush(timeout_s: float) -> None:
        waits.append(timeout_s)
        raise StoreBusy("not yet")

    rig.writer.flush = flush  # type: ignore[method-assign]
    answers: list[Outcome] = []
    rig.step(START + MINUTE)
    rig.handle(controls=[rig.request("wait_until", answers, venue_ms=START + MINUTE, timeout_s=30.0)])
    for _ in range(5):
        rig.handle()
    assert answers == []
    assert len(waits) >= 5
    assert set(waits) == {0.0}


# ---------------------------------------------------------------- the screen


def test_a_dialog_shows_markup_as_text() -> None:
    """A reason typed by somebody must not restyle, or hide part of, the question that it stands in."""
    from perp_bot.tui.dialogs.base import as_text
    from perp_bot.tui.spans import row

    text = as_text([row("a", ("[bold red]close[/] BTC [/]", "muted"))])
    assert text.plain == "[bold red]close[/] BTC [/]"
