"""No look-ahead, gaps are warm-ups, and every stored decision can be made again."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict, replace
from decimal import Decimal

import pytest
from decision_builders import (
    CLOSE,
    CONFIG,
    INSTRUMENTS,
    RISK,
    STATE,
    STRATEGY,
    TF_MS,
    book,
    entry_order,
    series,
)

from perp_bot.config.model import Config
from perp_bot.core.types import (
    Action,
    Candle,
    CandleSource,
    DecisionRecord,
    GateReason,
    Position,
    Regime,
    Side,
)
from perp_bot.decision.delay import PendingEntry
from perp_bot.decision.path import Boundary, SymbolInput, decide_boundary
from perp_bot.decision.redecide import redecide
from perp_bot.decision.view import build_view, columns_of
from perp_bot.risk.manager import Blocks, Pause
from perp_bot.strategies.macd_cross import MacdCross
from perp_bot.strategies.mean_reversion import MeanReversion
from perp_bot.strategies.parameters import params_from, params_of
from perp_bot.strategies.protocol import MarketView, Strategy

PARAMS = params_from(CONFIG.signals)
REAL = MeanReversion.from_config(CONFIG)
# Looser thresholds, so that a short series holds every kind of decision.
LOOSE = replace(
    CONFIG,
    signals=replace(
        CONFIG.signals,
        zscore_entry_threshold=1.2,
        rsi_overbought=52.0,
        rsi_oversold=48.0,
        adx_threshold=60.0,
        bollinger_std=1.0,
        zscore_stop_threshold=2.0,
    ),
)
LOOSE_STRATEGY = MeanReversion.from_config(LOOSE)
MACD = replace(LOOSE, macd=replace(LOOSE.macd, trail_after_pct=0.002, trail_distance_pct=0.01, trail_step_pct=0.0005))
MACD_STRATEGY = MacdCross.from_config(MACD)


def view_of(candles: list[Candle], **changes: object) -> MarketView:
    made = build_view(candles[-1], columns_of(candles), PARAMS, regime=Regime.NORMAL, position=None)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_gap_in_the_history_is_a_warm_up_again() -> None:
    """Indicators across a hole would be numbers of no market."""
    candles = series(600)
    assert view_of(candles).bars == 512
    holed = candles[:500] + candles[501:]
    assert view_of(holed).bars == 99
    assert REAL.on_candle(view_of(holed)).decision.reason == "warmup 99/512 bars"


def test_a_row_with_nan_is_a_warm_up_again() -> None:
    """The bars after it count; when it is the newest, nothing does."""
    candles = series(600)
    bad = [*candles[:590], replace(candles[590], low=math.nan), *candles[591:]]
    assert view_of(bad).bars == 9
    newest = [*candles[:-1], replace(candles[-1], close=math.nan)]
    seen = view_of(newest)
    assert seen.bars == 0
    assert all(value is None for value in seen.indicators.as_dict().values())


def test_columns_must_end_with_the_candle() -> None:
    """Nothing later than the close may be in the window."""
    candles = series(20)
    with pytest.raises(ValueError, match="columns end at"):
        build_view(candles[-2], columns_of(candles), PARAMS, regime=Regime.NORMAL, position=None)
    with pytest.raises(ValueError, match="columns end at None"):
        build_view(candles[-1], columns_of([]), PARAMS, regime=Regime.NORMAL, position=None)


def test_the_history_before_the_window_changes_nothing() -> None:
    """A restarted daemon with more or less history gets the identical view."""
    candles = series(900)
    assert view_of(candles) == view_of(candles[-512:]) == view_of(candles[-700:])


def walk_through(
    candles: list[Candle],
    first: int,
    *,
    seed: int = 3,
    disturb: int | None = None,
    strategy: Strategy = LOOSE_STRATEGY,
) -> list[tuple[DecisionRecord, int]]:
    """Decide every close from `first` on with changing accounts; from `disturb` on later candles are noise.

    Returns each record with the number of candles known when it was made.
    """
    rng = random.Random(seed)
    noise, entered = random.Random(99), random.Random(5)
    if disturb is not None:
        candles = candles[:disturb] + [
            replace(c, high=c.high + 5, low=c.low - 5, close=c.low + noise.random()) for c in candles[disturb:]
        ]
    held: Position | None = None
    out = []
    for known in range(first, len(candles) + 1):
        candle = candles[known - 1]
        close = candle.close_ms
        is_provisional = rng.random() < 0.1
        if is_provisional:
            candle = replace(candle, close=candle.low, source=CandleSource.STREAM)
        seen = build_view(
            candle,
            columns_of([*candles[: known - 1], candle]),
            params_from(LOOSE.signals),
            regime=Regime.NORMAL,
            position=None,
            provisional=is_provisional,
            signals={"spread_bps": 1.5} if rng.random() < 0.2 else None,
        )
        state = replace(
            STATE,
            cooldown_until_ms=close + rng.choice((-1, -1, -1, 1)) * 60_000,
            day_realized_net_usd=rng.choice((0.0, -10.0, -10.0, -60.0)),
            session_paused=rng.random() < 0.1,
        )
        blocks = Blocks(
            killed="by cli: test" if rng.random() < 0.05 else None,
            pauses=(Pause("symbol", "BTC", "lunch"), Pause("all", None)) if rng.random() < 0.05 else (),
            degraded=(GateReason("stale_stream", "no message for 12 s"),) if rng.random() < 0.05 else (),
            coins=(("BTC", GateReason("leverage", "7x")), ("ETH", GateReason("x", "y"))) if rng.random() < 0.05 else (),
        )
        if rng.random() < 0.05:
            item = SymbolInput("BTC", None, INSTRUMENTS["BTC"], position=held, missing="nothing came")
        else:
            item = SymbolInput(
                "BTC",
                seen,
                INSTRUMENTS["BTC"] if rng.random() < 0.95 else None,
                book("BTC", close - rng.choice((0, 0, 0, 60_000)), 100.0, 100.5) if rng.random() < 0.9 else None,
                position=held,
                live_entry=entry_order() if rng.random() < 0.1 else None,
                live_exit=rng.random() < 0.05,
            )
        boundary = Boundary(
            "15m",
            close,
            close + rng.choice((300, 300, 300, TF_MS)),
            "paper",
            rng.choice((*Regime, Regime.NORMAL, Regime.NORMAL)),
            (item,),
            replace(
                RISK,
                state=state,
                equity_usd=rng.choice((670.0, 670.0, 670.0, 670.0, 670.0, None, 640.0)),
                losing_weeks=rng.choice((0, 0, 0, 0, 0, 3)),
                entries_today=entered.choice((0, 10)),
            ),
            blocks,
        )
        record = decide_boundary(LOOSE, strategy, boundary).decided[0].record
        out.append((record, known))
        if rng.random() < (0.15 if held is None else 0.5):
            side = rng.choice(list(Side))
            opened = Position(
                "BTC", side, Decimal("9.5"), Decimal("100.25"), close, "mean_reversion", "paper", 98.1, None, "d"
            )
            held = opened if held is None else None
    return out


@pytest.mark.slow
def test_every_stored_decision_can_be_made_again() -> None:
    """I3a: through JSON, from stored candles and recorded account state, the identical row, always.

    The store holds later candles too, and the final rows where the decision saw provisional ones.
    """
    candles = series(760)
    made = walk_through(candles, 505)
    for record, _ in made:
        stored = replace(
            record,
            account=json.loads(json.dumps(record.account, allow_nan=False)),
            indicators=json.loads(json.dumps(record.indicators, allow_nan=False)),
        )
        assert stored == record
        assert redecide(stored, candles, LOOSE, LOOSE_STRATEGY) == record
    actions = {record.action for record, _ in made}
    assert actions == set(Action), "the walk must hold every kind of decision"
    assert any(record.provisional for record, _ in made)


@pytest.mark.slow
def test_every_stored_decision_of_macd_cross_can_be_made_again() -> None:
    """I3a: entries, those its daily limit forbids, moves of the stop, on final and on provisional rows."""
    draw = random.Random(8)
    candles = [replace(candle, volume=draw.uniform(0.5, 2.0)) for candle in series(1_400)]
    made = walk_through(candles, 505, strategy=MACD_STRATEGY)
    for record, _ in made:
        account = json.loads(json.dumps(record.account, allow_nan=False))
        assert redecide(replace(record, account=account), candles, MACD, MACD_STRATEGY) == record
    assert {record.action for record, _ in made} == {Action.ENTER, Action.BLOCKED, Action.HOLD}
    assert "max_trades_per_day" in {reason.rule for record, _ in made for reason in record.blocked_by}
    held = [record for record, _ in made if record.account["position_side"] is not None]
    moved = [record for record in held if record.stop_px != record.account["position_stop_px"]]
    assert len(moved) > 3
    assert not any(record.provisional for record in moved)
    assert all("the stop trails" in record.reason for record in moved)


@pytest.mark.slow
def test_no_decision_changes_when_later_candles_are_noise() -> None:
    """I1: decided with the future known, unknown or replaced by noise."""
    candles = series(620)
    plain = [record for record, _ in walk_through(candles, 540)]
    for disturb in (560, 600):
        other = [record for record, _ in walk_through(candles, 540, disturb=disturb)]
        known = disturb - 540 + 1
        assert other[:known] == plain[:known]
        assert other[known:] != plain[known:]


def test_a_decision_without_its_candle_in_the_store_cannot_be_made_again() -> None:
    """It says what is missing instead of deciding on something else."""
    candles = series(600)
    record, _ = walk_through(candles, 600, seed=1)[0]
    with pytest.raises(ValueError, match="needs 512 candles"):
        redecide(record, candles[:-1], LOOSE, LOOSE_STRATEGY)
    with pytest.raises(ValueError, match="needs 512 candles"):
        redecide(record, candles[-100:], LOOSE, LOOSE_STRATEGY)


def test_another_config_or_another_candle_shows_in_the_row() -> None:
    """The comparison can fail: a changed threshold or price gives another row."""
    candles = series(600)
    record, _ = walk_through(candles, 600, seed=1)[0]
    assert redecide(record, candles, LOOSE, LOOSE_STRATEGY) == record
    touched = [*candles[:-1], replace(candles[-1], close=candles[-1].close + 0.01)]
    assert redecide(record, touched, LOOSE, LOOSE_STRATEGY) != record
    stricter = replace(LOOSE, signals=replace(LOOSE.signals, rsi_overbought=53.0))
    assert redecide(record, candles, stricter, MeanReversion.from_config(stricter)) != record


@pytest.mark.parametrize(
    ("cfg", "strategy", "bars"), [(LOOSE, LOOSE_STRATEGY, 560), (MACD, MACD_STRATEGY, 1_000)], ids=["reversion", "macd"]
)
def test_a_delayed_entry_can_be_made_again(cfg: Config, strategy: Strategy, bars: int) -> None:
    """The entry that waited is part of the recorded state, and so is the question whether a cross still stands."""
    cfg = replace(cfg, execution=replace(cfg.execution, entry_delay_candles=1))
    draw = random.Random(8)
    candles = [replace(candle, volume=draw.uniform(0.5, 2.0)) for candle in series(bars, seed=11)]
    pending: tuple[PendingEntry, ...] = ()
    waited = entered = 0
    for known in range(520, bars + 1):
        candle = candles[known - 1]
        made = build_view(candle, columns_of(candles[:known]), params_of(cfg), regime=Regime.NORMAL, position=None)
        boundary = Boundary(
            "15m",
            candle.close_ms,
            candle.close_ms,
            "paper",
            Regime.NORMAL,
            (SymbolInput("BTC", made, INSTRUMENTS["BTC"], book("BTC", candle.close_ms)),),
            RISK,
            pending=pending,
        )
        outcome = decide_boundary(cfg, strategy, boundary)
        record = outcome.decided[0].record
        waited += record.account["delayed_side"] is not None
        entered += record.action is Action.ENTER
        pending = outcome.pending
        assert redecide(record, candles, cfg, strategy) == record
    assert waited > entered > 0


def test_the_record_is_complete_and_flat() -> None:
    """Plain JSON values only, so that the journal's column is canonical."""
    record, _ = walk_through(series(600), 600, seed=1)[0]
    assert all(isinstance(value, (float, int, str, type(None))) for value in record.account.values())
    assert set(asdict(RISK.state)) <= set(record.account)
    assert record.close_ms == CLOSE
    assert STRATEGY.name == record.strategy
