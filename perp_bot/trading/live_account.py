"""The account that live trading trades: its key, its lock, its settings at the venue, its first reads.

Everything that can be wrong about it is found here, before anything is decided, and said in one line.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from perp_bot.config.model import Config
from perp_bot.config.paths import signers_folder
from perp_bot.core.account_events import AccountEvent
from perp_bot.core.errors import ConfigError
from perp_bot.core.types import Instrument
from perp_bot.core.venue_account import RestingOrder, VenueAccount, VenueFill, VenueFunding
from perp_bot.data.account_reads import FILLS_BEFORE_MS, AccountReads
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.live import wire
from perp_bot.execution.live.access import patiently
from perp_bot.execution.live.commands import Command, VenuePort
from perp_bot.execution.live.nonces import NonceCounter, signer_lock
from perp_bot.execution.live.role import check_role
from perp_bot.execution.live.sender import Accepted, Sender
from perp_bot.execution.live.signer import Signer, signer_of
from perp_bot.execution.venue_thread import VenueThread

LOG = logging.getLogger(__name__)

LIVE_START = "live start"  # how a recording names what a session began with
ENTRY_VALID_MS = 10_000
_ENTRY_VALID_WALL_S = 2.0  # at a venue whose clock runs faster than the wall
_STEPPED_VALID_MS = 60_000
START_WITHIN_S = 4.0  # a start with a position must not fail on a few lost answers


@dataclass(frozen=True, slots=True)
class LiveStart:
    """What the venue had when live trading began: positions and open orders read together, then what came before."""

    account: VenueAccount
    orders: tuple[RestingOrder, ...]
    fills: tuple[VenueFill, ...] = ()
    funding: tuple[VenueFunding, ...] = ()
    baseline_ms: int = 0  # fills and funding until then belong to the account as it was found
    start_cash: Decimal = Decimal(0)
    entry_valid_ms: int = 0
    is_first: bool = False  # this database has not traded the account before


@dataclass(frozen=True, slots=True)
class LivePorts:
    """What a live executor is made with."""

    port: VenuePort
    entry_valid_ms: int
    baseline_ms: int
    start_cash: Decimal

    @classmethod
    def of(cls, start: LiveStart, port: VenuePort) -> LivePorts:
        """Return the ports of a session that begins so."""
        return cls(port, start.entry_valid_ms, start.baseline_ms, start.start_cash)


class NoPort:
    """Where a replay's commands go: their answers come with the recorded batches."""

    def put(self, command: Command) -> None:
        """Forget it."""

    def is_idle(self) -> bool:
        """Nothing is ever under way."""
        return True


def entry_valid_ms(speed: float | None) -> int:
    """Return for how long of the venue's time an entry that was sent may be taken; None: it is stepped."""
    if speed is None:
        return _STEPPED_VALID_MS
    return max(ENTRY_VALID_MS, round(_ENTRY_VALID_WALL_S * 1000 * speed))


