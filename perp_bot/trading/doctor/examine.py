"""The collector: reads what the checks need, from the venue, the disk and the locks, and writes nothing anywhere.

No lock is taken, no order sent, no database opened for writing; a running daemon does not notice. Once the venue does
not answer, it is not asked again: one line says so, and what does not need it is checked all the same.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar

from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths, signers_folder
from perp_bot.config.venues import base_url
from perp_bot.core.clock import VenueClock, monotonic_s, wall_ms
from perp_bot.core.errors import ConfigError, DaemonBusy, StoreError, VenueAway, VenueError, VenueTimeout
from perp_bot.core.venue_account import VenueAccount
from perp_bot.data.account_reads import AccountReads, CoinSetting
from perp_bot.data.answers import VenueStatus
from perp_bot.data.client import VenueClient
from perp_bot.data.db.reader import Reader
from perp_bot.data.limiter import WeightLimiter
from perp_bot.data.venue_watch import clock_skew
from perp_bot.execution.live.nonces import signer_lock_path
from perp_bot.execution.live.signer import signer_of
from perp_bot.ops.alert_channels import TELEGRAM_BASE_URL, Channel, Delivery
from perp_bot.ops.alerts import channels_of
from perp_bot.ops.instance_lock import holder
from perp_bot.risk import kill_switch
from perp_bot.trading.doctor import account_checks, coin_checks, machine_checks
from perp_bot.trading.doctor.coin_checks import Coin
from perp_bot.trading.doctor.machine_checks import KillFacts, Lock
from perp_bot.trading.doctor.verdict import Level, Verdict, failure, ok, skipped

TIMEOUT_S = 5.0
AWAY = "the venue does not answer"
PAPER = "mode is paper"
_ACCOUNT_CHECKS = (
    "signer",
    "agent expiry",
    "account mode",
    "balances",
    "positions",
    "action budget",
    "builder approvals",
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a fact is not known; `is_fault`: the venue was asked and did not tell."""

    why: str
    is_fault: bool = False


@dataclass(frozen=True, slots=True)
class Signing:
    """Who would sign, for which account; `problem`: the key cannot be used."""

    signer: str | None
    address: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Balances:
    """The account's mode, its perp side, and its USDC on spot."""

    mode: str
    perp: VenueAccount
    spot_usd: Decimal

    @property
    def value_usd(self) -> Decimal:
        """What it is worth."""
        return account_checks.value_usd(self.mode, self.perp, self.spot_usd)


def examine(config: Config, *, telegram_base_url: str = TELEGRAM_BASE_URL) -> list[Verdict]:
    """Return every verdict, in a fixed order."""
    clock = VenueClock()
    client = VenueClient(base_url(config.venue), clock=clock, limiter=WeightLimiter(clock), timeout_s=TIMEOUT_S)
    signing = _signing(config)
    try:
        venue = _Venue(config, client, clock, signing)
        verdicts = [*venue.of_venue(), *venue.of_account(), *venue.of_coins()]
    finally:
        client.close()
    return [*verdicts, *_of_machine(config, signing, telegram_base_url)]


def _signing(config: Config) -> Signing:
    address = config.secrets.hl_wallet_address
    address = None if address is None else address.lower()
    try:
        found = signer_of(config.secrets, base_url(config.venue)).address
    except ConfigError as error:
        return Signing(None, address, str(error))
    return Signing(found, address or found)


