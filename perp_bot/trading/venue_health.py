"""Whether what the venue sends can be decided on: one sentence why entries must stop, or None."""

from __future__ import annotations

from collections.abc import Mapping

from perp_bot.data.market import FeedHealth

CONNECTING_S = 2.0  # after a start the stream may still be on its way up
STREAM_STALE_S = 30.0
MARK_STALE_S = 15.0  # contexts come about once a second; a coin that has none for so long cannot be watched
SKEW_MS = 2_000.0  # of wall time


def venue_trouble(
    health: FeedHealth, mark_ages_s: Mapping[str, float | None], *, up_s: float, speed: float | None
) -> str | None:
    """Return why entries must stop, the worst first.

    Args:
        health: how the market side does.
        mark_ages_s: by listed coin, wall seconds since its newest mark; None = none has come.
        up_s: wall seconds since the loop began.
        speed: venue seconds per wall second; None = stepped, where silence between steps is normal.
    """
    if not health.connected:
        if up_s < CONNECTING_S:
            return None
        return f"the market stream is away: {health.last_stream_problem or 'not connected'}"
    return _silence(health, mark_ages_s, up_s, speed) or _reads(health) or _skew(health, speed)


def _silence(
    health: FeedHealth, mark_ages_s: Mapping[str, float | None], up_s: float, speed: float | None
) -> str | None:
    if speed is None:
        return None
    age_s = health.last_message_age_s
    if age_s is not None and age_s > STREAM_STALE_S:
        return f"the market stream is silent: last message {age_s:.0f} s ago, limit {STREAM_STALE_S:.0f} s"
    if health.silent:
        return _silent_channels(health)
    for symbol, mark_age_s in mark_ages_s.items():
        if mark_age_s is not None and mark_age_s > MARK_STALE_S:
            return f"the mark of {symbol} is {mark_age_s:.0f} s old, limit {MARK_STALE_S:.0f} s"
        if mark_age_s is None and up_s > MARK_STALE_S:
            return f"no mark of {symbol} has come in {up_s:.0f} s"
    return None


def _silent_channels(health: FeedHealth) -> str:
    more = len(health.silent) - 1
    return health.silent[0].text + (f" ({more} more silent)" if more else "")


def _reads(health: FeedHealth) -> str | None:
    if health.rest_ok:
        return None
    return f"the venue's REST reads fail: {health.last_rest_error}"


def _skew(health: FeedHealth, speed: float | None) -> str | None:
    skew_ms = health.clock_skew_ms
    limit_ms = SKEW_MS * max(1.0, speed or 1.0)
    if skew_ms is None or abs(skew_ms) <= limit_ms:
        return None
    off = f"{skew_ms / 1000:+.1f} s from where it should be, limit {limit_ms / 1000:g} s"
    return f"clock skew: the venue's time is {off}"
