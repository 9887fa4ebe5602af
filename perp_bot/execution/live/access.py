"""How a process without a daemon gets to the venue: to read an account, and to act for it with a locked key."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from perp_bot.config.model import Config
from perp_bot.config.paths import signers_folder
from perp_bot.config.venues import base_url
from perp_bot.core.clock import VenueClock, monotonic_s, wall_ms
from perp_bot.core.errors import ConfigError, StoreError, VenueError
from perp_bot.core.types import Instrument
from perp_bot.data.account_reads import AccountReads
from perp_bot.data.client import VenueClient
from perp_bot.data.db.reader import Reader
from perp_bot.data.identity import KEY, venue_identity
from perp_bot.data.limiter import WeightLimiter
from perp_bot.execution.live.direct import WITHIN_S, Direct
from perp_bot.execution.live.nonces import NonceCounter, signer_lock
from perp_bot.execution.live.role import check_role
from perp_bot.execution.live.sender import Sender
from perp_bot.execution.live.signer import Signer, signer_of

LOG = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 2.0
_TIMEOUT_S = 5.0
_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Access:
    """A venue that answers, and the reads of one account there."""

    client: VenueClient
    clock: VenueClock
    reads: AccountReads
    instruments: dict[str, Instrument]

    def refreshed_instruments(self) -> Mapping[str, Instrument]:
        """Read the venue's coins again, for a process that lives long; the ones known before where it cannot be."""
        try:
            self.instruments.update({found.symbol: found for found in self.client.instruments()})
        except VenueError as error:
            LOG.warning("the venue's coins are as they were: %s", error)
        return self.instruments


def address_of(config: Config) -> str:
    """Return the account that is traded; ConfigError when nothing names it."""
    named = config.secrets.hl_wallet_address
    if named is None and config.secrets.hl_private_key is None:
        raise ConfigError("HL_WALLET_ADDRESS: not set; it names the account that is traded (.env or environment)")
    return (named or signer_of(config.secrets, base_url(config.venue)).address).lower()


@contextmanager
def reading(config: Config, *, patience_s: float = PATIENCE_S) -> Iterator[Access]:
    """Connect to the venue of the settings and read its coins, for up to `patience_s`: one lost answer is no reason.

    Raises:
        ConfigError: nothing names the account.
        VenueError: the venue does not answer.
        StoreError: the database belongs to another market.
    """
    address = address_of(config)
    clock = VenueClock()
    client = VenueClient(base_url(config.venue), clock=clock, limiter=WeightLimiter(clock), timeout_s=_TIMEOUT_S)
    try:
        status = patiently(client.connect, patience_s)
        clock.reset(status.time_ms, status.practice.speed if status.practice is not None else 1.0)
        _refuse_another(config.data.db_path, venue_identity(client.base_url, status))
        instruments = {instrument.symbol: instrument for instrument in patiently(client.instruments, patience_s)}
        yield Access(client, clock, AccountReads(client, address), instruments)
    finally:
        client.close()


@contextmanager
def acting(
    access: Access, signer: Signer, kill_latch: Path, *, name: str = "HL_PRIVATE_KEY", within_s: float = WITHIN_S
) -> Iterator[Direct]:
    """Take the signer's lock, make sure that it signs for the account, and go to the venue with it.

    Args:
        access: the venue and the account.
        signer: of the key called `name`.
        kill_latch: looked at before anything that adds exposure; nothing here does.
        name: the key's, for messages.
        within_s: see `direct.WITHIN_S`.

    Raises:
        DaemonBusy: another process signs with this key.
        ConfigError: the key may not trade for the account.
        VenueError: the venue does not answer.
    """
    folder = signers_folder(os.environ)
    client = access.client
    with ExitStack() as stack:
        stack.enter_context(signer_lock(folder, signer.address))
        nonces = NonceCounter(folder, signer.address)
        patiently(lambda: check_role(access.reads, signer.address, name=name), PATIENCE_S)
        sender = Sender(client.base_url, signer=signer, limiter=client.limiter, kill_latch=kill_latch)
        stack.callback(sender.close)
        yield Direct(
            sender=sender,
            reads=access.reads,
            nonces=nonces,
            market=client,
            instruments=access.instruments,
            clock=access.clock,
            run=f"{signer.address}:{wall_ms()}",
            within_s=within_s,
        )


def patiently(read: Callable[[], T], within_s: float) -> T:
    """Return what `read` gives, asking again for a while where that may help; the VenueError of the last time."""
    deadline_s = monotonic_s() + within_s
    while True:
        try:
            return read()
        except VenueError as error:
            if not error.retryable or monotonic_s() >= deadline_s:
                raise
            LOG.warning("asking again: %s", error)
        Event().wait(_AGAIN_S)


def _refuse_another(db: Path, identity: str) -> None:
    """Refuse a venue that the database was not traded at: what is looked for is not there.

    A database that cannot be read says nothing, and must not keep an emergency from the venue.
    """
    if not db.exists():
        return
    try:
        with Reader(db) as reader:
            stored = reader.state(KEY)
    except StoreError:
        return
    if stored not in (None, identity):
        raise StoreError(
            f"the database {db} belongs to {stored}, the settings' venue is {identity}: set `venue` to the one that "
            "was traded"
        )