class LiveAccount:
    """Owns the signer, its lock and the venue thread of one process."""

    def __init__(self, config: Config, client: VenueClient, kill_latch: Path) -> None:
        """Read the key and name the account; ConfigError in one line when either is missing or wrong."""
        self._config = config
        self._client = client
        self._kill_latch = kill_latch
        self.signer: Signer = signer_of(config.secrets, client.base_url)
        self.address = (config.secrets.hl_wallet_address or self.signer.address).lower()
        self.reads = AccountReads(client, self.address)
        self.nonces: NonceCounter
        self.thread: VenueThread

    def open(self, stack: ExitStack, put_event: Callable[[AccountEvent], None]) -> None:
        """Take the signer's lock, check who signs, and make the venue thread.

        Raises:
            DaemonBusy: another process signs with this key.
            ConfigError: the key may not trade for the account.
            VenueError: the venue cannot be asked.
        """
        folder = signers_folder(os.environ)
        stack.enter_context(signer_lock(folder, self.signer.address))
        self.nonces = NonceCounter(folder, self.signer.address)
        patiently(lambda: check_role(self.reads, self.signer.address), START_WITHIN_S)
        patiently(self.check_mode, START_WITHIN_S)
        self.thread = VenueThread(new_sender=self.new_sender, reads=self.reads, nonces=self.nonces, put_event=put_event)
        stack.callback(self.thread.stop)

    def new_sender(self) -> Sender:
        """Return a sender of its own connection."""
        return Sender(
            self._client.base_url, signer=self.signer, limiter=self._client.limiter, kill_latch=self._kill_latch
        )

    def check_mode(self) -> None:
        """Refuse a unified account: its money is in spot, where neither equity nor margin is looked at here.

        Raises:
            ConfigError: naming the mode.
        """
        mode = self.reads.mode(RequestClass.PROTECTIVE)
        if mode not in ("disabled", "default"):
            raise ConfigError(
                f"the account {self.address} is in mode {mode} at {self._client.base_url}: perpbot trades standard "
                "accounts; switch it in the venue's app, or take another"
            )

    def read(self, since_ms: int | None) -> LiveStart:
        """Return positions and open orders together, and from `since_ms` on fills and funding.

        Raises:
            VenueError: when asking for some seconds did not help.
        """
        return patiently(lambda: self._read(since_ms), START_WITHIN_S)

    def _read(self, since_ms: int | None) -> LiveStart:
        account = self.reads.account(RequestClass.PROTECTIVE)
        orders = self.reads.open_orders(RequestClass.PROTECTIVE)
        if since_ms is None:
            return LiveStart(account, orders)
        since_ms = max(0, since_ms - FILLS_BEFORE_MS)
        return LiveStart(account, orders, self.reads.fills_since(since_ms), self.reads.funding_since(since_ms))

    def set_leverage(self, account: VenueAccount, instruments: dict[str, Instrument]) -> None:
        """Set leverage and margin mode of every configured coin that is flat, and read them back.

        Raises:
            ConfigError: when the venue does not take them.
        """
        trading = self._config.trading
        wanted = (trading.leverage, trading.margin_mode == "cross")
        sender = self.new_sender()
        try:
            for symbol in trading.symbols:
                if account.signed_size(symbol) != 0:
                    continue
                found = self.reads.coin(symbol, RequestClass.PROTECTIVE)
                if (found.leverage, found.is_cross) == wanted:
                    continue
                action = wire.update_leverage_action(instruments[symbol].asset_id, trading.leverage, is_cross=wanted[1])
                outcome = sender.sign_and_post(
                    action, self.nonces.take(), None, request_class=RequestClass.PROTECTIVE, max_wait_s=5.0
                )
                found = self.reads.coin(symbol, RequestClass.PROTECTIVE)
                if (found.leverage, found.is_cross) != wanted:
                    said = "" if isinstance(outcome, Accepted) else f" ({outcome})"
                    raise ConfigError(
                        f"{symbol}: leverage {trading.leverage} {trading.margin_mode} was asked for, the venue has "
                        f"{found.leverage} {'cross' if found.is_cross else 'isolated'}{said}: change "
                        "trading.leverage or trading.margin_mode, or set it in the venue's app"
                    )
                LOG.info("%s: leverage set to %d %s", symbol, trading.leverage, trading.margin_mode)
        finally:
            sender.close()

    def refuse_unwatched(self, start: LiveStart) -> None:
        """Refuse positions of coins that are not traded here: nobody would watch them, and their money is counted.

        Raises:
            ConfigError: naming the first one.
        """
        for position in start.account.positions:
            if position.symbol not in self._config.trading.symbols:
                where = self._config.source_path or "settings"
                raise ConfigError(
                    f"{where}: trading.symbols: {position.symbol} is missing and the account holds "
                    f"{position.signed_size} of it: add it, or close it first"
                )

    def refuse_unknown(self, start: LiveStart) -> None:
        """With `execution.unknown_positions: refuse`, refuse an account that holds what perpbot did not open."""
        if self._config.execution.unknown_positions != "refuse" or not start.account.positions:
            return
        position = start.account.positions[0]
        raise ConfigError(
            f"the account holds {position.signed_size} {position.symbol} that perpbot did not open "
            "(execution.unknown_positions: refuse): close it, or choose protect, adopt or flatten"
        )


def start_cash_of(account: VenueAccount) -> Decimal:
    """Return the cash the books begin with: the venue's, before the positions it was found with were paid for."""
    paid = (p.signed_size * p.entry_px for p in account.positions if p.entry_px is not None)
    return account.total_raw_usd + sum(paid, Decimal(0))
