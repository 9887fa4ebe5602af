"""Circuit breakers of live trading: what pauses entries for a while on its own, and what latches the kill switch.

One frozen value with pure transitions, stored after every change, so that a breaker that is open stays open over a
restart. Times by the venue's clock. A breaker forbids entries only: protection and exits go on.

| breaker | opens when |
|---|---|
| latency | the median of the last answers of the venue to our orders is too slow |
| order failures | so many entries in a row failed: refused, not sent, or without an answer |
| stale stream | the market stream was away or silent; it stays open for the pause after that has ended |
| error rate | too large a share of the last actions had no answer, or was not sent |

Two more latch the kill: equity that has collapsed against the day's start, and an account that keeps differing from the
books.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import iso

PAUSE_MS = 5 * 60_000
_STALE_STEP_MS = 5_000  # how often the end of a pause moves while its cause lasts: each time is a row on disk
SLOW_MS = 3_000.0  # median of the last `LATENCIES` answers
LATENCIES = 5
FAILURES = 3  # entries in a row
ACTIONS = 20  # that the error rate is measured on
ERROR_RATE = 0.5
COLLAPSE = 0.5  # of the day's first equity
DIFFERENCES = 5  # reads of the account in a row, a minute apart

LATENCY, ORDER_FAILURES, STALE_STREAM, ERRORS = "latency", "order_failures", "stale_stream", "error_rate"


@dataclass(frozen=True, slots=True)
class Breakers:
    """Which breakers are open, and what they measure."""

    open_until_ms: Mapping[str, int] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    latencies_ms: tuple[float, ...] = ()  # newest last
    failures: int = 0  # entries in a row
    outcomes: tuple[bool, ...] = ()  # of the last actions, newest last; True: the venue answered
    differences: int = 0

    # ------------------------------------------------------------ transitions

    def on_action(self, answered: bool, took_ms: float, now_ms: int) -> Breakers:
        """Take the outcome of one action: whether the venue answered, and after how long."""
        state = replace(self, outcomes=(*self.outcomes, answered)[-ACTIONS:])
        errors = state.outcomes.count(False)
        if len(state.outcomes) == ACTIONS and errors > ERROR_RATE * ACTIONS:
            state = state._opened(ERRORS, f"{errors} of the last {ACTIONS} actions had no answer", now_ms)
            state = replace(state, outcomes=())
        if not answered:
            return state
        state = replace(state, latencies_ms=(*state.latencies_ms, took_ms)[-LATENCIES:])
        middle = median(state.latencies_ms)
        if len(state.latencies_ms) == LATENCIES and middle > SLOW_MS:
            text = f"the venue answers orders after {middle:,.0f} ms (median of {LATENCIES}, limit {SLOW_MS:,.0f})"
            state = replace(state._opened(LATENCY, text, now_ms), latencies_ms=())
        return state

    def on_entry(self, failed: bool, now_ms: int) -> Breakers:
        """Take the fate of an entry order: failed, or taken by the venue."""
        failures = self.failures + 1 if failed else 0
        state = replace(self, failures=failures)
        if failures < FAILURES:
            return state
        return replace(state._opened(ORDER_FAILURES, f"{failures} entries in a row failed", now_ms), failures=0)

    def on_stale(self, why: str, now_ms: int) -> Breakers:
        """The market stream is away or silent: entries pause until it has been there again for the whole pause."""
        if now_ms + PAUSE_MS - self.open_until_ms.get(STALE_STREAM, 0) < _STALE_STEP_MS:
            return self
        return self._opened(STALE_STREAM, why, now_ms)

    def on_account(self, differs: bool) -> Breakers:
        """Take one read of the account, a minute after the last: whether it differs from the books."""
        return replace(self, differences=self.differences + 1 if differs else 0)

    def released(self, now_ms: int) -> tuple[Breakers, tuple[str, ...]]:
        """Return the state without the breakers whose pause is over, and their names."""
        over = tuple(sorted(name for name, until_ms in self.open_until_ms.items() if now_ms >= until_ms))
        if not over:
            return self, ()
        kept = {name: until_ms for name, until_ms in self.open_until_ms.items() if name not in over}
        return replace(self, open_until_ms=kept, why={name: self.why[name] for name in kept}), over

    # ------------------------------------------------------------ reading

    def trouble(self) -> str | None:
        """Return why entries pause, each breaker with its end; None when all are closed."""
        parts = [f"{self.why[name]}, until {iso(until_ms)}" for name, until_ms in sorted(self.open_until_ms.items())]
        return "; ".join(parts) if parts else None

    def kills(self, equity_usd: float | None, day_start_equity_usd: float | None) -> str | None:
        """Return why the kill switch must be latched; None when nothing demands it.

        The books know fills, fees and funding alone, so that a withdrawal is no collapse.
        """
        if self.differences >= DIFFERENCES:
            return f"the account has differed from the books for {self.differences} reads in a row"
        if equity_usd is None or day_start_equity_usd is None or not day_start_equity_usd > 0:
            return None
        if math.isfinite(equity_usd) and equity_usd < COLLAPSE * day_start_equity_usd:
            fall = 1 - equity_usd / day_start_equity_usd
            return f"equity {equity_usd:,.2f} USD is {fall:.0%} below the day's start of {day_start_equity_usd:,.2f}"
        return None

    def _opened(self, name: str, why: str, now_ms: int) -> Breakers:
        until_ms = now_ms + PAUSE_MS
        return replace(
            self, open_until_ms={**self.open_until_ms, name: until_ms}, why={**self.why, name: f"{name}: {why}"}
        )

    # ------------------------------------------------------------ storing

    def to_json(self) -> dict[str, Any]:
        """Return plain values: all that must outlive a restart."""
        return {
            "open_until_ms": dict(self.open_until_ms),
            "why": dict(self.why),
            "failures": self.failures,
            "differences": self.differences,
        }

    @classmethod
    def from_json(cls, stored: Any) -> Breakers:
        """Return the stored state; StoreError when it is damaged."""
        if stored is None:
            return cls()
        try:
            return cls(
                open_until_ms={str(name): int(until_ms) for name, until_ms in stored["open_until_ms"].items()},
                why={str(name): str(why) for name, why in stored["why"].items()},
                failures=int(stored["failures"]),
                differences=int(stored["differences"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise StoreError("the stored circuit breakers are damaged; restore a backup of the database") from None
