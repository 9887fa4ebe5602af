"""Request weights per IP over a rolling minute of the venue's clock, and counts per wall minute for sockets."""

from __future__ import annotations

from collections import defaultdict, deque

MINUTE_MS = 60_000

LIGHT = frozenset(
    {"l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus"}
)
PER_20_ROWS = frozenset(
    {
        "recentTrades",
        "historicalOrders",
        "userFills",
        "userFillsByTime",
        "fundingHistory",
        "userFunding",
        "userNonFundingLedgerUpdates",
        "userTwapSliceFills",
    }
)


def base_weight(request_type: str) -> int:
    """Return what a request costs before its answer is known."""
    if request_type in LIGHT:
        return 2
    return 60 if request_type == "userRole" else 20


def row_weight(request_type: str, rows: int) -> int:
    """Return what the rows of an answer cost: 1 per 20, or 1 per 60 candles (5000 candles: 84)."""
    if request_type == "candleSnapshot":
        return -(-rows // 60)
    return -(-rows // 20) if request_type in PER_20_ROWS else 0


class RollingBudget:
    """What each key spent in the last minute, by whatever clock the caller reads."""

    def __init__(self) -> None:
        self._spent: dict[str, deque[tuple[int, int]]] = defaultdict(deque)
        self._total: dict[str, int] = defaultdict(int)

    def used(self, key: str, now_ms: int) -> int:
        """Return what `key` spent in the minute before `now_ms`."""
        spent = self._spent[key]
        while spent and spent[0][0] <= now_ms - MINUTE_MS:
            self._total[key] -= spent.popleft()[1]
        return self._total[key]

    def spend(self, key: str, now_ms: int, amount: int) -> None:
        """Count an amount, allowed or not by the limit."""
        self._spent[key].append((now_ms, amount))
        self._total[key] += amount

    def try_spend(self, key: str, now_ms: int, amount: int, limit: int) -> bool:
        """Count an amount and return True, or return False when it would pass the limit."""
        if self.used(key, now_ms) + amount > limit:
            return False
        self.spend(key, now_ms, amount)
        return True
