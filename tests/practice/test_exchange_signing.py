"""Who signed: the venue's digests against the SDK's signatures and the official vectors; what is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.utils import signing as sdk

from perp_bot.practice import signing, wire
from perp_bot.practice.wire import NotAnAction

OFFICIAL = Account.from_key("0x0123456789012345678901234567890123456789012345678901234567890123")
WALLET = Account.from_key("0x" + "07" * 32)
VAULT = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
ORDER: dict[str, Any] = {
    "type": "order",
    "orders": [
        {
            "a": 0,
            "b": True,
            "p": "84000",
            "s": "0.001",
            "r": False,
            "t": {"limit": {"tif": "Gtc"}},
            "c": "0x" + "ab" * 16,
        }
    ],
    "grouping": "na",
}
TRIGGER = {"trigger": {"isMarket": True, "triggerPx": "80000.5", "tpsl": "sl"}}
ACTIONS: list[dict[str, Any]] = [
    ORDER,
    {**ORDER, "builder": {"b": "0x" + "1c" * 20, "f": 10}},
    {**ORDER, "grouping": "normalTpsl", "orders": [*ORDER["orders"], {**ORDER["orders"][0], "r": True, "t": TRIGGER}]},
    {"type": "cancel", "cancels": [{"a": 4, "o": 62014444172}]},
    {"type": "cancel", "cancels": [{"a": 4, "o": 1}, {"a": 0, "o": 2}], "f": True},
    {"type": "cancelByCloid", "cancels": [{"asset": 4, "cloid": "0x" + "0" * 31 + "1"}]},
    {"type": "modify", "oid": 77, "order": ORDER["orders"][0]},
    {"type": "batchModify", "modifies": [{"oid": "0x" + "ef" * 16, "order": ORDER["orders"][0]}]},
    {"type": "scheduleCancel"},
    {"type": "scheduleCancel", "time": 123456789},
    {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5},
    {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True, "ntli": -1_000_000},
    {"type": "noop"},
    {"type": "twapOrder", "twap": {"a": 0, "b": True, "s": "1", "r": False, "m": 30, "t": False}},
]


def signed(
    action: dict[str, Any], nonce: int = 1_700_000_000_000, vault: str | None = None, expires: int | None = None
) -> dict[str, Any]:
    """Return the body that the SDK would send."""
    signature = sdk.sign_l1_action(WALLET, action, vault, nonce, expires, False)
    return {"action": action, "nonce": nonce, "signature": signature, "vaultAddress": vault, "expiresAfter": expires}


def signer(body: Any) -> str:
    """Return who signed a body that has travelled as JSON."""
    return signing.recover(wire.envelope(json.loads(json.dumps(body))))


@pytest.mark.parametrize("action", ACTIONS, ids=[f"{index}-{one['type']}" for index, one in enumerate(ACTIONS)])
def test_what_the_sdk_signs_is_recovered(action: dict[str, Any]) -> None:
    """For every kind of action the address is the wallet's."""
    assert signer(signed(action)) == WALLET.address.lower()


@pytest.mark.parametrize("vault", [None, VAULT])
@pytest.mark.parametrize("expires", [None, 0, 1_700_000_005_000])
def test_vault_and_expiry_are_covered_by_the_signature(vault: str | None, expires: int | None) -> None:
    """Both are part of the hash: as signed they recover the wallet, changed they do not."""
    body = signed(ORDER, vault=vault, expires=expires)
    assert signer(body) == WALLET.address.lower()
    assert signer({**body, "expiresAfter": 77}) != WALLET.address.lower()
    assert signer({**body, "vaultAddress": "0x" + "12" * 20}) != WALLET.address.lower()
    assert signer({**body, "nonce": body["nonce"] + 1}) != WALLET.address.lower()


