"""The gate: every reason that forbids an entry, never only the first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from perp_bot.config.model import Config
from perp_bot.core.money import usd
from perp_bot.core.types import GateReason, Instrument, Regime
from perp_bot.risk.limits import LimitUse, RiskView, entries_today, exceeds, limits, margin_limit_usd
from perp_bot.strategies.regimes import factors

# The journal's rule names of the limits whose screen name differs.
_RULES = {
    "daily_loss": "daily_loss_limit",
    "positions": "max_positions",
    "margin": "margin_limit",
    "entries_today": "max_trades_per_day",
}


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator's pause of entries: everything, one symbol or one strategy (`name` is None for everything)."""

    scope: str  # "all", "symbol", "strategy"
    name: str | None
    reason: str = ""

    def covers(self, symbol: str, strategy: str) -> bool:
        """Whether entries of `symbol` by `strategy` are paused by it."""
        return self.scope == "all" or self.name == (symbol if self.scope == "symbol" else strategy)

    @property
    def text(self) -> str:
        """The pause as a sentence."""
        what = "everything" if self.scope == "all" else f"{self.scope} {self.name}"
        return f"{what} is paused by the operator" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Blocks:
    """What forbids entries apart from limits: latch, pauses, and degraded states (each a rule name and a sentence)."""

    killed: str | None = None  # who latched it, and why; None = not latched
    pauses: tuple[Pause, ...] = ()
    degraded: tuple[GateReason, ...] = ()  # stale stream, overflow, database failed, venue away, starved, ...
    coins: tuple[tuple[str, GateReason], ...] = ()  # degraded states that stop the entries of one coin alone

    def covering(self, symbol: str, strategy: str) -> Blocks:
        """Return what of it concerns entries of `symbol` by `strategy`."""
        own = tuple(reason for coin, reason in self.coins if coin == symbol)
        return Blocks(self.killed, tuple(p for p in self.pauses if p.covers(symbol, strategy)), self.degraded + own)


@dataclass(frozen=True, slots=True)
class EntryRequest:
    """An entry that is asked for."""

    symbol: str
    strategy: str
    regime: Regime
    provisional: bool
    instrument: Instrument | None  # None: the venue's meta has no such coin
    notional_usd: float
    max_trades_per_day: int | None = None  # the strategy's own limit


def gate(config: Config, view: RiskView, blocks: Blocks, request: EntryRequest) -> tuple[GateReason, ...]:
    """Return all reasons that forbid the entry; empty when it may go out."""
    return (
        *_block_reasons(blocks, request),
        *_market_reasons(config, request),
        *_equity_reasons(view),
        *(_limit_reason(use) for use in limits(config, view) if use.breached),
        *_margin_reasons(config, view, request),
        *_trades_a_day_reasons(view, request),
    )


def _block_reasons(blocks: Blocks, request: EntryRequest) -> list[GateReason]:
    mine = blocks.covering(request.symbol, request.strategy)
    reasons = [] if mine.killed is None else [GateReason("killed", f"the kill latch is set: {mine.killed}")]
    reasons += [GateReason("paused", pause.text) for pause in mine.pauses]
    reasons += mine.degraded
    return reasons


def _market_reasons(config: Config, request: EntryRequest) -> list[GateReason]:
    reasons = []
    if request.provisional:
        reasons.append(GateReason("provisional", "the candle is provisional: the venue has not confirmed it"))
    if request.instrument is None:
        reasons.append(GateReason("unlisted", f"the venue's meta has no perp called {request.symbol}"))
    elif request.instrument.is_delisted:
        reasons.append(GateReason("delisted", f"{request.symbol} is delisted at the venue"))
    elif config.trading.leverage > request.instrument.max_leverage:
        allowed = request.instrument.max_leverage
        text = f"leverage {config.trading.leverage} is above the venue's {allowed} of {request.symbol}"
        reasons.append(GateReason("leverage", text))
    if not factors(request.regime).entries_allowed:
        reasons.append(GateReason("regime", f"regime {request.regime}: no entries"))
    return reasons


def _equity_reasons(view: RiskView) -> list[GateReason]:
    equity = view.equity_usd
    if equity is None or not math.isfinite(equity):
        return [GateReason("equity_unknown", "equity is not known: a mark or the account is missing")]
    if equity <= 0:
        return [GateReason("equity_unknown", f"equity is {usd(equity)}: nothing to trade with")]
    return []


def _trades_a_day_reasons(view: RiskView, request: EntryRequest) -> list[GateReason]:
    most = request.max_trades_per_day
    use = None if most is None else entries_today(request.strategy, most, view)
    return [] if use is None or not use.breached else [_limit_reason(use)]


def _limit_reason(use: LimitUse) -> GateReason:
    return GateReason(_RULES.get(use.name, use.name), use.text)


def _margin_reasons(config: Config, view: RiskView, request: EntryRequest) -> list[GateReason]:
    """Refuse an entry whose margin no longer fits, under the configured share or under the account's equity."""
    used = view.margin_used_usd
    if used is None or not math.isfinite(used):
        return []  # the margin limit itself already refuses
    needed = request.notional_usd / config.trading.leverage
    limit = margin_limit_usd(config)
    reasons = []
    if exceeds(used + needed, limit) and not exceeds(used, limit):
        text = f"margin {usd(used)} in use + {usd(needed)} for this entry is above {usd(limit)}"
        reasons.append(GateReason("margin_limit", f"{text} ({config.trading.margin_usage_limit:g} of capital)"))
    equity = view.equity_usd
    if equity is not None and math.isfinite(equity) and exceeds(used + needed, equity):
        text = f"margin {usd(used)} in use + {usd(needed)} for this entry is above the equity of {usd(equity)}"
        reasons.append(GateReason("insufficient_margin", text))
    return reasons
