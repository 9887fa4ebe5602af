"""Who signs: the key must be an API wallet of the account that is traded, or the account's own."""

from __future__ import annotations

import logging

from perp_bot.core.errors import ConfigError
from perp_bot.core.timeframes import iso
from perp_bot.data.account_reads import AccountReads
from perp_bot.data.limiter import RequestClass

LOG = logging.getLogger(__name__)

KEY = "HL_PRIVATE_KEY"
OWN_KEY = "is the account's own key: an API wallet's key can trade but not withdraw"


def check_role(reads: AccountReads, signer: str, *, name: str = KEY) -> None:
    """Make sure that the key of `name`, whose address is `signer`, signs for the account, and still may.

    Raises:
        ConfigError: the key may not trade for the account.
        VenueError: the venue cannot be asked.
    """
    role, master = reads.role_of(signer, RequestClass.PROTECTIVE)
    fault = role_fault(role, master, signer, reads.address, reads.where, name=name)
    if fault is not None:
        raise ConfigError(": ".join(fault))
    if role == "user":
        LOG.warning("%s %s", name, OWN_KEY)
        return
    for agent in reads.agents(RequestClass.PROTECTIVE):  # `userRole` still names one whose time is over
        until_ms = agent.valid_until_ms
        if agent.address == signer and until_ms is not None and until_ms <= reads.venue_ms():
            raise ConfigError(
                f"{name}: the API wallet {agent.name!r} ({signer}) ended at {iso(until_ms)}: approve it again, or take "
                "the key of another"
            )


def role_fault(
    role: str, master: str | None, signer: str, address: str, where: str, *, name: str = KEY
) -> tuple[str, str] | None:
    """Return why a key of this role may not trade for the account, and what to do; None when it may."""
    if role == "agent":
        if master == address:
            return None
        return (
            f"the account is {address} (HL_WALLET_ADDRESS), the key of {name} is an API wallet of {master} at {where}",
            "set the address to that, or take the key of a wallet of yours",
        )
    if role == "user":
        if signer == address:
            return None
        return (
            f"{name} is the key of the account {signer} itself, HL_WALLET_ADDRESS is {address}",
            "approve an API wallet for that account and take its key",
        )
    return (
        f"{name}: {where} knows no account or API wallet {signer} ({role})",
        "approve the API wallet there, or deposit first",
    )