ETH_100 = {"a": 1, "b": True, "p": "100", "s": "100", "r": False, "t": {"limit": {"tif": "Gtc"}}}
SL_103 = {**ETH_100, "t": {"trigger": {"isMarket": True, "triggerPx": "103", "tpsl": "sl"}}}
VECTORS: list[tuple[dict[str, Any], str | None, str, str, int]] = [
    (
        {"type": "dummy", "num": 100_000_000_000},
        None,
        "0x542af61ef1f429707e3c76c5293c80d01f74ef853e34b76efffcb57e574f9510",
        "0x17b8b32f086e8cdede991f1e2c529f5dd5297cbe8128500e00cbaf766204a613",
        28,
    ),
    (
        {"type": "order", "orders": [ETH_100], "grouping": "na"},
        None,
        "0x82b2ba28e76b3d761093aaded1b1cdad4960b3af30212b343fb2e6cdfa4e3d54",
        "0x6b53878fc99d26047f4d7e8c90eb98955a109f44209163f52d8dc4278cbbd9f5",
        27,
    ),
    (
        {"type": "order", "orders": [{**ETH_100, "c": "0x" + "0" * 31 + "1"}], "grouping": "na"},
        None,
        "0xeba0664bed2676fc4e5a743bf89e5c7501aa6d870bdb9446e122c9466c5cd16d",
        "0x7f3e74825c9114bc59086f1eebea2928c190fdfbfde144827cb02b85bbe90988",
        28,
    ),
    (
        {"type": "dummy", "num": 100_000_000_000},
        VAULT,
        "0xe281d2fb5c6e25ca01601f878e4d69c965bb598b88fac58e475dd1f5e56c362b",
        "0x7ddad27e9a238d045c035bc606349d075d5c5cd00a6cd1da23ab5c39d4ef0f60",
        27,
    ),
    (
        {"type": "order", "orders": [SL_103], "grouping": "na"},
        None,
        "0x971c554d917c44e0e1b6cc45d8f9404f32172a9d3b3566262347d0302896a2e4",
        "0x206257b104788f80450f8e786c329daa589aa0b32ba96948201ae556d5637eac",
        28,
    ),
    (
        {"type": "createSubAccount", "name": "example"},
        None,
        "0xa699e3ed5c2b89628c746d3298b5dc1cca604694c2c855da8bb8250ec8014a5b",
        "0x53f1b8153a301c72ecc655b1c315d64e1dcea3ee58921fd7507e35818fcc1584",
        28,
    ),
    (
        {"type": "scheduleCancel"},
        None,
        "0xc75bb195c3f6a4e06b7d395acc20bbb224f6d23ccff7c6a26d327304e6efaeed",
        "0x342f8ede109a29f2c0723bd5efb9e9100e3bbb493f8fb5164ee3d385908233df",
        28,
    ),
    (
        {"type": "scheduleCancel", "time": 123456789},
        None,
        "0x4e4f2dbd4107c69783e251b7e1057d9f2b9d11cee213441ccfa2be63516dc5bc",
        "0x706c656b23428c8ba356d68db207e11139ede1670481a9e01ae2dfcdb0e1a678",
        27,
    ),
]
"""Testnet signatures (nonce 0) of the official SDK's own tests (MIT)."""


@pytest.mark.parametrize(("action", "vault", "r", "s", "v"), VECTORS)
def test_the_official_vectors_are_recovered(action: dict[str, Any], vault: str | None, r: str, s: str, v: int) -> None:
    """Signatures published with the official SDK belong to the key published with them."""
    body = {"action": action, "nonce": 0, "signature": {"r": r, "s": s, "v": v}, "vaultAddress": vault}
    assert signer(body) == OFFICIAL.address.lower()


@pytest.mark.parametrize(
    ("kind", "r", "s", "v"),
    [
        (
            "usdSend",
            "0x637b37dd731507cdd24f46532ca8ba6eec616952c56218baeff04144e4a77073",
            "0x11a6a24900e6e314136d2592e2f8d502cd89b7c15b198e1bee043c9589f9fad7",
            27,
        ),
        (
            "withdraw3",
            "0x8363524c799e90ce9bc41022f7c39b4e9bdba786e5f9c72b20e43e1462c37cf9",
            "0x58b1411a775938b83e29182e8ef74975f9054c8e97ebf5ec2dc8d51bfc893881",
            28,
        ),
    ],
)
def test_the_official_vectors_of_user_signed_actions_are_recovered(kind: str, r: str, s: str, v: int) -> None:
    """The same for actions that a wallet signs field by field."""
    action = {
        "type": kind,
        "destination": "0x5e9ee1089755c3435139848e47e6635505d5a13a",
        "amount": "1",
        "time": 1687816341423,
        "signatureChainId": "0x66eee",
        "hyperliquidChain": "Testnet",
    }
    body = {"action": action, "nonce": 1687816341423, "signature": {"r": r, "s": s, "v": v}}
    assert signer(body) == OFFICIAL.address.lower()


