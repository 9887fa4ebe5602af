"""Nonces: what may still be used, by signer and by the wall clock."""

from __future__ import annotations

import random

import pytest

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.nonces import KEPT, BadNonce, Nonces

NOW = 1_790_000_000_000
A, B = "0x" + "a" * 40, "0x" + "b" * 40


def refusal(nonces: Nonces, nonce: int, signer: str = A, now: int = NOW) -> str | None:
    """Use a nonce; return why it is refused, None when it is not."""
    try:
        nonces.take(signer, nonce, now)
    except BadNonce as refused:
        return str(refused)
    return None


def test_a_nonce_works_once() -> None:
    """The same number again is a duplicate, of another signer it is not."""
    nonces = Nonces()
    assert refusal(nonces, NOW) is None
    assert refusal(nonces, NOW) == f"Invalid nonce: duplicate nonce {NOW}"
    assert refusal(nonces, NOW, B) is None


def test_nonces_may_come_in_any_order() -> None:
    """Below the highest is fine as long as fewer than a hundred are higher."""
    nonces = Nonces()
    taken = list(range(NOW, NOW + KEPT))
    random.Random(1).shuffle(taken)
    assert [refusal(nonces, one) for one in taken] == [None] * KEPT


def test_a_nonce_below_the_hundred_highest_is_too_low() -> None:
    """With a hundred kept, a new one has to exceed the smallest of them; a used one below is still a duplicate."""
    nonces = Nonces()
    for one in range(NOW, NOW + 2 * KEPT, 2):
        nonces.take(A, one, NOW)
    assert refusal(nonces, NOW - 1) == f"Invalid nonce: nonce too low {NOW - 1} < {NOW}"
    assert refusal(nonces, NOW + 1) is None  # now the smallest is NOW + 1
    assert refusal(nonces, NOW) == f"Invalid nonce: duplicate nonce {NOW}"
    assert refusal(nonces, NOW + 3) is None


@pytest.mark.parametrize(
    ("nonce", "told"),
    [
        (NOW - 2 * DAY_MS, f"Invalid nonce: nonce too low {NOW - 2 * DAY_MS} < {NOW - 2 * DAY_MS}"),
        (NOW - 2 * DAY_MS + 1, None),
        (NOW + DAY_MS - 1, None),
        (NOW + DAY_MS, f"Invalid nonce: nonce too high {NOW + DAY_MS} > {NOW + DAY_MS}"),
        (5, f"Invalid nonce: nonce too low 5 < {NOW - 2 * DAY_MS}"),
    ],
)
def test_a_nonce_lies_near_the_present(nonce: int, told: str | None) -> None:
    """Two days back and one ahead, both ends excluded."""
    assert refusal(Nonces(), nonce) == told


def test_a_refused_nonce_is_not_used_up() -> None:
    """What was too far ahead works once its time has come."""
    nonces = Nonces()
    assert refusal(nonces, NOW + DAY_MS) is not None
    assert refusal(nonces, NOW + DAY_MS, now=NOW + 1) is None


def test_a_long_history_does_not_grow_for_ever() -> None:
    """What has left the window is forgotten and is too low anyway."""
    nonces = Nonces()
    for one in range(5 * KEPT):
        nonces.take(A, NOW + one * DAY_MS // 50, NOW + one * DAY_MS // 50)
    assert len(nonces._used[A].seen) <= 3 * KEPT
    assert "too low" in str(refusal(nonces, NOW, now=NOW + 10 * DAY_MS))
