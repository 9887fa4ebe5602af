"""Verdicts on each coin: leverage, the smallest order, the stop against liquidation. Pure: facts in, verdicts out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.money import pct, usd
from perp_bot.core.rounding import MIN_NOTIONAL_USD, check_notional, plain, to_decimal
from perp_bot.core.types import Instrument, Regime, Side
from perp_bot.data.account_reads import CoinSetting
from perp_bot.risk.sizing import (
    entry_notional_usd,
    entry_size,
    liquidation_px,
    protective_stop_px,
    stop_beyond_liquidation,
)
from perp_bot.trading.doctor.verdict import Verdict, failure, ok, warning

_SIZES = "raise trading.capital_usd, trading.margin_usage_limit or trading.leverage"


@dataclass(frozen=True, slots=True)
class Coin:
    """A configured coin as the venue has it; `instrument` None: not listed, `mark_px` None: no price."""

    symbol: str
    instrument: Instrument | None
    mark_px: float | None

    @property
    def trouble(self) -> str | None:
        """Why it cannot be traded; None when it can."""
        if self.instrument is None:
            return f"the venue lists no coin {self.symbol}"
        if self.instrument.is_delisted:
            return f"the venue no longer trades {self.symbol}"
        return None if self.mark_px is not None else f"the venue has no mark of {self.symbol}"


def leverage(config: Config, coin: Coin, setting: CoinSetting | str, signed_size: Decimal = Decimal(0)) -> Verdict:
    """Say whether the venue takes the configured leverage; `setting` is the account's, or why it is not known."""
    name, trading = f"leverage {coin.symbol}", config.trading
    if coin.trouble is not None or coin.instrument is None:
        return failure(name, coin.trouble or "", f"take {coin.symbol} out of trading.symbols")
    wanted = f"{trading.leverage}x {trading.margin_mode}"
    most = most_leverage(coin.instrument, entry_notional_usd(config, Regime.NORMAL))
    if trading.leverage > most:
        text = f"{wanted}: the venue allows at most {most}x for an entry of this size"
        return failure(name, text, f"set trading.leverage to {most} or less, or drop {coin.symbol}")
    allowed = f"at most {most}x allowed"
    if isinstance(setting, str):
        return ok(name, f"{wanted}, {allowed}; the account's own setting is not checked: {setting}")
    found = f"{setting.leverage}x {'cross' if setting.is_cross else 'isolated'}"
    if found == wanted:
        return ok(name, f"{wanted}, {allowed}")
    if signed_size == 0:
        return ok(name, f"{found} at the venue, {allowed}; the start sets {wanted}, for the account is flat in it")
    text = f"{found} at the venue, {wanted} in the settings, {signed_size} held: no entries on it until they agree"
    return warning(name, text, "close the position, or change trading.leverage and trading.margin_mode")


def most_leverage(instrument: Instrument, notional_usd: float) -> int:
    """Return the most leverage of the margin tier that a notional falls into."""
    tiers = [tier.max_leverage for tier in instrument.margin_tiers if tier.lower_bound_usd <= notional_usd]
    return tiers[-1] if tiers else instrument.max_leverage


def minimum(config: Config, coin: Coin) -> Verdict:
    """Say whether the venue takes an entry of the planned size, in every regime that enters."""
    instrument, mark = _tradable(coin)
    name = f"minimum {coin.symbol}"
    try:
        size = _checked_size(config, instrument, mark, Regime.NORMAL)
    except OrderRuleError as error:
        return failure(name, f"an entry at the mark of {mark}: {error}", _SIZES)
    text = f"an entry is {size} = {usd(size * mark)} USD at the mark of {mark}, minimum {MIN_NOTIONAL_USD}"
    if config.prediction.enabled:
        try:
            _checked_size(config, instrument, mark, Regime.HIGH_RISK)
        except OrderRuleError as error:
            fix = f"{_SIZES}, or prediction.position_size_reduction"
            return warning(name, f"{text}; in regime {Regime.HIGH_RISK} none is possible: {error}", fix)
    return ok(name, text)


def stop_against_liquidation(config: Config, coin: Coin, value_usd: Decimal | None) -> Verdict:
    """Say whether the capital stop is nearer than liquidation for both sides of an entry at the mark.

    Isolated margin is the entry's own; cross margin is the capital, or an account of less that still covers an entry
    (one that does not is a matter of balances). The maintenance rate is that of the entry's margin tier.
    """
    instrument, mark = _tradable(coin)
    name, trading = f"stop {coin.symbol}", config.trading
    notional = entry_notional_usd(config, Regime.NORMAL)
    margin = notional / trading.leverage
    equity = margin if trading.margin_mode == "isolated" else trading.capital_usd
    if value_usd is not None and margin <= float(value_usd):
        equity = min(equity, float(value_usd))
    parts, is_beyond = [], False
    for side in Side:
        try:
            size = entry_size(notional, mark, instrument.sz_decimals)
            stop = protective_stop_px(config, side, mark, size, instrument.sz_decimals)
        except OrderRuleError as error:
            return failure(name, f"{side}: {error}", "change trading.capital_usd or risk.max_loss_per_trade_pct")
        liquidation = liquidation_px(side, float(mark), float(size), equity, most_leverage(instrument, notional))
        is_beyond |= stop_beyond_liquidation(side, stop, liquidation)
        end = "never" if liquidation is None else f"{liquidation:.6g} ({_away(liquidation, mark)})"
        parts.append(f"{side} stop {stop} ({_away(float(stop), mark)}), liquidation {end}")
    text = (
        f"entry at {mark}, {trading.leverage}x {trading.margin_mode}, {usd(equity)} USD behind it: {'; '.join(parts)}"
    )
    if is_beyond:
        fix = "lower risk.max_loss_per_trade_pct, trading.leverage or trading.margin_usage_limit"
        return failure(name, f"the venue would liquidate before the stop: {text}", fix)
    return ok(name, text)


def _tradable(coin: Coin) -> tuple[Instrument, Decimal]:
    assert coin.instrument is not None
    assert coin.mark_px is not None
    return coin.instrument, plain(to_decimal(coin.mark_px))


def _checked_size(config: Config, instrument: Instrument, mark: Decimal, regime: Regime) -> Decimal:
    size = entry_size(entry_notional_usd(config, regime), mark, instrument.sz_decimals)
    check_notional(size, mark, closes_whole_position=False)
    return size


def _away(px: float, mark: Decimal) -> str:
    return pct(abs(px / float(mark) - 1))