USER_ACTIONS: list[tuple[Any, dict[str, Any]]] = [
    (sdk.sign_agent, {"type": "approveAgent", "agentAddress": VAULT, "agentName": "bot", "nonce": 5}),
    (sdk.sign_agent, {"type": "approveAgent", "agentAddress": VAULT, "agentName": "", "nonce": 5}),
    (sdk.sign_approve_builder_fee, {"type": "approveBuilderFee", "maxFeeRate": "0.01%", "builder": VAULT, "nonce": 5}),
    (sdk.sign_spot_transfer_action, {"type": "spotSend", "destination": VAULT, "token": "P", "amount": "1", "time": 5}),
    (sdk.sign_usd_class_transfer_action, {"type": "usdClassTransfer", "amount": "1", "toPerp": True, "nonce": 5}),
    (
        sdk.sign_send_asset_action,
        {
            "type": "sendAsset",
            "destination": VAULT,
            "sourceDex": "",
            "destinationDex": "",
            "token": "USDC",
            "amount": "1",
            "fromSubAccount": "",
            "nonce": 5,
        },
    ),
    (sdk.sign_user_dex_abstraction_action, {"type": "userDexAbstraction", "user": VAULT, "enabled": True, "nonce": 5}),
    (
        sdk.sign_user_set_abstraction_action,
        {"type": "userSetAbstraction", "user": VAULT, "abstraction": "unifiedAccount", "nonce": 5},
    ),
    (
        sdk.sign_token_delegate_action,
        {"type": "tokenDelegate", "validator": VAULT, "wei": 7, "isUndelegate": False, "nonce": 5},
    ),
    (sdk.sign_convert_to_multi_sig_user_action, {"type": "convertToMultiSigUser", "signers": "null", "nonce": 5}),
]


@pytest.mark.parametrize(
    ("sign", "action"), USER_ACTIONS, ids=[f"{index}-{one['type']}" for index, (_, one) in enumerate(USER_ACTIONS)]
)
def test_what_the_sdk_lets_the_user_sign_is_recovered(sign: Any, action: dict[str, Any]) -> None:
    """Field by field on the chain of signatureChainId; one changed field is another signer."""
    action = dict(action)
    signature = sign(WALLET, action, False)
    body = {"action": action, "nonce": 5, "signature": signature}
    assert signer(body) == WALLET.address.lower()
    nonce = "time" if "time" in action else "nonce"
    assert signer({**body, "action": {**action, nonce: 6}}) != WALLET.address.lower()
    assert signer({**body, "action": {**action, "signatureChainId": "0x1"}}) != WALLET.address.lower()


def test_a_missing_agent_name_is_an_empty_one() -> None:
    """The SDK signs "" for an unnamed agent and then leaves the key out."""
    action: dict[str, Any] = {"type": "approveAgent", "agentAddress": VAULT, "agentName": "", "nonce": 5}
    signature = sdk.sign_agent(WALLET, action, False)
    del action["agentName"]
    assert signer({"action": action, "nonce": 5, "signature": signature}) == WALLET.address.lower()


def test_a_mainnet_signature_belongs_to_someone_else_here() -> None:
    """The source is part of what is signed: a client configured for mainnet is a stranger."""
    signature = sdk.sign_l1_action(WALLET, ORDER, None, 5, None, True)
    assert signer({"action": ORDER, "nonce": 5, "signature": signature}) != WALLET.address.lower()


@pytest.mark.parametrize("part", ["r", "s"])
@pytest.mark.parametrize("position", [0, 7, 31])
def test_one_flipped_byte_is_another_signer(part: str, position: int) -> None:
    """Whatever byte of a signature changes, the wallet is not recovered."""
    body = signed(ORDER)
    raw = bytearray(int(body["signature"][part], 16).to_bytes(32, "big"))
    raw[position] ^= 0x01
    body["signature"][part] = hex(int.from_bytes(raw, "big"))
    with contextlib.suppress(signing.Unrecoverable):
        assert signer(body) != WALLET.address.lower()


