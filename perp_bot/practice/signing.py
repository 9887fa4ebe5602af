"""Who signed a request: the EIP-712 digests of the venue's two signing schemes, and the address behind a signature.

Written from the venue's specification with keccak, msgpack and curve arithmetic alone. Clients sign for any other base
URL than mainnet's as for the testnet, so the practice venue is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from perp_bot.practice import wire
from perp_bot.practice.wire import Envelope, NotAnAction

CHAIN = "Testnet"
SOURCE = "b"

_L1_CHAIN_ID = 1337
_ZERO_ADDRESS = bytes(32)
_DOMAIN = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_AGENT = keccak(b"Agent(string source,bytes32 connectionId)")
_NONCE = ("nonce", "uint64")
_TIME = ("time", "uint64")

USER_SIGNED: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "approveAgent": ("ApproveAgent", (("agentAddress", "address"), ("agentName", "string"), _NONCE)),
    "approveBuilderFee": ("ApproveBuilderFee", (("maxFeeRate", "string"), ("builder", "address"), _NONCE)),
    "usdSend": ("UsdSend", (("destination", "string"), ("amount", "string"), _TIME)),
    "spotSend": ("SpotSend", (("destination", "string"), ("token", "string"), ("amount", "string"), _TIME)),
    "withdraw3": ("Withdraw", (("destination", "string"), ("amount", "string"), _TIME)),
    "usdClassTransfer": ("UsdClassTransfer", (("amount", "string"), ("toPerp", "bool"), _NONCE)),
    "sendAsset": (
        "SendAsset",
        (
            ("destination", "string"),
            ("sourceDex", "string"),
            ("destinationDex", "string"),
            ("token", "string"),
            ("amount", "string"),
            ("fromSubAccount", "string"),
            _NONCE,
        ),
    ),
    "userDexAbstraction": ("UserDexAbstraction", (("user", "address"), ("enabled", "bool"), _NONCE)),
    "userSetAbstraction": ("UserSetAbstraction", (("user", "address"), ("abstraction", "string"), _NONCE)),
    "tokenDelegate": (
        "TokenDelegate",
        (("validator", "address"), ("wei", "uint64"), ("isUndelegate", "bool"), _NONCE),
    ),
    "convertToMultiSigUser": ("ConvertToMultiSigUser", (("signers", "string"), _NONCE)),
}
"""Actions that a user's own wallet signs field by field: name of the EIP-712 type, and its fields after the chain."""


class Unrecoverable(Exception):
    """No address belongs to the signature."""


def recover(signed: Envelope) -> str:
    """Return the address that signed a request, in lower case.

    A signature over anything else recovers some other address. Unrecoverable when there is none at all, NotAnAction
    when a field that the signature covers is missing or of the wrong kind.
    """
    digest = user_digest(signed.action) if signed.kind in USER_SIGNED else l1_digest(action_hash(signed))
    signature = signed.signature
    try:
        found = Signature(vrs=(signature.v - 27, signature.r, signature.s))
        return "0x" + found.recover_public_key_from_msg_hash(digest).to_canonical_address().hex()
    except (BadSignature, ValidationError):
        raise Unrecoverable from None


def action_hash(signed: Envelope) -> bytes:
    """Return the hash of an action with its nonce, vault and expiry: the connection id of the phantom agent."""
    try:
        packed = msgspec.msgpack.encode(signed.action)
    except (ValueError, TypeError, OverflowError, RecursionError):  # no venue would take it
        raise NotAnAction from None
    parts = [packed, signed.nonce.to_bytes(8, "big")]
    parts += [b"\x00"] if signed.vault is None else [b"\x01", bytes.fromhex(signed.vault[2:])]
    if signed.expires_ms is not None:
        parts += [b"\x00", signed.expires_ms.to_bytes(8, "big")]
    return keccak(b"".join(parts))


def l1_digest(connection_id: bytes) -> bytes:
    """Return what a wallet signs for an action of the exchange: Agent(source, connectionId)."""
    agent = keccak(_AGENT + keccak(SOURCE.encode()) + connection_id)
    return keccak(b"\x19\x01" + _separator("Exchange", _L1_CHAIN_ID) + agent)


def user_digest(action: Mapping[str, Any]) -> bytes:
    """Return what a wallet signs for a transaction of its user, on the chain that the action names."""
    name, fields = USER_SIGNED[action["type"]]
    fields = (("hyperliquidChain", "string"), *fields)
    chain_id = action.get("signatureChainId")
    try:
        separator = _separator("HyperliquidSignTransaction", int(str(chain_id), 16))
    except (ValueError, OverflowError):
        raise NotAnAction from None
    told = ",".join(f"{kind} {field}" for field, kind in fields)
    values = {**action, "hyperliquidChain": CHAIN, "agentName": action.get("agentName") or ""}
    encoded = b"".join(_encode(kind, values.get(field)) for field, kind in fields)
    return keccak(b"\x19\x01" + separator + keccak(keccak(f"HyperliquidTransaction:{name}({told})".encode()) + encoded))


def _separator(name: str, chain_id: int) -> bytes:
    return keccak(
        _DOMAIN + keccak(name.encode()) + keccak(b"1") + chain_id.to_bytes(32, "big") + _ZERO_ADDRESS,
    )


def _encode(kind: str, value: object) -> bytes:
    if kind == "address":
        return bytes(12) + bytes.fromhex(wire.address(value)[2:])
    if kind == "string" and isinstance(value, str):
        return keccak(value.encode("utf-8", "surrogatepass"))
    if kind == "bool" and isinstance(value, bool):
        return int(value).to_bytes(32, "big")
    if kind == "uint64" and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value.to_bytes(32, "big")
    raise NotAnAction
