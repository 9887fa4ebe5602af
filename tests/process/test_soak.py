"""Thirty venue-days in one daemon: memory stays, books agree, every close is decided. `make soak` only."""

from __future__ import annotations

from pathlib import Path

import pytest

from perp_bot.bench.daemon_rig import DaemonRig, practice_venue
from perp_bot.bench.measure import user_environment
from perp_bot.bench.soak import CLOSES_A_DAY, DAYS, live_through

COINS = 2
MEGABYTE = 1_000_000

pytestmark = [pytest.mark.soak, pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_thirty_days_cost_less_than_a_megabyte_of_memory_each(tmp_path: Path) -> None:
    """Growth is counted after the first day, over all the others: one step of the allocator is no leak.

    The books agree to the cent on every day, no close was left out, and the daemon ends as asked.
    """
    with practice_venue(None) as venue, DaemonRig(tmp_path / "daemon", venue, user_environment(tmp_path)) as rig:
        rig.start()
        before = rig.await_state(lambda state: state.counters.decisions >= COINS).counters.decisions
        days = list(live_through(rig, DAYS))
        rig.stop()

    growth_bytes = (days[-1].rss_bytes - days[0].rss_bytes) / (DAYS - 1)
    assert growth_bytes < MEGABYTE, [round(day.rss_bytes / MEGABYTE, 1) for day in days]
    assert [day.decisions for day in days] == [before + COINS * CLOSES_A_DAY * number for number in range(1, DAYS + 1)]
    assert days[-1].entries > 0
    assert max(day.accounting_error_usd for day in days) < 0.01
