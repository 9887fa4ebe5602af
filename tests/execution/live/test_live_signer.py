"""Signatures equal the SDK's byte for byte, and the key is never shown."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import traceback
from typing import Any

import coincurve
import pytest
from eth_account import Account
from eth_keys.backends import get_backend
from hyperliquid.utils.signing import sign_l1_action
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.config.model import Secrets
from perp_bot.core.errors import ConfigError
from perp_bot.execution.live.signer import Signer, signer_of

KEY = "c0ffee11" * 8
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

texts = st.text(max_size=40) | st.binary(min_size=16, max_size=16).map(lambda raw: "0x" + raw.hex())
leaves = st.booleans() | st.integers(0, 2**63) | texts | st.none() | st.integers(-(2**31), -1)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=12), inner, max_size=20),
    max_leaves=40,
)
actions = st.dictionaries(st.text(max_size=12), values, max_size=6)
keys = st.integers(1, CURVE_ORDER - 1).map(lambda number: f"{number:064x}")
times = st.integers(0, 2**63)


@pytest.mark.slow
@given(keys, actions, times, st.none() | times, st.booleans())
def test_a_signature_is_the_sdks(
    key: str, action: dict[str, Any], nonce: int, expires_after: int | None, is_mainnet: bool
) -> None:
    """Any action, nonce and expiry, on both networks: the same r, s and v, in the same minimal hex."""
    theirs = sign_l1_action(Account.from_key(key), action, None, nonce, expires_after, is_mainnet)
    ours = Signer(key, is_mainnet=is_mainnet)
    assert ours.sign(action, nonce, expires_after).wire == theirs
    assert ours.address == Account.from_key(key).address.lower()


def test_the_sdks_own_vectors() -> None:
    """Two of the vectors that the SDK is tested with (its tests/signing_test.py): a dummy action, both networks."""
    key = "0x0123456789012345678901234567890123456789012345678901234567890123"
    action = {"type": "dummy", "num": 100000000000}
    mainnet = Signer(key, is_mainnet=True).sign(action, 0, None)
    assert mainnet.wire == {
        "r": "0x53749d5b30552aeb2fca34b530185976545bb22d0b3ce6f62e31be961a59298",
        "s": "0x755c40ba9bf05223521753995abb2f73ab3229be8ec921f350cb447e384d8ed8",
        "v": 27,
    }
    testnet = Signer(key, is_mainnet=False).sign(action, 0, None)
    assert testnet.wire == {
        "r": "0x542af61ef1f429707e3c76c5293c80d01f74ef853e34b76efffcb57e574f9510",
        "s": "0x17b8b32f086e8cdede991f1e2c529f5dd5297cbe8128500e00cbaf766204a613",
        "v": 28,
    }


def test_the_sdk_signs_in_c_too() -> None:
    """With coincurve installed, eth_keys takes it by itself: reference and practice venue are quick as well."""
    assert type(get_backend()).__name__ == "CoinCurveECCBackend"


def spellings() -> list[str]:
    """Return how a key would be recognised: hex, decimal, raw bytes as Python shows them."""
    raw = bytes.fromhex(KEY)
    return [KEY, KEY.upper(), str(int(KEY, 16)), repr(raw)[2:-1], KEY[:16], KEY[-16:]]


def test_the_key_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Not by repr, str, format, a log line, nor in a traceback of a failed signature."""
    signer = Signer(KEY, is_mainnet=True)
    said = [repr(signer), str(signer), f"{signer}", f"{signer!a}", repr([signer]), repr({"key": signer})]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").error("signed with %s", signer, extra={"signer": signer})
    said.append(caplog.text)
    said.append(repr(signer.sign({"type": "noop"}, 1, None)))
    for action, nonce in (({"type": object()}, 1), ({"type": "noop"}, -1), ({"type": "noop"}, 2**64)):
        with pytest.raises((TypeError, OverflowError)) as caught:
            signer.sign(action, nonce, None)
        said.append("".join(traceback.format_exception(caught.value)))
    assert repr(signer) == f"Signer({Account.from_key(KEY).address.lower()})"
    for text in said:
        for spelling in spellings():
            assert spelling not in text


def test_a_signer_cannot_leave_the_process() -> None:
    """No pickle, no copy, no dictionary of its values."""
    signer = Signer(KEY, is_mainnet=False)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied or pickled") as caught:
            leave(signer)
        assert KEY not in str(caught.value)
    assert not hasattr(signer, "__dict__")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        KEY[:-2],
        KEY + "00",
        "0x" + KEY[:-2] + "zz",
        "0x0x" + KEY,
        "correct horse battery staple",
        "0" * 64,
        f"{CURVE_ORDER:064x}",
        "f" * 64,
    ],
)
def test_a_bad_key_is_one_clear_line_without_it(bad: str) -> None:
    """What was expected, where it comes from; never a value, also not in the chain of causes."""
    with pytest.raises(ConfigError, match=r"^HL_PRIVATE_KEY: ") as caught:
        Signer(bad, is_mainnet=True)
    shown = "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    assert len(bad) < 16 or bad not in shown
    assert caught.value.__context__ is None
    assert not re.search(r"[0-9a-fA-F]{40,}", shown)


def test_the_key_comes_from_the_secrets_and_the_network_from_the_address() -> None:
    """Only the mainnet's own address signs as mainnet; without a key there is one clear line."""
    secrets = Secrets(hl_private_key="0x" + KEY)
    action = {"type": "noop"}
    by_network = {name: Signer(KEY, is_mainnet=name).sign(action, 1, None) for name in (True, False)}
    assert signer_of(secrets, "https://api.hyperliquid.xyz").sign(action, 1, None) == by_network[True]
    for other in ("https://api.hyperliquid-testnet.xyz", "http://127.0.0.1:8642", "https://api.hyperliquid.xyz.evil"):
        assert signer_of(secrets, other).sign(action, 1, None) == by_network[False]
    with pytest.raises(ConfigError, match="HL_PRIVATE_KEY: not set"):
        signer_of(Secrets(), "https://api.hyperliquid.xyz")


def test_coincurve_signs_as_the_pure_python_curve_does() -> None:
    """Deterministic nonces (RFC 6979): the signature does not depend on which library made it."""
    from eth_keys.backends import NativeECCBackend
    from eth_keys.datatypes import PrivateKey

    digest = bytes(range(32))
    native = PrivateKey(bytes.fromhex(KEY), backend=NativeECCBackend()).sign_msg_hash(digest)
    assert coincurve.PrivateKey(bytes.fromhex(KEY)).sign_recoverable(digest, hasher=None) == native.to_bytes()
