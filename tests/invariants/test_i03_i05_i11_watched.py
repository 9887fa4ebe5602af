"""I3a, I5, I11 on whole sessions of the real daemon, looked at after every minute."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest
from sessions import CAPITAL_STOP, COMPLETE, ZSCORE_STOP, Stretch
from watched import Look, watching

from perp_bot.config.load import load_config
from perp_bot.config.model import Config
from perp_bot.core.types import Action, Candle, DecisionRecord
from perp_bot.data.db.reader import Reader
from perp_bot.decision.redecide import redecide
from perp_bot.strategies.mean_reversion import MeanReversion

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90), pytest.mark.xdist_group("watched")]


@dataclass(frozen=True, slots=True)
class Session:
    """A session and what it left."""

    looks: list[Look]
    config: Config
    decisions: list[DecisionRecord]
    candles: dict[str, list[Candle]]


@pytest.fixture(scope="module", params=[COMPLETE, ZSCORE_STOP, CAPITAL_STOP], ids=lambda stretch: stretch.name)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A session that opened and closed a position."""
    stretch: Stretch = request.param
    with watching(stretch, tmp_path_factory.mktemp(stretch.name)) as (rig, looks):
        config = load_config(rig.config_path, env={})
        with Reader(rig.paths.db) as reader:
            decisions = reader.decisions(10_000)
            candles = {symbol: reader.candles(symbol, "15m", 0, 2**62) for symbol in config.trading.symbols}
    return Session(looks, config, decisions, candles)


def test_every_stored_decision_of_a_session_can_be_made_again(session: Session) -> None:
    """I3a: from the stored candles and the recorded account state comes the identical row; entry and exits included.

    ((b) is a free backtest of the same days, (c) the replayed recording: test_i03_replay.py.)
    """
    strategy = MeanReversion.from_config(session.config)
    again = [redecide(row, session.candles[row.symbol], session.config, strategy) for row in session.decisions]
    assert again == session.decisions
    assert Action.ENTER in {row.action for row in again}
    assert len(again) >= 8


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
