"""Who signs: the key must be an API wallet of the account that is traded, or the account's own."""

from __future__ import annotations

import logging

from perp_bot.core.errors import ConfigError
from perp_bot.data.account_reads import AccountReads
from perp_bot.data.limiter import RequestClass

LOG = logging.getLogger(__name__)


def check_role(reads: AccountReads, signer: str, *, name: str = "HL_PRIVATE_KEY") -> None:
    """Make sure that the key of `name`, whose address is `signer`, signs for the account.

    Raises:
        ConfigError: the key may not trade for the account.
        VenueError: the venue cannot be asked.
    """
    role, master = reads.role_of(signer, RequestClass.PROTECTIVE)
    if role == "agent" and master == reads.address:
        return
    if role == "user" and signer == reads.address:
        LOG.warning("%s is the account's own key: an API wallet's key can trade but not withdraw", name)
        return
    if role == "agent":
        raise ConfigError(
            f"HL_WALLET_ADDRESS is {reads.address}, the key of {name} is an API wallet of {master} at "
            f"{reads.where}: set the address to that, or take the key of a wallet of yours"
        )
    if role == "user":
        raise ConfigError(
            f"{name} is the key of the account {signer} itself, HL_WALLET_ADDRESS is {reads.address}: approve an API "
            "wallet for that account and take its key"
        )
    raise ConfigError(
        f"{name}: {reads.where} knows no account or API wallet {signer} ({role}): approve the API wallet there, or "
        "deposit first"
    )