class _Venue:
    """Asks the venue one thing after the other."""

    def __init__(self, config: Config, client: VenueClient, clock: VenueClock, signing: Signing) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._signing = signing
        self._reads = None if signing.address is None else AccountReads(client, signing.address)
        self._is_away = False
        self._balances: Balances | Unread = Unread(PAPER)

    def _ask(self, read: Callable[[], T]) -> T | Unread:
        if self._is_away:
            return Unread(AWAY)
        try:
            return read()
        except (VenueAway, VenueTimeout) as error:
            self._is_away = True
            return Unread(str(error), is_fault=True)
        except VenueError as error:
            return Unread(str(error), is_fault=True)

    # ------------------------------------------------------------ venue

    def of_venue(self) -> list[Verdict]:
        """Return whether it answers, and its clock against ours."""
        status = self._ask(self._client.connect)
        if isinstance(status, Unread):
            self._is_away = True
            fix = "check venue in the settings and the network"
            return [failure("venue", status.why, fix), skipped("clock skew", AWAY)]
        self._clock.reset(status.time_ms, 1.0 if status.practice is None else status.practice.speed)
        return [ok("venue", _venue_text(self._config, status)), self._clock_skew()]

    def _clock_skew(self) -> Verdict:
        """Ask once more: the first answer came after a connection was made and libraries were loaded."""
        asked_s, asked_wall_ms, asked_ms = monotonic_s(), wall_ms(), self._clock.now_ms()
        status = self._ask(self._client.connect)
        if isinstance(status, Unread):
            return _unread("clock skew", status)
        half_trip_ms = (monotonic_s() - asked_s) * 1000 / 2
        skew = clock_skew(status.time_ms, self._clock, asked_ms, asked_wall_ms, half_trip_ms)
        return machine_checks.clock_skew(status, skew.to_wall_ms)

    # ------------------------------------------------------------ account

    def of_account(self) -> list[Verdict]:
        """Return the verdicts on signer and account."""
        config = self._config
        if config.mode == "paper" and config.secrets.hl_private_key is None:
            return [skipped(name, PAPER) for name in _ACCOUNT_CHECKS]
        verdicts = [*self._of_signer()]
        if self._reads is None:
            why = "no account is named (HL_WALLET_ADDRESS, or a key of its own)"
            self._balances = Unread(why)
            return [*verdicts, *(skipped(name, why) for name in _ACCOUNT_CHECKS[2:])]
        reads = self._reads
        mode = self._ask(reads.mode)
        verdicts.append(_judge("account mode", mode, account_checks.account_mode))
        self._balances = found = self._read_balances(reads, mode)
        verdicts.append(
            _judge("balances", found, lambda all_: account_checks.balances(config, all_.mode, all_.perp, all_.spot_usd))
        )
        if isinstance(found, Unread):
            verdicts.append(skipped("positions", "the account is not known"))
        else:
            verdicts.append(account_checks.positions(config, found.perp))
        budget = self._ask(lambda: self._client.user_rate_limit(reads.address))
        verdicts.append(_judge("action budget", budget, lambda one: account_checks.action_budget(config, one)))
        verdicts.append(_judge("builder approvals", self._ask(reads.builders), account_checks.builder_approvals))
        return verdicts

    def _of_signer(self) -> tuple[Verdict, Verdict]:
        signing, reads = self._signing, self._reads
        if signing.signer is None or reads is None:
            fix = "put the API wallet's key into .env beside the config file"
            return failure("signer", signing.problem, fix), skipped("agent expiry", "no usable key")
        signer, where = signing.signer, self._client.base_url
        role = self._ask(lambda: reads.role_of(signer))
        if isinstance(role, Unread):
            return _unread("signer", role), _unread("agent expiry", role)
        kind, master = role
        verdict = account_checks.signer(kind, master, signer, reads.address, where)
        if verdict.level is Level.FAILURE:
            return verdict, skipped("agent expiry", "the key does not sign for this account")
        agents = self._ask(reads.agents)
        now_ms = self._clock.now_ms()
        return verdict, _judge(
            "agent expiry", agents, lambda found: account_checks.agent_expiry(kind, found, signer, now_ms)
        )

    def _read_balances(self, reads: AccountReads, mode: str | Unread) -> Balances | Unread:
        if isinstance(mode, Unread):
            return Unread("the account mode, and so where its money is, is not known")
        perp = self._ask(reads.account)
        if isinstance(perp, Unread):
            return perp
        spot = self._ask(reads.spot_usd)
        return spot if isinstance(spot, Unread) else Balances(mode, perp, spot)

    # ------------------------------------------------------------ coins

    def of_coins(self) -> list[Verdict]:
        """Return leverage, minimum and stop of every configured coin."""
        symbols = self._config.trading.symbols
        coins = self._read_coins()
        if isinstance(coins, Unread):
            told = [_unread("coins", coins)] if coins.is_fault else []
            names = [f"{what} {symbol}" for what in ("leverage", "minimum", "stop") for symbol in symbols]
            return [*told, *(skipped(name, "the venue's coins are not known") for name in names)]
        config = self._config
        value = None if isinstance(self._balances, Unread) else self._balances.value_usd
        return [
            *(self._leverage(coin) for coin in coins),
            *(_of_tradable("minimum", coin, partial(coin_checks.minimum, config)) for coin in coins),
            *(
                _of_tradable("stop", coin, partial(coin_checks.stop_against_liquidation, config, value_usd=value))
                for coin in coins
            ),
        ]

    def _read_coins(self) -> list[Coin] | Unread:
        instruments = self._ask(self._client.instruments)
        if isinstance(instruments, Unread):
            return instruments
        contexts = self._ask(self._client.contexts)
        if isinstance(contexts, Unread):
            return contexts
        listed = {item.symbol: item for item in instruments}
        marks = {item.symbol: item.mark_px for item in contexts}
        return [Coin(symbol, listed.get(symbol), marks.get(symbol)) for symbol in self._config.trading.symbols]

    def _leverage(self, coin: Coin) -> Verdict:
        """Compare with the account's own setting where there is an account to ask for."""
        config, balances, reads = self._config, self._balances, self._reads
        if coin.trouble is not None:
            return coin_checks.leverage(config, coin, "")
        if isinstance(balances, Unread) or reads is None:
            return coin_checks.leverage(config, coin, balances.why if isinstance(balances, Unread) else "")
        setting: CoinSetting | Unread = self._ask(lambda: reads.coin(coin.symbol))
        if isinstance(setting, Unread):
            return _unread(f"leverage {coin.symbol}", setting)
        return coin_checks.leverage(config, coin, setting, balances.perp.signed_size(coin.symbol))


