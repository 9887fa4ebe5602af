"""How much: notional, size, and the one stop price that comes from capital at risk.

Worked example at the defaults (capital 670, margin limit 0.5, leverage 3, 3 % at risk): notional 1,005.00 USD; at an
entry of 100,000 with szDecimals 5 the size is 0.01005; capital at risk is 20.10 USD = 2,000 USD a coin; a long's
stop is 98,000, a short's 102,000.
"""

from __future__ import annotations

from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import MAX_DECIMALS, Rounding, plain, quantize_price, quantize_size, to_decimal
from perp_bot.core.types import Instrument, Regime, Side
from perp_bot.strategies.regimes import size_factor

_NUDGE = Decimal("0.00001")  # less than one tick of five significant figures


def entry_notional_usd(config: Config, regime: Regime) -> float:
    """Return the notional of an entry: capital_usd x margin_usage_limit x leverage x the regime's size factor."""
    trading = config.trading
    factor = size_factor(regime, config.prediction.position_size_reduction)
    return trading.capital_usd * trading.margin_usage_limit * trading.leverage * factor


def entry_size(notional_usd: float, price: Decimal, sz_decimals: int) -> Decimal:
    """Return notional / price truncated to the venue's lot; OrderRuleError below one lot."""
    return quantize_size(to_decimal(notional_usd) / price, sz_decimals)


def risk_usd(config: Config) -> Decimal:
    """Return the capital at risk in one trade: max_loss_per_trade_pct x capital_usd."""
    return to_decimal(config.risk.max_loss_per_trade_pct) * to_decimal(config.trading.capital_usd)


def capital_stop_px(side: Side, entry_px: Decimal, size: Decimal, at_risk_usd: Decimal, sz_decimals: int) -> Decimal:
    """Return the price at which the position has lost `at_risk_usd`, rounded inward to the venue's grid.

    entry - risk / size for a long (rounded up), entry + risk / size for a short (rounded down): the loss at the stop
    never exceeds the risk and misses it by less than one tick x size. Fees and slippage come on top of it. A long
    that could not lose that much at any price gets the lowest price the venue knows.

    Raises:
        OrderRuleError: when the risk is smaller than one tick, so that the stop would not be beyond the entry.
    """
    distance = at_risk_usd / size
    if side is Side.LONG:
        exact = entry_px - distance
        lowest = plain(Decimal(1).scaleb(-(MAX_DECIMALS - sz_decimals)))
        stop = lowest if exact <= lowest else quantize_price(exact, sz_decimals, Rounding.UP)
        beyond = stop < entry_px
    else:
        stop = quantize_price(entry_px + distance, sz_decimals, Rounding.DOWN)
        beyond = stop > entry_px
    if not beyond:
        raise OrderRuleError(
            f"capital at risk of {at_risk_usd} USD on {size} at {entry_px} is less than one tick of price: "
            "raise risk.max_loss_per_trade_pct or lower the size"
        )
    return stop


def protective_stop_px(
    config: Config,
    side: Side,
    entry_px: Decimal,
    size: Decimal,
    sz_decimals: int,
    strategy_stop_px: float | None = None,
) -> Decimal:
    """Return the one stop of a position: the capital stop, or the strategy's own where that is nearer.

    Used by the decision's estimate, by the position after its real fills, by screens and by checks. OrderRuleError
    as `capital_stop_px`.
    """
    capital = capital_stop_px(side, entry_px, size, risk_usd(config), sz_decimals)
    if strategy_stop_px is None:
        return capital
    if side is Side.LONG:
        own = quantize_price(strategy_stop_px, sz_decimals, Rounding.UP)
        return max(capital, own) if own < entry_px else capital
    own = quantize_price(strategy_stop_px, sz_decimals, Rounding.DOWN)
    return min(capital, own) if own > entry_px else capital


def liquidation_px(side: Side, entry_px: float, size: float, equity_usd: float, max_leverage: int) -> float | None:
    """Return the estimated liquidation price of a position opened now; None when no positive price liquidates it.

    price - side x margin_available / size / (1 - l x side), l = 1 / (2 x max leverage), margin_available = equity
    less the maintenance margin at the entry. Source: the venue's liquidation page (first margin tier, no other
    position). Worked example: long 0.01 at 100,000 with equity 500 and maximum 40x -> 50,632.91.
    """
    rate = 1 / (2 * max_leverage)
    available = equity_usd - rate * size * entry_px
    price = entry_px - side.sign * available / size / (1 - rate * side.sign)
    return price if price > 0 else None


def stop_beyond_liquidation(side: Side, stop_px: Decimal, liquidation: float | None) -> bool:
    """Whether the venue would liquidate the position before its stop."""
    if liquidation is None:
        return False
    return float(stop_px) <= liquidation if side is Side.LONG else float(stop_px) >= liquidation


def instrument_stop_px(
    config: Config, instrument: Instrument, side: Side, entry_px: Decimal, size: Decimal, own_stop_px: float | None
) -> float:
    """Return a real position's stop after its fills as float; never fails, for a position must have one.

    The stop rule of the account and of the paper venue. Where the risk is smaller than a tick (refused before any
    entry), the stop is the next price beyond the entry.
    """
    digits = instrument.sz_decimals
    try:
        return float(protective_stop_px(config, side, entry_px, size, digits, own_stop_px))
    except OrderRuleError:
        nudged = entry_px * (1 - side.sign * _NUDGE)
        return float(quantize_price(nudged, digits, Rounding.DOWN if side is Side.LONG else Rounding.UP))
