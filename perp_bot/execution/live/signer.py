"""Signs the venue's L1 actions, byte for byte as its SDK does, without ever showing the key.

The action's hash is keccak(msgpack(action) + nonce + vault + expiry); it is signed as the EIP-712 struct
Agent(source, connectionId) on a fixed domain (Hyperliquid docs, "signing"). Everything in that which does not change
from action to action is hashed once: of three hashes a signature, none is of a constant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import coincurve
import msgspec
from eth_hash.auto import keccak

from perp_bot.config.model import Secrets
from perp_bot.config.venues import BASE_URLS, MAINNET
from perp_bot.core.errors import ConfigError

_KEY = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DOMAIN = keccak(
    keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    + keccak(b"Exchange")
    + keccak(b"1")
    + (1337).to_bytes(32, "big")
    + bytes(32)
)
_AGENT = keccak(b"Agent(string source,bytes32 connectionId)")
_SOURCE = {True: keccak(b"a"), False: keccak(b"b")}  # mainnet, everything else
_NO_VAULT = b"\x00"
_EXPIRES = b"\x00"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as the venue takes it: minimal hex, v 27 or 28."""

    r: str
    s: str
    v: int

    @property
    def wire(self) -> dict[str, str | int]:
        """The value of a request's `signature`."""
        return {"r": self.r, "s": self.s, "v": self.v}


class Signer:
    """One signing key. It cannot be printed, copied or pickled; only its address is public."""

    __slots__ = ("_curve_key", "_encode", "_prefix", "address")

    def __init__(self, private_key: str, *, is_mainnet: bool, name: str = "HL_PRIVATE_KEY") -> None:
        """Take a key of 64 hex digits, with or without 0x; `name` is where it comes from, for messages.

        Raises:
            ConfigError: when it is no private key; one line that does not show it.
        """
        match = _KEY.fullmatch(private_key.strip())
        if match is None:
            raise ConfigError(
                f"{name}: expected 32 bytes as 64 hex digits, found {len(private_key.strip())} characters of another "
                "form (its value is not shown)"
            )
        if not 0 < int(match[1], 16) < _CURVE_ORDER:
            raise ConfigError(f"{name}: these 32 bytes are no private key of the curve (its value is not shown)")
        self._curve_key = coincurve.PrivateKey(bytes.fromhex(match[1]))
        self._prefix = _AGENT + _SOURCE[is_mainnet]
        self._encode = msgspec.msgpack.Encoder().encode
        public = self._curve_key.public_key.format(compressed=False)[1:]
        self.address = "0x" + keccak(public)[-20:].hex()

    def sign(self, action: Mapping[str, Any], nonce: int, expires_after: int | None) -> Signature:
        """Return the signature of an action with its nonce and expiry (epoch ms of the venue)."""
        packed = self._encode(action) + nonce.to_bytes(8, "big") + _NO_VAULT
        if expires_after is not None:
            packed += _EXPIRES + expires_after.to_bytes(8, "big")
        struct = keccak(self._prefix + keccak(packed))
        made = self._curve_key.sign_recoverable(keccak(b"\x19\x01" + _DOMAIN + struct), hasher=None)
        return Signature(_minimal_hex(made[:32]), _minimal_hex(made[32:64]), made[64] + 27)

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a signer holds a key: it is not copied or pickled")


def signer_of(secrets: Secrets, base_url: str) -> Signer:
    """Return the signer of the configured key for the venue at `base_url`: as on mainnet there, else as on testnet.

    Raises:
        ConfigError: when there is no key, or when it is none; never shows it.
    """
    if secrets.hl_private_key is None:
        raise ConfigError("HL_PRIVATE_KEY: not set; live trading signs with an API wallet's key (.env or environment)")
    return Signer(secrets.hl_private_key, is_mainnet=base_url == BASE_URLS[MAINNET])


def _minimal_hex(number: bytes) -> str:
    return hex(int.from_bytes(number, "big"))
