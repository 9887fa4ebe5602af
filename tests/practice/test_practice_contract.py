"""The practice venue's answers compared with recorded ones: keys, JSON types, number or string forms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from practice_socket import PLENTY, Socket

from perp_bot.practice.thread import PracticeServer

RECORDED = json.loads((Path(__file__).parent.parent / "recorded" / "hyperliquid_answers.json").read_text())
Ask = Callable[..., Any]
USER = "0x" + "0" * 39 + "1"
START = {"startTime": 0}

ASKED: dict[str, dict[str, Any]] = {
    "allMids": {},
    "meta": {},
    "metaAndAssetCtxs": {},
    "spotMeta": {},
    "perpDexs": {},
    "l2Book": {"coin": "BTC"},
    "candleSnapshot": {"req": {"coin": "BTC", "interval": "1h", "startTime": 0, "endTime": 1 << 42}},
    "fundingHistory": {"coin": "BTC", "startTime": 0},
    "clearinghouseState": {"user": USER},
    "spotClearinghouseState": {"user": USER},
    "openOrders": {"user": USER},
    "frontendOpenOrders": {"user": USER},
    "orderStatus": {"user": USER, "oid": 1},
    "historicalOrders": {"user": USER},
    "userFills": {"user": USER},
    "userFillsByTime": {"user": USER, **START},
    "userFunding": {"user": USER, **START},
    "userNonFundingLedgerUpdates": {"user": USER, **START},
    "userRateLimit": {"user": USER},
    "userRole": {"user": USER},
    "portfolio": {"user": USER},
    "extraAgents": {"user": USER},
    "activeAssetData": {"user": USER, "coin": "ETH"},
    "userTwapSliceFills": {"user": USER},
    "userVaultEquities": {"user": USER},
}

DEVIATIONS: dict[tuple[str, str, str], str] = {
    ("sdk", "meta", "*"): "an answer of 2023: marginTableId, marginTables and collateralToken came later",
    ("go", "meta", ".collateralToken"): "an answer of 2025-10: the key came later",
    ("go", "metaAndAssetCtxs", "[0].collateralToken"): "an answer of 2025-10: the key came later",
    ("go", "spotMeta", ".tokens[].evmContract.address"): "null here: the practice tokens have no contract",
    ("go", "spotMeta", ".tokens[].evmContract.evm_extra_wei_decimals"): "as above",
    ("go", "spotMeta", ".tokens[].deployerTradingFeeShare"): "the key is in the answers of 2026",
    ("go", "perpDexs", "*"): "the practice venue has no builder dexs: [null]",
    ("go", "allMids", "*"): "other coins are listed; every value is compared by form below",
    ("sdk", "allMids", "*"): "other coins are listed; every value is compared by form below",
    ("sdk", "clearinghouseState", "*"): "an answer of 2023 of an account with positions; the go one is empty like ours",
    ("sdk", "userRateLimit", ".nRequestsSurplus"): "the key is in the answers of 2026",
}
"""(source, request type, path) -> why ours differs. `*` takes the whole answer out of the comparison."""

DECIMAL = re.compile(r"-?\d+\.\d+|-?\d+")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
HASH = re.compile(r"0x[0-9a-fA-F]{64}")


def form(value: object) -> str:
    """Return the JSON type of a leaf, strings by what they hold."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "fraction"
    assert isinstance(value, str)
    for name, pattern in (("decimal string", DECIMAL), ("address", ADDRESS), ("hash", HASH)):
        if pattern.fullmatch(value):
            return name
    return "text"


def leaves(value: Any, path: str = "") -> dict[str, set[str]]:
    """Return the forms found at each path; list elements share a path, pairs of a fixed shape do not."""
    out: dict[str, set[str]] = {}
    if isinstance(value, Mapping):
        found = [leaves(inner, f"{path}.{key}") for key, inner in value.items()]
    elif isinstance(value, list):
        is_pair = len(value) == 2 and type(value[0]) is not type(value[1])
        mixed = is_pair or (len(value) == 2 and isinstance(value[0], dict) and set(value[0]) != set(value[1]))
        found = [leaves(inner, f"{path}[{index}]" if mixed else f"{path}[]") for index, inner in enumerate(value)]
        if not value:
            found = [{f"{path}[]": set()}]
    else:
        return {path: {form(value)}}
    for one in found:
        for inner_path, forms in one.items():
            out.setdefault(inner_path, set()).update(forms)
    return out


