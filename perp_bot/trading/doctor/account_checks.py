"""Verdicts on the account at the venue: who signs for it, for how long, with how much. Pure: facts in, verdicts out."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.money import usd
from perp_bot.core.timeframes import DAY_MS, FIXED_MS, iso
from perp_bot.core.types import Regime
from perp_bot.core.venue_account import VenueAccount
from perp_bot.data.account_reads import Agent
from perp_bot.data.answers import UserRateLimit
from perp_bot.execution.live.role import KEY, OWN_KEY, role_fault
from perp_bot.risk.limits import margin_limit_usd
from perp_bot.risk.sizing import entry_notional_usd
from perp_bot.trading.doctor.verdict import Verdict, failure, ok, skipped, warning

AGENT_WARN_DAYS = 14
STANDARD, UNSET, UNIFIED = "disabled", "default", "unifiedAccount"

# Entry, its cancel, the taker's remainder, the stop, two moves of it (a new one and a cancel each), close, the stop's
# cancel. More is possible (a trailing stop), less is usual.
ACTIONS_A_TRADE = 10
FEW_ACTIONS = 1_000
FEW_DAYS = 7


def signer(role: str, master: str | None, signer_address: str, address: str, where: str) -> Verdict:
    """Say whether the key may trade for the account."""
    fault = role_fault(role, master, signer_address, address, where)
    if fault is not None:
        return failure("signer", *fault)
    if role == "user":
        return warning("signer", f"{KEY} {OWN_KEY}", "approve an API wallet at the venue and put its key into .env")
    return ok("signer", f"API wallet {signer_address} signs for {address}")


def agent_expiry(role: str, agents: Iterable[Agent], signer_address: str, now_ms: int) -> Verdict:
    """Say for how long the API wallet may sign, by the venue's clock."""
    name = "agent expiry"
    renew = "approve a new API wallet at the venue and put its key into .env"
    if role == "user":
        return ok(name, "the account's own key does not expire")
    found = next((agent for agent in agents if agent.address == signer_address), None)
    if found is None:
        text = "the venue lists no named API wallet of this key: an unnamed one, whose end it does not tell"
        return warning(name, text, "approve a named API wallet: the next unnamed one would end this one")
    who = f"API wallet {found.name!r}"
    if found.valid_until_ms is None:
        return ok(name, f"{who} has no end")
    left_ms, until = found.valid_until_ms - now_ms, iso(found.valid_until_ms)
    if left_ms <= 0:
        return failure(name, f"{who} expired on {until}: the venue refuses every order and every stop", renew)
    text = f"{who} is valid until {until}, {left_ms / DAY_MS:.1f} days"
    return ok(name, text) if left_ms >= AGENT_WARN_DAYS * DAY_MS else warning(name, text, renew)


def account_mode(mode: str) -> Verdict:
    """Say where the venue keeps the account's money."""
    name = "account mode"
    if mode == STANDARD:
        return ok(name, "standard: the money is in the perp account")
    if mode == UNSET:
        return ok(name, "never chosen (default): taken for standard")
    if mode == UNIFIED:
        text = "unified: the money is a spot balance; live trading reads the perp account, finds 0 and enters nothing"
        return failure(name, text, "choose the standard account mode in the venue's app while flat")
    text = f"{mode}: perpbot knows standard accounts, and recognises unified ones"
    return warning(name, text, "choose the standard account mode in the venue's app while flat")


def value_usd(mode: str, perp: VenueAccount, spot_usd: Decimal) -> Decimal:
    """Return what the account is worth: of a unified one the spot balance and what its positions have gained."""
    if mode != UNIFIED:
        return perp.account_value_usd
    return spot_usd + sum((position.unrealized_usd for position in perp.positions), Decimal(0))


def balances(config: Config, mode: str, perp: VenueAccount, spot_usd: Decimal) -> Verdict:
    """Say whether the money that the settings plan with is there."""
    name, capital = "balances", config.trading.capital_usd
    needed, value = margin_limit_usd(config), value_usd(mode, perp, spot_usd)
    text = f"account value {usd(value)} USD"
    lower = "lower trading.capital_usd"
    if mode != UNIFIED and spot_usd > 0:
        text += f", and {usd(spot_usd)} USDC on spot, which is no margin there"
        lower = f"move USDC from spot to perps, or {lower}"
    if value < Decimal(str(needed)):
        less = f"{text}: less than the margin of an entry, {usd(needed)} USD"
        return failure(name, less, f"deposit, or {lower}")
    if value < Decimal(str(capital)):
        less = f"{text}: less than trading.capital_usd, {usd(capital)} USD, which sizes and stops are made for"
        return warning(name, less, f"deposit, or {lower}")
    return ok(name, f"{text}, trading.capital_usd {usd(capital)}, margin of an entry {usd(needed)}")


def positions(config: Config, perp: VenueAccount) -> Verdict:
    """Say what is held: live trading refuses to begin with a position of a coin that it does not watch."""
    name = "positions"
    held = [f"{position.signed_size} {position.symbol}" for position in perp.positions]
    strange = [position.symbol for position in perp.positions if position.symbol not in config.trading.symbols]
    if strange:
        text = f"{', '.join(held)}: {', '.join(strange)} not among trading.symbols, and live trading does not begin so"
        return failure(name, text, "add the coin to trading.symbols, or close the position")
    if len(held) > config.risk.max_positions:
        text = f"{', '.join(held)}: more than risk.max_positions ({config.risk.max_positions})"
        return warning(name, text, "no entry is made until enough are closed")
    return ok(name, ", ".join(held) or "none")


def trades_a_day(config: Config) -> float:
    """Return the most trades of a day: the strategy's own limit, or one in every two candles for each position."""
    if config.trading.strategy == "macd_cross":
        return float(config.macd.max_trades_per_day)
    candle_ms = FIXED_MS.get(config.data.primary_timeframe, 28 * DAY_MS)
    return DAY_MS / candle_ms / 2 * config.risk.max_positions


def action_budget(config: Config, budget: UserRateLimit) -> Verdict:
    """Say how many actions the address has left, and for how long at the most that these settings trade."""
    name = "action budget"
    left = budget.requests_cap - budget.requests_used
    trades, notional = trades_a_day(config), entry_notional_usd(config, Regime.NORMAL)
    used, earned = trades * ACTIONS_A_TRADE, trades * 2 * notional
    text = (
        f"{left:,} of {budget.requests_cap:,} actions left; at most {trades:g} trades a day of {ACTIONS_A_TRADE} "
        f"actions use {used:,.0f} and their volume gives back {earned:,.0f} a day"
    )
    fix = "trade volume (1 USD frees 1 action), or trade less often"
    if left <= 0:
        return failure(name, f"{text}: above the limit the venue takes one action in 10 s", fix)
    days = left / (used - earned) if used > earned else None
    text += ": it does not run out" if days is None else f": {days:,.0f} days"
    if left < FEW_ACTIONS or (days is not None and days < FEW_DAYS):
        return warning(name, text, fix)
    return ok(name, text)


def builder_approvals(builders: tuple[str, ...] | None) -> Verdict:
    """Say who may take a fee of orders that name them; perpbot's name nobody."""
    name = "builder approvals"
    watched = "perpbot's orders name no builder, and a builder's fee in a fill raises an alert"
    if builders is None:
        return skipped(name, f"this venue lists no approvals; {watched}")
    if not builders:
        return ok(name, f"none; {watched}")
    text = f"{len(builders)} builder(s) may take a fee of this account's orders: {', '.join(builders)}; {watched}"
    return warning(name, text, "revoke those that you do not use, in the app that asked for them")