def _of_tradable(what: str, coin: Coin, check: Callable[[Coin], Verdict]) -> Verdict:
    return check(coin) if coin.trouble is None else skipped(f"{what} {coin.symbol}", coin.trouble)


def _judge(name: str, found: T | Unread, check: Callable[[T], Verdict]) -> Verdict:
    return _unread(name, found) if isinstance(found, Unread) else check(found)


def _unread(name: str, unread: Unread) -> Verdict:
    if not unread.is_fault:
        return skipped(name, unread.why)
    return failure(name, f"the venue did not tell: {unread.why}", "run it again")


def _venue_text(config: Config, status: VenueStatus) -> str:
    address = base_url(config.venue)
    where = f"{config.venue} answers" + ("" if config.venue == address else f" at {address}")
    if status.practice is None:
        return where
    speed = status.practice.speed
    return f"{where}: a practice venue, {'stepped' if speed is None else f'at speed {speed:g}'}, its prices generated"


# ---------------------------------------------------------------- this machine


def _of_machine(config: Config, signing: Signing, telegram_base_url: str) -> list[Verdict]:
    paths = RuntimePaths(config.data.db_path)
    folder = _existing(paths.directory)
    signer = Lock()
    if signing.signer is not None:
        signer = _lock(signer_lock_path(signers_folder(os.environ), signing.signer))
    channels, problems = channels_of(config.secrets, telegram_base_url)
    looks = asyncio.run(_look(channels)) if channels else ()
    return [
        machine_checks.disk(folder, _free_bytes(folder), is_writable=os.access(folder, os.W_OK | os.X_OK)),
        machine_checks.second_instance(_lock(paths.lock), signer, signing.signer),
        machine_checks.kill_latch(_kill_facts(paths)),
        machine_checks.alerts(looks, tuple(problems)),
    ]


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there: the rest is made at the start."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _lock(path: Path) -> Lock:
    try:
        pid = holder(path)
    except DaemonBusy:
        return Lock("a process of another container")
    except StoreError as error:
        return Lock(problem=str(error))
    return Lock(None if pid is None else f"pid {pid}")


def _kill_facts(paths: RuntimePaths) -> KillFacts:
    latch = kill_switch.read(paths.kill_latch)
    text = None if latch is None else latch.text
    if not paths.db.exists():
        return KillFacts(text)
    try:
        with Reader(paths.db, leaves_nothing=True) as reader:
            stored = reader.state("kill")
    except StoreError as error:
        return KillFacts(text, problem=str(error))
    return KillFacts(text, None if stored is None else str(stored))


async def _look(channels: list[Channel]) -> tuple[tuple[str, Delivery], ...]:
    from perp_bot.ops.http import HttpClient  # aiohttp: only where there is a channel

    http = HttpClient()
    try:
        found = await asyncio.gather(*(channel.look(http, timeout_s=TIMEOUT_S) for channel in channels))
    finally:
        await http.close()
    return tuple(zip((channel.name for channel in channels), found, strict=True))