def is_listed(source: str, kind: str, path: str) -> bool:
    return any((source, kind, listed) in DEVIATIONS for listed in (path, "*"))


def differences(source: str, kind: str, ours: Any, theirs: Any) -> list[str]:
    """Return what ours lacks, has beyond or has in another form, deviations left out."""
    mine, recorded = leaves(ours), leaves(theirs)
    empty = {path for path, forms in mine.items() if path.endswith("[]") and not forms}
    absent_here = {path for path in recorded if any(path.startswith(one) for one in empty)}
    found = []
    for path in sorted(set(mine) | set(recorded)):
        if is_listed(source, kind, path) or path in empty or path in absent_here:
            continue
        # isDelisted and its like appear only where they apply; null stands where a value may be missing.
        if path not in recorded:
            found.append(f"{path}: not in the recorded answer")
        elif path not in mine:
            found.append(f"{path}: missing, recorded as {sorted(recorded[path])}")
        elif recorded[path] and not (mine[path] - {"null"}) <= recorded[path]:
            found.append(f"{path}: {sorted(mine[path])}, recorded as {sorted(recorded[path])}")
    return found


@pytest.mark.parametrize(
    "pair", RECORDED["info"], ids=[f"{pair['source']}-{pair['request']['type']}" for pair in RECORDED["info"]]
)
def test_an_answer_has_the_recorded_shape(shared: PracticeServer, ask: Ask, pair: dict[str, Any]) -> None:
    """Same keys, same JSON types, decimals as strings where the venue has strings; each exception is listed."""
    kind = pair["request"]["type"]
    ours = ask(shared, kind, **ASKED[kind])
    assert type(ours) is type(pair["response"])
    if (pair["source"], kind, "*") not in DEVIATIONS:
        assert differences(pair["source"], kind, ours, pair["response"]) == []


def test_the_comparison_can_fail() -> None:
    """A renamed key, a number for a string and a missing key are each found."""
    recorded = {"coin": "BTC", "time": 1, "levels": [[{"px": "1.0", "sz": "2.0", "n": 1}]]}
    assert differences("x", "l2Book", recorded, recorded) == []
    wrong = {"coin": "BTC", "time": "1", "levels": [[{"price": "1.0", "sz": 2.0, "n": 1}]]}
    assert len(differences("x", "l2Book", wrong, recorded)) == 4


def test_every_mid_is_a_decimal_string(shared: PracticeServer, ask: Ask) -> None:
    """Coins differ between venues; the form of a mid does not."""
    for pair in RECORDED["info"]:
        if pair["request"]["type"] == "allMids":
            assert {form(value) for value in pair["response"].values()} == {"decimal string"}
    assert {form(value) for value in ask(shared, "allMids").values()} == {"decimal string"}


def test_the_only_extra_key_is_the_practice_label(shared: PracticeServer, ask: Ask) -> None:
    """exchangeStatus is the venue's {specialStatuses, time} and one listed deviation."""
    assert set(ask(shared, "exchangeStatus")) == {"specialStatuses", "time", "practice"}


@pytest.mark.parametrize("channel", ["l2Book", "trades"])
def test_a_socket_frame_has_the_recorded_shape(channel: str) -> None:
    """l2Book and trades frames compare with those recorded from the live socket."""
    with PracticeServer(speed=1.0, limits=PLENTY) as venue:
        socket = Socket(venue.ws_url)
        try:
            socket.subscribe(type=channel, coin="BTC")
            frame = socket.until(channel)[-1]
        finally:
            socket.close()
    assert differences("frames", channel, frame, RECORDED["frames"][channel]) == []
    assert set(frame) == {"channel", "data"}


def test_every_recorded_request_type_is_compared() -> None:
    """No recorded answer is left out by accident."""
    assert {pair["request"]["type"] for pair in RECORDED["info"]} == set(ASKED)
    assert all(reason for reason in DEVIATIONS.values())
