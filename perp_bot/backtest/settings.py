"""A config as the account kernel reads it: one row of numbers, and the instruments as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import account_layout as account
from perp_bot.backtest.grid import REGIMES, symbol_key
from perp_bot.backtest.market import Market
from perp_bot.backtest.strategy_kernel import StrategyKernel
from perp_bot.config.model import Config
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.types import OrderType
from perp_bot.strategies.regimes import factors, size_factor

Matrix = NDArray[np.float64]


def settings_row(config: Config, kernel: StrategyKernel, exit_row: int = 0) -> NDArray[np.float64]:
    """Return the settings of one account in the order that the kernel names them."""
    trading, risk, execution, costs = config.trading, config.risk, config.execution, config.backtest
    after, distance, step = kernel.trailing(config)
    values = {
        account.START_USD: trading.capital_usd,
        account.CAPITAL_USD: trading.capital_usd,
        account.IS_COMPOUNDING: costs.compounding,
        account.MARGIN_SHARE: trading.margin_usage_limit,
        account.LEVERAGE_SET: trading.leverage,
        account.AT_RISK_SHARE: risk.max_loss_per_trade_pct,
        account.DAILY_LOSS_LIMIT: risk.daily_loss_limit_pct,
        account.SESSION_LIMIT: risk.session_drawdown_pct,
        account.DRAWDOWN_LIMIT: risk.max_drawdown_pct,
        account.POSITIONS_LIMIT: risk.max_positions,
        account.COOLDOWN_MS: risk.cooldown_seconds * 1000,
        account.TIMEOUT_MS: round(risk.position_timeout_hours * HOUR_MS),
        account.WEEKS_LIMIT: risk.losing_weeks,
        account.RESUME_MS: round(costs.resume_hours * HOUR_MS),
        account.IS_LIMIT: execution.order_type == OrderType.LIMIT,
        account.FALLBACK_MS: round(execution.taker_fallback_seconds * 1000),
        account.DELAY: execution.entry_delay_candles,
        account.CANCEL_IF_GONE: execution.cancel_if_signal_gone,
        account.MAKER_FEE: costs.maker_fee_rate,
        account.TAKER_FEE: costs.taker_fee_rate,
        account.SLIP_LEAST: costs.slippage_min_pct,
        account.SLIP_MOST: costs.slippage_max_pct,
        account.SEED: costs.seed,
        account.TRADES_A_DAY: kernel.trades_a_day(config),
        account.TRAIL_AFTER: after,
        account.TRAIL_DISTANCE: distance,
        account.TRAIL_STEP: step,
        account.EXIT_ROW: exit_row,
    }
    assert len(values) == account.SETTINGS
    return np.array([float(values[place]) for place in range(account.SETTINGS)])


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentTable:
    """What the kernel knows of the coins: rules, and margin tiers as rates with their deductions."""

    rules: Matrix  # (symbols, account.I_COLUMNS)
    tier_bound: Matrix  # (symbols, tiers), USD
    tier_rate: Matrix
    tier_deducted: Matrix  # USD


def instrument_table(market: Market) -> InstrumentTable:
    """Return the instruments of a market; by the venue, ded_n = ded_(n-1) + bound_n x (rate_n - rate_(n-1))."""
    most = max((len(item.instrument.margin_tiers) for item in market.symbols), default=0) or 1
    rules = np.zeros((len(market.symbols), account.I_COLUMNS))
    bound, rate, deducted = (np.zeros((len(market.symbols), most)) for _ in range(3))
    for row, item in enumerate(market.symbols):
        instrument = item.instrument
        tiers = [(tier.lower_bound_usd, tier.max_leverage) for tier in instrument.margin_tiers]
        tiers = tiers or [(0.0, instrument.max_leverage)]
        for place, (lower, leverage) in enumerate(tiers):
            bound[row, place], rate[row, place] = lower, 1 / (2 * leverage)
            if place:
                step = rate[row, place] - rate[row, place - 1]
                deducted[row, place] = deducted[row, place - 1] + lower * step
        rules[row, account.I_SZ] = instrument.sz_decimals
        rules[row, account.I_MAX_LEVERAGE] = instrument.max_leverage
        rules[row, account.I_DELISTED] = instrument.is_delisted
        rules[row, account.I_KEY] = symbol_key(item.symbol)
        rules[row, account.I_TIERS] = len(tiers)
    return InstrumentTable(rules, bound, rate, deducted)


def regime_factors(config: Config) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return size factor and whether entries are allowed, by regime."""
    sizes = [size_factor(regime, config.prediction.position_size_reduction) for regime in REGIMES]
    return np.array(sizes), np.array([factors(regime).entries_allowed for regime in REGIMES], np.uint8)
