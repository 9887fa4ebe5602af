"""Tokens between prepare and commit: single use, 10 s, one boot."""

from __future__ import annotations

import pytest

from perp_bot.core.errors import IpcError
from perp_bot.ipc.tokens import Prepared, TokenStore


def _code(store: TokenStore, token: str, now_s: float) -> str:
    with pytest.raises(IpcError) as caught:
        store.spend(token, now_s)
    return caught.value.code


def test_a_token_gives_back_what_was_prepared() -> None:
    """Action, scope and fingerprint come back as they were."""
    store = TokenStore("boot-1")
    token = store.issue("close", "symbol:BTC", "long:0.015", now_s=100.0)
    assert store.spend(token, 110.0) == Prepared("close", "symbol:BTC", "long:0.015")


def test_a_token_is_worth_something_once() -> None:
    """A second commit of the same preview is refused."""
    store = TokenStore("boot-1")
    token = store.issue("flatten", "all", "", now_s=100.0)
    store.spend(token, 101.0)
    assert _code(store, token, 102.0) == "token_spent"


def test_a_token_expires_after_ten_seconds() -> None:
    """An old preview is not acted on, and stays worthless."""
    store = TokenStore("boot-1")
    token = store.issue("flatten", "all", "", now_s=100.0)
    assert _code(store, token, 110.001) == "token_expired"
    assert _code(store, token, 101.0) == "token_spent"


def test_a_token_of_another_boot_is_told_apart() -> None:
    """After a restart the preview shows another daemon's world."""
    old = TokenStore("boot-1").issue("close", "symbol:BTC", "", now_s=100.0)
    assert _code(TokenStore("boot-2"), old, 101.0) == "changed"


def test_a_made_up_token_is_refused() -> None:
    """Guessing gives nothing."""
    store = TokenStore("boot-1")
    assert _code(store, "boot-1.00", 1.0) == "refused"


def test_the_store_does_not_grow_without_bound() -> None:
    """A client that only prepares cannot fill the memory."""
    store = TokenStore("boot-1")
    tokens = [store.issue("close", "symbol:BTC", "", now_s=1.0) for _ in range(5000)]
    assert len(set(tokens)) == 5000
    assert len(store._entries) <= 1024
    assert store.spend(tokens[-1], 2.0).action == "close"
