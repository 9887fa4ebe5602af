"""Answers to actions: each entry typed and given to its order; what is not as promised is not guessed at."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.execution.live.answers import (
    Answered,
    Done,
    Filled,
    Malformed,
    Refused,
    Resting,
    Unclear,
    WaitingForFill,
    WaitingForTrigger,
    decode,
)
from perp_bot.execution.live.rejections import Reason, Rejection

A, B, C = ("0x" + digit * 32 for digit in "abc")


def ok(statuses: Any, kind: str = "order") -> bytes:
    return json.dumps({"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}).encode()


def test_every_kind_of_entry_is_typed_and_goes_to_its_order() -> None:
    """In the order of the action: a bracket whose parent rests, and one that filled."""
    resting = {"resting": {"oid": 77738308, "cloid": A}}
    filled = {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 77747314}}
    assert decode(ok([resting, "waitingForFill", "waitingForFill"]), 3, (A, B, None)) == (
        Answered(A, Resting(77738308)),
        Answered(B, WaitingForFill()),
        Answered(None, WaitingForFill()),
    )
    assert decode(ok([filled, "waitingForTrigger", {"error": "Invalid TP/SL price. asset=4"}]), 3, (A, B, C)) == (
        Answered(A, Filled(77747314, Decimal("0.02"), Decimal("1891.4"))),
        Answered(B, WaitingForTrigger()),
        Answered(C, Refused(Rejection(Reason.TRIGGER_PX, "Invalid TP/SL price. asset=4"))),
    )


def test_one_error_for_a_batch_is_the_error_of_every_order() -> None:
    """Refused before any order was looked at, the venue answers with one entry."""
    refused = Refused(Rejection(Reason.ORACLE_DISTANCE, "Order price too far from oracle"))
    answers = decode(ok([{"error": "Order price too far from oracle"}]), 3, (A, B, C))
    assert answers == (Answered(A, refused), Answered(B, refused), Answered(C, refused))


def test_a_refusal_of_the_whole_action_is_a_rejection() -> None:
    """HTTP 200 all the same."""
    text = "User or API Wallet 0x0000000000000000000000000000000000000001 does not exist."
    body = json.dumps({"status": "err", "response": text}).encode()
    assert decode(body, 2, (A, B)) == Rejection(Reason.UNKNOWN_WALLET, text)


def test_cancels_and_the_rest_have_no_orders() -> None:
    """`success`, an error each, or the bare `default` of a leverage or a noop."""
    gone = {"error": "Order was never placed, already canceled, or filled. asset=4"}
    assert decode(ok(["success", gone], "cancel"), 2, ()) == (
        Answered(None, Done()),
        Answered(None, Refused(Rejection(Reason.GONE, gone["error"]))),
    )
    default = json.dumps({"status": "ok", "response": {"type": "default"}}).encode()
    assert decode(default, 1, ()) == (Answered(None, Done()),)


def test_a_twap_fails_in_a_third_place() -> None:
    """data.status.error, though the action is ok."""
    response = {"type": "twapOrder", "data": {"status": {"error": "Order must have minimum value of $100"}}}
    ((answered),) = decode(json.dumps({"status": "ok", "response": response}).encode(), 1, ())  # type: ignore[misc]
    assert answered.entry == Refused(Rejection(Reason.MINIMUM, "Order must have minimum value of $100"))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "success",
        "waitingForGodot",
        {},
        [],
        17,
        {"resting": {}},
        {"resting": {"oid": "17"}},
        {"resting": {"oid": True}},
        {"resting": {"oid": -1}},
        {"resting": None},
        {"standing": {"oid": 17}},
        {"filled": {"oid": 17}},
        {"filled": {"oid": 17, "totalSz": "0", "avgPx": "1"}},
        {"filled": {"oid": 17, "totalSz": "1", "avgPx": "NaN"}},
        {"filled": {"oid": 17, "totalSz": 1, "avgPx": 1}},
        {"filled": {"oid": 17, "totalSz": "x", "avgPx": "1"}},
        {"error": None},
        {"error": "Order has zero size.", "resting": {"oid": 17}},
        {"resting": {"oid": 17, "cloid": B}},
    ],
)
def test_an_entry_that_does_not_read_is_unclear_and_the_others_stand(entry: Any) -> None:
    """Neither accepted nor refused: its order has to be asked for. The last one names another order."""
    answers = decode(ok([entry, {"resting": {"oid": 5}}]), 2, (A, C))
    assert not isinstance(answers, Rejection)
    assert isinstance(answers[0].entry, Unclear)
    assert answers[1] == Answered(C, Resting(5))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"ok"',
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":1}}',
        b'{"status":"ok"}',
        b'{"status":"ok","response":null}',
        b'{"status":"ok","response":"done"}',
        b'{"status":"ok","response":{"type":"order"}}',
        b'{"status":"ok","response":{"type":"default"}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":null}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":1}}]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":["waitingForFill","waitingForFill","x"]}}}',
        b'{"status":"OK","response":"x"}',
        b'{"status":"err"}',
        b'{"status":"err","response":{"code":1}}',
        b'{"error":"x"}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_an_answer_that_is_not_the_venues_is_malformed(body: bytes) -> None:
    """For an action of two orders; the line stays short and without a line break."""
    with pytest.raises(Malformed) as caught:
        decode(body, 2, (A, B))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_one_error_for_several_cancels_is_malformed() -> None:
    """That of an order batch is documented, this is not: what was cancelled has to be asked for."""
    with pytest.raises(Malformed):
        decode(ok([{"error": "Order was never placed, already canceled, or filled."}], "cancel"), 2, ())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**63) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["status", "response", "type", "data", "statuses", "error", "oid", "resting", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@pytest.mark.slow
@given(json_values, st.integers(1, 3))
def test_whatever_comes_is_typed_or_malformed(value: Any, expected: int) -> None:
    """No other exception, and as many answers as entries."""
    try:
        found = decode(json.dumps(value).encode(), expected, (A, B, C)[:expected])
    except Malformed:
        return
    assert isinstance(found, Rejection) or len(found) == expected
