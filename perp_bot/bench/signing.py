"""Measures the signature of one order: by the SDK, with and without its curve in C, and by ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

from perp_bot.bench.measure import Measurement, summarize
from perp_bot.bench.turns import clocked, in_turn
from perp_bot.core.errors import PerpBotError

SUBJECT = "signing"
HELP = "one order signed: the SDK with and without coincurve, ours; equal signatures checked first"

_KEY = "01" * 32  # of nobody
_FIRST_NONCE = 1_790_000_000_000
_CHECKED = 200
_BACKEND = "ECC_BACKEND_CLASS"
_Sign = Callable[[dict[str, Any], int], dict[str, Any]]


def run(quick: bool) -> list[Measurement]:
    """Check that all signers agree on the same actions, then time them in turn; each nonce is a new one."""
    ours, hashes_anew = _ours(), _hashes_anew()
    signers: dict[str, _Sign] = {
        "SDK, without coincurve": _sdk(is_native=True),
        "SDK, as installed": _sdk(is_native=False),
        "ours, hashes made anew": hashes_anew,
        "ours": ours,
    }
    _check(signers)
    nonces = count(_FIRST_NONCE)
    action = _order(0)
    calls = {name: clocked(lambda sign=sign: sign(action, next(nonces))) for name, sign in signers.items()}  # type: ignore[misc]
    slow = ("SDK, without coincurve",)
    rounds, slow_rounds = (100, 10) if quick else (5_000, 500)
    seconds = in_turn(calls, rounds, slow=slow, slow_rounds=slow_rounds)
    details = {
        "SDK, without coincurve": "the curve in pure Python, as pip installs the SDK",
        "SDK, as installed": "the curve in C",
        "ours, hashes made anew": "domain, type and source hashed for each signature",
        "ours": "domain, type and source hashed once; byte for byte the SDK's",
    }
    median_ours = summarize(SUBJECT, "ours", "us", seconds["ours"], scale=1e6).median
    found = []
    for name, samples in seconds.items():
        item = summarize(SUBJECT, name, "us", samples, scale=1e6, detail=details[name])
        times_ours = None if name == "ours" else item.median / median_ours
        found.append(summarize(SUBJECT, name, "us", samples, scale=1e6, detail=details[name], times_ours=times_ours))
    return found


def _check(signers: dict[str, _Sign]) -> None:
    """Compare every signer with the SDK's on different actions and nonces.

    Raises:
        PerpBotError: naming the signer and the nonce, when a signature differs.
    """
    expected = signers["SDK, as installed"]
    for number in range(_CHECKED):
        action, nonce = _order(number), _FIRST_NONCE + number * 7_919
        wanted = expected(action, nonce)
        for name, sign in signers.items():
            if number % 20 and name == "SDK, without coincurve":
                continue  # 3 ms each
            if sign(action, nonce) != wanted:
                raise PerpBotError(f"signing: {name} signs otherwise than the SDK (nonce {nonce})")
    print(f"signing: {_CHECKED} signatures are equal byte for byte", file=sys.stderr)


def _order(number: int) -> dict[str, Any]:
    from perp_bot.core.types import OrderSide
    from perp_bot.execution.live.wire import Tif, VenueOrder, order_action

    size = Decimal(number + 1).scaleb(-5)
    cloid = f"0x{number:032x}"
    return order_action([VenueOrder(number % 223, OrderSide.BUY, Decimal(84000 + number), size, Tif.GTC, False, cloid)])


def _sdk(*, is_native: bool) -> _Sign:
    from eth_account import Account
    from hyperliquid.utils.signing import sign_l1_action

    wallet = Account.from_key(_KEY)

    def sign(action: dict[str, Any], nonce: int) -> dict[str, Any]:
        signature: dict[str, Any] = sign_l1_action(wallet, action, None, nonce, None, True)
        return signature

    def sign_natively(action: dict[str, Any], nonce: int) -> dict[str, Any]:
        # eth_keys looks this variable up for every key that it makes, and the SDK makes one a signature.
        os.environ[_BACKEND] = "eth_keys.backends.NativeECCBackend"
        try:
            return sign(action, nonce)
        finally:
            del os.environ[_BACKEND]

    return sign_natively if is_native else sign


def _ours() -> _Sign:
    from perp_bot.execution.live.signer import Signer

    signer = Signer(_KEY, is_mainnet=True)
    return lambda action, nonce: signer.sign(action, nonce, None).wire


def _hashes_anew() -> _Sign:
    """Return the same work with nothing kept: what the hashes that are kept ready save."""
    import coincurve
    import msgspec
    from eth_hash.auto import keccak

    key = coincurve.PrivateKey(bytes.fromhex(_KEY))
    encode = msgspec.msgpack.Encoder().encode

    def sign(action: dict[str, Any], nonce: int) -> dict[str, Any]:
        kind = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
        chain = (1337).to_bytes(32, "big")
        domain = keccak(kind + keccak(b"Exchange") + keccak(b"1") + chain + bytes(32))
        connection = keccak(encode(action) + nonce.to_bytes(8, "big") + b"\x00")
        agent = keccak(b"Agent(string source,bytes32 connectionId)")
        struct = keccak(agent + keccak(b"a") + connection)
        made = key.sign_recoverable(keccak(b"\x19\x01" + domain + struct), hasher=None)
        r, s = int.from_bytes(made[:32], "big"), int.from_bytes(made[32:64], "big")
        return {"r": hex(r), "s": hex(s), "v": made[64] + 27}

    return sign