@pytest.mark.parametrize(
    "written",
    [
        {"grouping": "na", "orders": [dict(reversed(ORDER["orders"][0].items()))], "type": "order"},
        {**ORDER, "orders": [{**ORDER["orders"][0], "p": "84000.0", "s": "0.00100"}]},
        {**ORDER, "orders": [{**ORDER["orders"][0], "c": "0x" + "AB" * 16}]},
    ],
    ids=["order of keys", "zeros", "upper case"],
)
def test_the_venue_hashes_what_it_read_not_how_it_was_written(written: dict[str, Any]) -> None:
    """Sent differently, the signature still holds; signed differently, it is somebody else's (the known pitfalls)."""
    body = signed(ORDER)
    assert signer({**body, "action": written}) == WALLET.address.lower()
    assert signer(signed(written)) != WALLET.address.lower()


def test_an_r_without_leading_zeros_is_read() -> None:
    """r and s are minimal hex, of odd length too."""
    for nonce in range(2_000):
        body = signed(ORDER, nonce)
        if len(body["signature"]["r"]) < 66:
            break
    assert len(body["signature"]["r"]) < 66
    assert signer(body) == WALLET.address.lower()


@pytest.mark.parametrize(("r", "s"), [("0x0", "0x0"), ("0x" + "f" * 64, "0x1")])
def test_a_signature_of_nobody_is_told_apart(r: str, s: str) -> None:
    """Zeros, and numbers that are on no curve, belong to no address."""
    with pytest.raises(signing.Unrecoverable):
        signer({**signed(ORDER), "signature": {"r": r, "s": s, "v": 27}})


def order(**changes: Any) -> dict[str, Any]:
    return {**ORDER, "orders": [{**ORDER["orders"][0], **changes}]}


@pytest.mark.parametrize(
    "change",
    [
        {"signature": None},
        {"signature": {"r": "0x1", "s": "0x1"}},
        {"signature": {"r": "xyz", "s": "0x1", "v": 27}},
        {"signature": {"r": "0x" + "1" * 65, "s": "0x1", "v": 27}},
        {"signature": {"r": 1, "s": "0x1", "v": 27}},
        {"nonce": "5"},
        {"nonce": True},
        {"nonce": -1},
        {"vaultAddress": "0x12"},
        {"expiresAfter": "soon"},
        {"action": None},
        {"action": {"orders": []}},
        {"action": order(a="0")},
        {"action": order(b=1)},
        {"action": order(p=84000)},
        {"action": order(p="8.4e4")},
        {"action": order(p="-1")},
        {"action": order(p="NaN")},
        {"action": order(p="")},
        {"action": order(s="0.123456789")},
        {"action": order(t={"limit": {"tif": "Fok"}})},
        {"action": order(t={"stop": {}})},
        {"action": order(t={"trigger": {"isMarket": True, "triggerPx": "1", "tpsl": "x"}})},
        {"action": order(c="0x12")},
        {"action": {**ORDER, "grouping": "some"}},
        {"action": {"type": "cancel", "cancels": [{"asset": 0, "oid": 1}]}},
        {"action": {"type": "cancel"}},
        {"action": {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": 5}]}},
        {"action": {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 2.5}},
        {"action": {"type": "scheduleCancel", "time": "later"}},
        {"action": {"type": "approveAgent", "agentAddress": "0x12", "nonce": 5, "signatureChainId": "0x1"}},
        {"action": {"type": "approveAgent", "agentAddress": VAULT, "nonce": 5, "signatureChainId": None}},
        {"action": {"type": "twapOrder", "twap": 1 << 70}},
        {"action": {"type": "twapOrder", "twap": "\ud800"}},
    ],
)
def test_what_the_venue_cannot_read_is_not_an_action(change: dict[str, Any]) -> None:
    """A missing or mistyped field is told before anything is looked at."""
    with pytest.raises(NotAnAction):
        signing.recover(wire.envelope({**signed(ORDER), **change}))
