"""A recorded live session runs again, event by event, and gives the same journal byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_rig import BTC_LONG, ETH_SHORT, LiveRig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]


def test_a_live_round_trip_is_replayed(tmp_path: Path) -> None:
    """Its answers, reports and reads are part of the recording; no key and no venue is needed."""
    with LiveRig(tmp_path, start=ETH_SHORT) as rig:
        rig.start()
        rig.step("15m")
        rig.step("1m", 2)
        rig.step("15m")
        rig.until("the exit", lambda: rig.state().positions == ())
        assert rig.stop() == 0
        (trade,) = rig.books()["trades"]
        again = rig.perpbot("replay", "last")
    assert again.returncode == 0, again.stdout + again.stderr
    assert trade[1] == "ETH"


def test_a_session_that_began_with_a_position_is_replayed(tmp_path: Path) -> None:
    """The account as it was found is stored in one transaction, and is what a second start begins with."""
    held = ({"coin": "ETH", "size": "0.3", "entry_px": 3300},)
    with LiveRig(tmp_path, start=BTC_LONG, positions=held) as rig:
        rig.start()
        rig.until("it is covered", lambda: [p.coverage for p in rig.state().positions] == [1.0])
        rig.kill()
        rig.start()
        assert [(p.symbol, p.strategy, p.coverage) for p in rig.state().positions] == [("ETH", "outside", 1.0)]
        assert rig.rows("SELECT count(*) FROM fills WHERE cloid = 'venue:found:ETH'") == [(1,)]
        rig.step("1m", 2)
        assert rig.stop() == 0
        again = rig.perpbot("replay", "last")
    assert again.returncode == 0, again.stdout + again.stderr
