"""I3a, I5, I11 on whole sessions of the real daemon, looked at after every minute."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest
from sessions import CAPITAL_STOP, COMPLETE, TARGET, TRAILED, ZSCORE_STOP, Stretch
from watched import Look, watching

from perp_bot.config.load import load_config
from perp_bot.config.model import Config
from perp_bot.core.types import Action, Candle, DecisionRecord
from perp_bot.data.db.reader import Reader
from perp_bot.decision.redecide import redecide
from perp_bot.strategies import registry

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90), pytest.mark.xdist_group("watched")]


@dataclass(frozen=True, slots=True)
class Session:
    """A session and what it left."""

    name: str
    looks: list[Look]
    config: Config
    decisions: list[DecisionRecord]
    candles: dict[str, list[Candle]]


@pytest.fixture(
    scope="module", params=[COMPLETE, ZSCORE_STOP, CAPITAL_STOP, TRAILED, TARGET], ids=lambda stretch: stretch.name
)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A session that opened and closed a position."""
    stretch: Stretch = request.param
    with watching(stretch, tmp_path_factory.mktemp(stretch.name)) as (rig, looks):
        config = load_config(rig.config_path, env={})
        with Reader(rig.paths.db) as reader:
            decisions = reader.decisions(10_000)
            candles = {symbol: reader.candles(symbol, "15m", 0, 2**62) for symbol in config.trading.symbols}
    return Session(stretch.name, looks, config, decisions, candles)


def test_every_stored_decision_of_a_session_can_be_made_again(session: Session) -> None:
    """I3a: from the stored candles and the recorded account state comes the identical row, of either strategy.

    Entries, exits and moves of the stop are among them. ((b) is a free backtest of the same days, (c) the replayed
    recording: test_i03_replay.py.)
    """
    strategy = registry.create(session.config.trading.strategy, session.config)
    again = [redecide(row, session.candles[row.symbol], session.config, strategy) for row in session.decisions]
    assert again == session.decisions
    assert Action.ENTER in {row.action for row in again}
    assert len(again) >= 8
    assert {row.strategy for row in again} == {session.config.trading.strategy}


def test_a_stop_only_ever_comes_nearer_and_the_trailed_one_did(session: Session) -> None:
    """What the socket shows of a position's stop from minute to minute; the row that moved it names the new price."""
    shown = [(one.state.positions[0].side, one.state.positions[0].stop_px) for one in session.looks if one.db_sizes]
    prices = list(dict.fromkeys(px for _, px in shown))
    nearer = sorted(prices, key=lambda px: px or 0.0, reverse=shown[0][0] == "short")
    assert prices == nearer
    moved = [row.stop_px for row in session.decisions if "the stop trails" in row.reason]
    assert prices[1:] == moved
    assert (len(moved) == 1) is (session.name == TRAILED.name)


def test_every_position_has_its_whole_stop_at_all_times(session: Session) -> None:
    """I5, on paper: one live reduce-only stop of the position's size, on its closing side, at the position's price."""
    held = [one for one in session.looks if one.state.positions]
    assert len(held) >= 10
    for one in session.looks:
        assert set(one.db_stops) == set(one.db_sizes)
        for position in one.state.positions:
            ((side, left, trigger, state),) = one.db_stops[position.symbol]
            assert (side, state) == ("sell" if position.side == "long" else "buy", "open")
            assert left == abs(one.db_sizes[position.symbol]) == Decimal(repr(position.size))
            assert float(trigger) == position.stop_px
            (shown,) = [order for order in one.state.orders if order.role == "stop"]
            assert (shown.reduce_only, shown.size - shown.filled) == (True, position.size)


def test_equity_is_what_the_database_adds_up_to_at_every_minute(session: Session) -> None:
    """I11: cash from fills and funding, equity at the marks shown; to the cent and better."""
    for one in session.looks:
        account = one.state.account
        assert account.cash_usd == pytest.approx(float(one.db_cash_usd), abs=1e-9)
        assert account.equity_usd == pytest.approx(float(one.db_equity_usd), abs=1e-9)
        assert account.accounting_error_max_usd < 0.01
    assert len({one.db_cash_usd for one in session.looks}) >= 3, "the cash never moved"


def test_equity_is_also_start_and_results(session: Session) -> None:
    """I11, the other way round: start + realized + unrealized - fees + funding."""
    for one in session.looks:
        a = one.state.account
        assert a.equity_usd is not None
        assert a.unrealized_usd is not None
        assert a.equity_usd == pytest.approx(670 + a.realized_usd + a.unrealized_usd - a.fees_usd + a.funding_usd)
