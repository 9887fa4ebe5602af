"""How late the loop is: from the first put of a batch to its handling, over the newest passes."""

from __future__ import annotations

from collections import deque

_WINDOW = 4096


class LagMeter:
    """Keeps the newest lags; percentiles are computed when asked, at 1 Hz."""

    def __init__(self) -> None:
        self._lags_ms: deque[float] = deque(maxlen=_WINDOW)

    def __len__(self) -> int:
        return len(self._lags_ms)

    def add(self, lag_ms: float) -> None:
        """Note one pass."""
        self._lags_ms.append(lag_ms)

    def percentile(self, share: float) -> float | None:
        """Return the lag (ms) that `share` of the newest passes did not exceed; None before the first."""
        if not self._lags_ms:
            return None
        ordered = sorted(self._lags_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
