"""How the practice venue publishes and what it allows; the defaults are the real venue's of 2026-09."""

from __future__ import annotations

from dataclasses import dataclass, field

from perp_bot.practice.accounts_file import Account


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often each channel speaks, in venue ms, with a floor of one publishing tick of wall time."""

    context_ms: int = 1_000
    book_ms: int = 5_400
    fast_book_ms: int = 540
    mids_ms: int = 5_000
    candle_ms: int = 1_000
    tick_wall_ms: int = 100
    clock_wall_ms: int = 1_000
    account_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Per IP. Weights count by the venue's clock, everything about sockets by the wall's."""

    weight_per_minute: int = 1_200
    connections: int = 10
    new_connections_per_minute: int = 30
    subscriptions: int = 1_000
    messages_per_minute: int = 2_000
    idle_close_s: float = 60.0
    users: int = 10  # over all subscriptions to channels of a user


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a practice venue is started with. `speed` None: stepped."""

    speed: float | None = 1.0
    start: str | None = None
    seed: int = 42
    cadence: Cadence = field(default_factory=Cadence)
    limits: Limits = field(default_factory=Limits)
    origin_ms: int | None = None  # at speed 1: where the recording's first hour lies; None: by `start`
    accounts: tuple[Account, ...] = ()  # who trades from the start
    open_accounts: bool = False  # every new signer is an account with money: for playing only
    held: bool = False  # the clock stands at its start until the first request or socket of a client
