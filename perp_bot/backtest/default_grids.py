"""The parameters that are varied unless others are named, by strategy."""

from __future__ import annotations

from perp_bot.backtest.parameters import Axis, axis_of
from perp_bot.core.errors import UsageError
from perp_bot.strategies import macd_cross, mean_reversion

_ONE_AT_A_TIME: dict[str, dict[str, object]] = {
    mean_reversion.NAME: {
        "entry_z": {"from": 1.8, "to": 2.2, "step": 0.1},
        "exit_z": {"from": 0.2, "to": 0.5, "step": 0.05},
        "rsi_high": {"from": 65, "to": 75, "step": 1},
        "rsi_low": {"from": 25, "to": 35, "step": 1},
        "adx": {"from": 20, "to": 30, "step": 1},
        "lookback": {"from": 15, "to": 30, "step": 1},
        "band": {"from": 15, "to": 25, "step": 1},
    },
    macd_cross.NAME: {
        "macd_fast": {"from": 8, "to": 16, "step": 1},
        "macd_slow": {"from": 20, "to": 32, "step": 1},
        "macd_signal": {"from": 6, "to": 12, "step": 1},
        "macd_rsi_high": {"from": 65, "to": 75, "step": 1},
        "macd_rsi_low": {"from": 25, "to": 35, "step": 1},
        "stop_atr": {"from": 1.5, "to": 2.5, "step": 0.1},
        "reward_risk": {"from": 1.5, "to": 3, "step": 0.25},
    },
}
_WALK_FORWARD: dict[str, dict[str, object]] = {
    mean_reversion.NAME: {
        "entry_z": [1.8, 2.0, 2.2],
        "exit_z": [0.2, 0.3, 0.5],
        "rsi_high": [65.0, 70.0, 75.0],
        "rsi_low": [25.0, 30.0, 35.0],
        "adx": [20.0, 25.0, 30.0],
    },
    macd_cross.NAME: {
        "macd_fast": [10, 12, 14],
        "macd_slow": [22, 26, 30],
        "macd_signal": [7, 9, 11],
        "stop_atr": [1.5, 2.0, 2.5],
        "reward_risk": [1.5, 2.0, 3.0],
    },
}


def one_at_a_time(strategy: str) -> tuple[Axis, ...]:
    """Return the axes of a sensitivity run.

    Raises:
        UsageError: none are known for the strategy.
    """
    return _axes(_ONE_AT_A_TIME, strategy)


def walk_forward(strategy: str) -> tuple[Axis, ...]:
    """Return the grid that walk-forward optimises over.

    Raises:
        UsageError: none is known for the strategy.
    """
    return _axes(_WALK_FORWARD, strategy)


def _axes(table: dict[str, dict[str, object]], strategy: str) -> tuple[Axis, ...]:
    if strategy not in table:
        raise UsageError(f"no default grid is known for {strategy}; name its parameters: --grid FILE")
    return tuple(axis_of(name, given, "default grid") for name, given in table[strategy].items())
