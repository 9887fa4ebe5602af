"""Shares in the sentences of the risk rules."""

from __future__ import annotations

from perp_bot.core.money import pct


def share(fraction: float) -> str:
    """Return a fraction as percent without trailing zeros: 0.08 -> `8 %`, 0.021 -> `2.1 %`."""
    return pct(fraction).removesuffix(" %").rstrip("0").rstrip(".") + " %"
