"""No form of a secret passes (I9)."""

from __future__ import annotations

import base64
import json
import math
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.ops.redaction import REDACTED, Redactor

KEY = "0x" + "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_"
WEBHOOK = "https://discord.com/api/webhooks/1234567890123456789/aB-cD_eFgHiJkLmNoPqRsTuVwXyZ0123456789"
CHAT = "-1001234567890"
ODD = 'p&ss/w"rd +ü%20'
SECRETS = (KEY, TOKEN, WEBHOOK, CHAT, ODD)
RAW = bytes.fromhex(KEY[2:])

LEAKS = {
    "key": KEY,
    "key upper": KEY.upper(),
    "key without 0x": KEY[2:],
    "key without 0x, mixed case": KEY[2:].title(),
    "key as a number": str(int(KEY, 16)),
    "key in base64": base64.b64encode(RAW).decode(),
    "key as bytes": repr(RAW),
    "token": TOKEN,
    "token in an address": f"https://api.telegram.org/bot{TOKEN}/sendMessage",
    "token encoded": quote(TOKEN, safe=""),
    "token encoded, lower case": quote(TOKEN, safe="").lower(),
    "token encoded twice": quote(quote(TOKEN, safe=""), safe=""),
    "second half of the token": TOKEN.split(":")[1],
    "webhook": WEBHOOK,
    "webhook's token": WEBHOOK.rsplit("/", 1)[1],
    "webhook of another host": WEBHOOK.replace("discord.com", "discordapp.com"),
    "webhook encoded": quote(WEBHOOK, safe=""),
    "webhook with escaped slashes": WEBHOOK.replace("/", r"\/"),
    "chat id": f"chat_id={CHAT}&x",
    "odd": ODD,
    "odd as JSON": json.dumps(ODD),
    "odd as Python": repr(ODD),
    "odd encoded": quote(ODD),
    "odd in a query": quote_plus(ODD),
}
CANARIES = (
    KEY[2:], str(int(KEY, 16)), base64.b64encode(RAW).decode(), repr(RAW)[2:-1], TOKEN.split(":")[1],
    WEBHOOK.rsplit("/", 1)[1], CHAT, ODD, quote(ODD), quote_plus(ODD), json.dumps(ODD)[1:-1],
)  # fmt: skip


def assert_clean(text: str) -> None:
    for canary in CANARIES:
        assert canary.lower() not in text.lower()


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_no_form_of_a_secret_passes(text: str) -> None:
    """Alone, within a sentence, and next to other letters."""
    redactor = Redactor(SECRETS)
    for sentence in (text, f"failed: {text} (retrying)", f"x={text}"):
        clean = redactor.text(sentence)
        assert REDACTED in clean
        assert_clean(clean)


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_no_secret_passes_inside_values(leak: str) -> None:
    """In keys, lists, nested dictionaries, bytes, numbers, exceptions and foreign objects."""

    class Foreign:
        def __str__(self) -> str:
            return leak

    value: dict[str, Any] = {
        leak: [leak, (leak, {leak}), {"deep": {"deeper": {"a": {"b": {"c": {"d": {"e": leak}}}}}}}]
    }
    value |= {"bytes": leak.encode(), "error": ValueError(leak), "foreign": Foreign(), "number": int(CHAT)}
    clean = json.dumps(Redactor(SECRETS).value(value))
    assert_clean(clean)
    assert_clean(json.loads(json.dumps(clean)))


def test_addresses_of_a_known_shape_go_even_when_the_secret_is_not_known() -> None:
    """A token typed into the wrong setting is not logged either."""
    redactor = Redactor(())
    assert redactor.text(f"POST https://api.telegram.org/bot{TOKEN}/sendMessage") == (
        f"POST https://api.telegram.org/bot{REDACTED}/sendMessage"
    )
    assert redactor.text(f"POST {WEBHOOK}") == f"POST https://discord.com/api/webhooks/{REDACTED}"


def test_what_is_no_secret_stays() -> None:
    """Order ids, transaction hashes, prices and times pass unchanged, as does a digit run that holds a chat id."""
    text = (
        "cloid 0x" + "ab" * 16 + " hash 0x" + "cd" * 32 + " at 1710012345678901 robot1234 perp_bot/api.py BTC 100123.5"
    )
    assert Redactor((*SECRETS, "1001234567")).text(text) == text
    values: dict[str, Any] = {"a": 1, "b": 2.5, "c": None, "d": True, "e": ["x", 1710012345678], "f": -7}
    assert Redactor(SECRETS).value(values) == values


def test_numbers_json_does_not_have_become_text() -> None:
    """A line with NaN in it stays valid JSON."""
    clean = Redactor(()).value({"a": math.nan, "b": [math.inf], "c": 10**400})
    assert json.loads(json.dumps(clean, allow_nan=False)) == {"a": "nan", "b": ["inf"], "c": 10**400}


def test_a_short_secret_goes_only_where_it_stands_alone() -> None:
    """A two-letter secret must not make the log unreadable."""
    assert Redactor(("ab",)).text("ab about ab, grab") == f"{REDACTED} about {REDACTED}, grab"


@pytest.mark.parametrize("secrets", [(), ("",), ("  ",)])
def test_nothing_known_means_nothing_changed(secrets: tuple[str, ...]) -> None:
    """An empty secret is not replaced between all letters."""
    assert Redactor(secrets).text("hello") == "hello"


def test_a_redactor_does_not_show_what_it_knows() -> None:
    """Not in its repr, which a traceback might print."""
    assert_clean(repr(Redactor(SECRETS)))


@settings(max_examples=100, deadline=None)
@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=60),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_any_secret_goes_from_any_text(secret: str, before: str, after: str) -> None:
    """Plain, percent-encoded and JSON-escaped."""
    redactor = Redactor([secret])
    for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
        joined = f"{before} {form} {after}"
        clean = redactor.text(joined)
        assert clean.count(form) < joined.count(form) or form in REDACTED
