"""Every refusal of the venue has its reason and its rule; what is not known is never sent again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.execution.live.rejections import (
    RULES,
    STATUSES,
    Reason,
    Retry,
    rejection_of,
    rejection_of_status,
)

BUDGET = (
    "Too many cumulative requests sent (97460 > 97456) for cumulative volume traded $87457.46. Place taker orders to "
    "free up 1 request per USDC traded."
)
NO_MARGIN = "{} position does not have sufficient margin available to decrease leverage. To decrease leverage, "

# The texts as venue_protocols section 3 has them, with numbers of captures.
KNOWN = [
    ("Price must be divisible by tick size.", Reason.TICK),
    ("Order must have minimum value of $10.", Reason.MINIMUM),
    ("Insufficient margin to place order.", Reason.MARGIN),
    ("Reduce only order would increase position.", Reason.REDUCE_ONLY),
    ("Post only order would have immediately matched, bbo was 1891.4@1891.5.", Reason.POST_ONLY),
    ("Order could not immediately match against any resting orders.", Reason.NO_MATCH),
    ("Invalid TP/SL price.", Reason.TRIGGER_PX),
    ("No liquidity available for market order.", Reason.NO_LIQUIDITY),
    ("Order would increase open interest while open interest is capped", Reason.OPEN_INTEREST_CAP),
    (
        "Order rejected due to price more aggressive than oracle while at open interest cap",
        Reason.OPEN_INTEREST_CAP,
    ),
    ("Order would increase open interest too quickly", Reason.OPEN_INTEREST_SPEED),
    ("Order price too far from oracle", Reason.ORACLE_DISTANCE),
    ("Order price cannot be more than 80% away from the reference price", Reason.ORACLE_DISTANCE),
    ("Order would cause position to exceed margin tier limit at current leverage", Reason.MARGIN_TIER),
    ("Order has invalid price.", Reason.TICK),
    ("Order has invalid size.", Reason.LOT),
    ("Order has zero size.", Reason.ZERO_SIZE),
    ("Order was never placed, already canceled, or filled.", Reason.GONE),
    ("User or API Wallet 0x0000000000000000000000000000000000000123 does not exist.", Reason.UNKNOWN_WALLET),
    ("Must deposit before performing actions. User: 0x0000000000000000000000000000000000000123", Reason.NO_DEPOSIT),
    (BUDGET, Reason.ACTION_BUDGET),
    ("Signed action over weight limit of 200.", Reason.TOO_MANY_CANCELS),
    (
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $373.47.",
        Reason.SCHEDULE_VOLUME,
    ),
    ("Invalid leverage value", Reason.LEVERAGE_VALUE),
    ("Cannot switch leverage type with open position.", Reason.LEVERAGE_MODE),
    ("Cross margin is not allowed for this asset.", Reason.CROSS_FORBIDDEN),
    (NO_MARGIN.format("Isolated") + "add margin to the position.", Reason.LEVERAGE_MARGIN),
    (NO_MARGIN.format("Cross") + "deposit more collateral.", Reason.LEVERAGE_MARGIN),
    ("Only post-only orders allowed immediately after a network upgrade", Reason.POST_ONLY_PERIOD),
    ("Invalid nonce: duplicate nonce 1741107452532", Reason.NONCE_SPENT),
    ("Invalid nonce: duplicate or too low nonce 1741107452532", Reason.NONCE_SPENT),
    ("Nonce error: nonce value is lower than the next valid nonce", Reason.NONCE_SPENT),
    ("Invalid nonce: 17 is too far from the current time 1741107452532", Reason.NONCE_OUT_OF_RANGE),
    ("Invalid nonce: in words that nobody has seen", Reason.NONCE_SPENT),
    ("Failed to deserialize the JSON body into the target type", Reason.BAD_REQUEST),
    ("Failed to parse the request body as JSON", Reason.BAD_REQUEST),
    ("Expected request with `Content-Type: application/json`", Reason.BAD_REQUEST),
    ("Action expired: expiresAfter 1741107452532 has passed", Reason.EXPIRED),
]


@pytest.mark.parametrize(("text", "reason"), KNOWN, ids=[text[:40] for text, _ in KNOWN])
@pytest.mark.parametrize("form", ["{}", "{} asset=4", "{} asset=110003", " {} ", "{}."])
def test_every_text_has_its_reason(text: str, reason: Reason, form: str) -> None:
    """With the suffix that the venue appends to most, with and without the full stop."""
    found = rejection_of(form.format(text))
    assert found.reason is reason
    assert found.text == form.format(text).strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "asset=4",
        "Order must have minimum",
        "Not an error: Order has zero size. Or is it",
        "Insufficient margin to place order. Unless the moon is full",
        "Internal error",
        "null",
        "<html>502 Bad Gateway</html>",
    ],
)
def test_a_text_that_is_not_known_is_never_sent_again(text: str) -> None:
    """No guess by a part of it; a person is told, with the text."""
    found = rejection_of(text)
    assert (found.reason, found.rule.retry, found.rule.alerts) == (Reason.UNKNOWN, Retry.NEVER, True)
    assert found.text == text


@given(st.text(max_size=400))
def test_any_text_has_one_line_and_a_rule(text: str) -> None:
    """Nothing raises, nothing spans lines, nothing is endless."""
    found = rejection_of(text)
    assert found.rule is RULES[found.reason]
    assert len(found.text) <= 300
    assert len(found.text.splitlines()) <= 1


def test_every_reason_has_a_rule_with_its_words() -> None:
    """What may be sent again says what must change or pass first."""
    assert set(RULES) == set(Reason)
    assert all(rule.then for rule in RULES.values())


def test_who_may_be_sent_again_is_written_down() -> None:
    """The whole table, so that a change of a rule is a change of this test."""
    by_retry = {retry: {reason.value for reason, rule in RULES.items() if rule.retry is retry} for retry in Retry}
    assert by_retry[Retry.NEVER] == {
        "zero_size", "margin", "reduce_only", "gone", "unknown_wallet", "no_deposit", "schedule_volume",
        "nonce_out_of_range", "bad_request", "unknown",
    }  # fmt: skip
    assert by_retry[Retry.CHANGED] == {
        "tick", "lot", "minimum", "margin_tier", "post_only", "no_match", "trigger_px", "oracle_distance",
        "open_orders", "too_many_cancels", "leverage_value", "cross_forbidden", "expired",
    }  # fmt: skip
    assert by_retry[Retry.LATER] == {
        "no_liquidity", "open_interest_cap", "open_interest_speed", "action_budget", "leverage_mode",
        "leverage_margin", "post_only_period",
    }  # fmt: skip
    assert by_retry[Retry.SETTLE] == {"nonce_spent"}


@pytest.mark.parametrize(("status", "reason"), STATUSES.items())
def test_a_rejected_status_has_the_reason_of_its_text(status: str, reason: Reason) -> None:
    """What an order's history says is the same as what the answer said."""
    found = rejection_of_status(status)
    assert found is not None
    assert (found.reason, found.text) == (reason, status)


def test_statuses_that_are_not_known_go_by_their_ending() -> None:
    """A new kind of rejection is one all the same; a cancel or a fill is none."""
    found = rejection_of_status("newKindRejected")
    assert found is not None
    assert found.reason is Reason.UNKNOWN
    rejected = rejection_of_status("rejected")
    assert rejected is not None
    assert rejected.reason is Reason.UNKNOWN
    for status in ("open", "filled", "canceled", "marginCanceled", "scheduledCancel", "triggered", ""):
        assert rejection_of_status(status) is None
