"""Fills of one order at one moment as one row."""

from __future__ import annotations

from typing import Any

from perp_bot.practice.server.fills import by_order_and_time


def row(tid: int, px: str, sz: str, **changes: Any) -> dict[str, Any]:
    return {
        "coin": "BTC",
        "oid": 1,
        "time": 100,
        "side": "B",
        "px": px,
        "sz": sz,
        "fee": "0.1",
        "closedPnl": "0.0",
        "startPosition": f"{tid}.0",
        "tid": tid,
        **changes,
    }


def test_fills_of_one_order_at_one_time_are_one() -> None:
    """Sizes and fees add up, the price is the average by size, the rest is the first fill's."""
    rows = [row(1, "100.0", "1.0"), row(2, "103.0", "2.0"), row(3, "90.0", "1.0", oid=2), row(4, "91.0", "1.0", oid=2)]
    merged = by_order_and_time(rows)
    assert [(one["px"], one["sz"], one["fee"], one["tid"], one["startPosition"]) for one in merged] == [
        ("102.0", "3.0", "0.2", 1, "1.0"),
        ("90.5", "2.0", "0.2", 3, "3.0"),
    ]


def test_newest_first_the_first_fill_is_the_last_row() -> None:
    """userFills lists the newest first; the position before the trade is the earliest fill's."""
    merged = by_order_and_time([row(2, "103.0", "2.0"), row(1, "100.0", "1.0")], newest_first=True)
    assert [(one["px"], one["tid"], one["startPosition"]) for one in merged] == [("102.0", 1, "1.0")]


def test_other_times_sides_and_coins_stay_apart() -> None:
    """Only neighbours that agree in all of them are joined."""
    rows = [row(1, "1.0", "1.0"), row(2, "1.0", "1.0", time=101), row(3, "1.0", "1.0", time=101, coin="ETH")]
    assert by_order_and_time(rows) == rows


def test_an_uneven_average_has_ten_decimals() -> None:
    """As the venue's aggregated prices have."""
    merged = by_order_and_time([row(1, "7.6889", "3.07"), row(2, "7.7119", "0.01")])
    assert merged[0]["px"] == "7.6889746753"
