"""The venue behind the protocol: its market, exchange, clock, faults and settings in one place."""

from __future__ import annotations

import time
from dataclasses import replace

from perp_bot.practice.accounts_file import Account
from perp_bot.practice.clock import PracticeClock, origin_for, parse_start
from perp_bot.practice.exchange.exchange import Exchange
from perp_bot.practice.faults import Faults
from perp_bot.practice.market.market import Market
from perp_bot.practice.nonces import Nonces
from perp_bot.practice.settings import Limits, Settings


class Venue:
    """One running practice venue."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits: Limits = settings.limits
        origin_ms, start_ms = origin_for(parse_start(settings.start), settings.speed, time.time_ns() // 1_000_000)
        if settings.origin_ms is not None:
            origin_ms = settings.origin_ms
        self.clock = PracticeClock(start_ms, settings.speed, held=settings.held)
        self.market = Market(settings.seed, origin_ms)
        self.faults = Faults(settings.seed)
        self.steps = 0
        self.exchange = Exchange(self.market, start_ms, open_accounts=settings.open_accounts)
        self.nonces = Nonces()
        self._modes: dict[str, str] = {}
        for one in settings.accounts:
            self._open_account(one)
        self.exchange.drain()

    def _open_account(self, account: Account) -> None:
        exchange = self.exchange
        if account.usd:
            exchange.fund(account.address, account.usd)
        self.set_mode(account.address, account.mode)
        for agent in account.agents:
            exchange.approve_agent(account.address, agent.address, agent.name, agent.valid_until_ms)
        for held in account.positions:
            exchange.give_position(account.address, held.coin, held.size, held.entry_px, held.leverage, held.is_cross)

    def now_ms(self) -> int:
        """Return the venue's time; coins whose delisting has ended are back."""
        now_ms = self.clock.now_ms()
        self.market.set_delisted(self.faults.delisted(), now_ms)
        return now_ms

    def catch_up(self) -> int:
        """Let the exchange do what was due until now: fills, triggers, funding, liquidations; return the time."""
        now_ms = self.now_ms()
        self.exchange.advance(now_ms)
        return now_ms

    def set_mode(self, address: str, mode: str) -> None:
        """Make an account standard or unified."""
        self.exchange.set_mode(address, mode)
        self._modes[address] = mode

    def mode_of(self, address: str) -> str:
        """Return an account's mode."""
        return self._modes.get(address, "standard")

    def is_account(self, address: str) -> bool:
        """Return whether an address is an account of its own (an agent's address is not)."""
        return bool(self.exchange.role(address)["role"] == "user")

    def told_ms(self) -> int:
        """Return the time the venue tells, with the injected skew."""
        return self.clock.now_ms() + self.faults.skew_ms()

    def set_limits(self, **changes: float) -> None:
        """Change limits while running."""
        self.limits = replace(self.limits, **changes)  # type: ignore[arg-type]

    def label(self) -> dict[str, object]:
        """Return what the venue says about itself in exchangeStatus: it is practice, and what is generated."""
        return {
            "speed": self.settings.speed,
            "seed": self.settings.seed,
            "start_ms": self.clock.start_ms,
            "now_ms": self.clock.now_ms(),
            "step": self.steps,
            "origin_ms": self.market.origin_ms,
            "recorded_until_ms": self.market.recorded_until_ms,
            "note": "practice: recorded 1h candles; prices below them, books, trades, funding and all after the "
            "recording (a seeded block bootstrap of its hours) are generated",
            "replays_step": True,
            "coins": {coin.name: coin.label for coin in self.market.specs},
        }
