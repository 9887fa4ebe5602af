"""What the watchdog does for the account, by the venue's own books: protects, cancels entries, never cancels a stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from live_venue import (
    USER,
    WATCHDOG_KEY,
    by_hand,
    config_of,
    held,
    limit,
    position,
    resting,
    sent,
    stop,
    store,
    venue_with,
)
from signed_rig import act

from perp_bot.config.paths import RuntimePaths
from perp_bot.execution.live.access import acting, reading
from perp_bot.execution.live.signer import Signer
from perp_bot.practice.thread import PracticeServer
from perp_bot.risk import kill_switch
from perp_bot.watchdog.rescue import Rescuer

pytestmark = pytest.mark.slow

BTC = {"coin": "BTC", "size": "0.01", "entry_px": 95_000, "leverage": 3}
ETH = {"coin": "ETH", "size": "-0.5", "entry_px": 3_300, "leverage": 3}


@contextmanager
def rescuer(venue: PracticeServer, folder: Path, *, flatten: bool = False, within_s: float = 4.0) -> Iterator[Rescuer]:
    config = config_of(venue, folder)
    paths = RuntimePaths(config.data.db_path)
    with ExitStack() as stack:
        access = stack.enter_context(reading(config))
        signer = Signer(WATCHDOG_KEY, is_mainnet=False)
        direct = stack.enter_context(acting(access, signer, paths.kill_latch, within_s=within_s))
        yield Rescuer(direct, config, paths, access.refreshed_instruments, flatten=flatten)


def stops(venue: PracticeServer) -> dict[str, tuple[Decimal, Decimal]]:
    """Return size and trigger of the one resting stop of each coin."""
    rows = [row for row in resting(venue) if row["orderType"] == "Stop Market" and row["reduceOnly"]]
    assert len({row["coin"] for row in rows}) == len(rows)
    return {row["coin"]: (Decimal(row["sz"]), Decimal(row["triggerPx"])) for row in rows}


def cancelled(venue: PracticeServer) -> list[str]:
    """Return the kinds of orders that were cancelled by request."""
    rows: list[dict[str, Any]] = venue.venue.exchange.historical_orders(USER)
    return [row["order"]["orderType"] for row in rows if row["status"] == "canceled"]


def test_missing_stops_are_armed_at_the_stored_price_else_at_the_capital_stop(tmp_path: Path) -> None:
    """BTC is in the books with its stop; ETH is not: 20.10 USD at risk on 0.5, 40.20 above the entry."""
    with venue_with(BTC, ETH) as venue, rescuer(venue, tmp_path) as one:
        row = position(venue)
        store(tmp_path, row)
        by_hand(venue, limit(venue, 0.9))
        rescued = one.rescue("gone")
        assert rescued.is_safe
        assert row.position is not None
        wanted = Decimal(str(row.position.stop_px))
        assert stops(venue) == {"BTC": (Decimal("0.01"), wanted), "ETH": (Decimal("0.5"), Decimal("3340.2"))}
        assert len(resting(venue)) == 2
        assert held(venue) == {"BTC": Decimal("0.01"), "ETH": Decimal("-0.5")}
        assert [text.split(" of ")[0] for text in rescued.did] == [
            "armed a stop",
            "armed a stop",
            "cancelled 1 entry orders",
        ]
        again = one.rescue("gone")
        assert (again.did, again.trouble) == ((), ())
        assert len(resting(venue)) == 2
    assert not kill_switch.is_latched(tmp_path / "KILL")


def test_a_position_that_is_covered_in_part_gets_a_whole_stop_and_keeps_the_old_one(tmp_path: Path) -> None:
    """Stops are never cancelled; more of them than position can only close it."""
    with venue_with(BTC) as venue, rescuer(venue, tmp_path) as one:
        by_hand(venue, stop(venue, 0.93, size="0.004"))
        assert one.rescue("gone").is_safe
        assert sorted(Decimal(row["sz"]) for row in resting(venue)) == [Decimal("0.004"), Decimal("0.01")]
        assert cancelled(venue) == []


def test_a_stored_stop_that_the_mark_has_passed_gives_way_to_the_capital_stop(tmp_path: Path) -> None:
    """The stored one would close at once, which is not the policy; some stop is better than none."""
    with venue_with(BTC) as venue, rescuer(venue, tmp_path) as one:
        store(tmp_path, position(venue, stop_share=1.01))
        assert one.rescue("gone").is_safe
        assert stops(venue) == {"BTC": (Decimal("0.01"), Decimal(92_990))}


def test_a_stop_that_cannot_be_placed_is_trouble_and_is_placed_when_it_can(tmp_path: Path) -> None:
    """Told with the venue's reason; the entries are cancelled all the same."""
    with venue_with(BTC) as venue, rescuer(venue, tmp_path) as one:
        by_hand(venue, limit(venue, 0.9))
        venue.set_faults(order_error={"text": "Insufficient margin to place order."})
        rescued = one.rescue("gone")
        assert not rescued.is_safe
        assert "LONG 0.01 BTC: 0% under a resting stop: Insufficient margin" in rescued.trouble[0]
        assert resting(venue) == []
        venue.set_faults(clear=True)
        assert one.rescue("gone").is_safe
        assert len(stops(venue)) == 1


def test_an_entry_that_takes_its_stops_along_leaves_nothing_bare(tmp_path: Path) -> None:
    """A part-filled parent is cancelled: its children go with it, and the position gets a stop after that."""
    with venue_with(speed=20.0) as venue, rescuer(venue, tmp_path) as one:
        parent = limit(venue, 0.98)
        child = stop(venue, 0.95)
        venue.set_faults(part_fill={"amount": 0.4, "times": 1, "then": "rest"})
        act(venue, {"type": "order", "orders": [parent, child], "grouping": "normalTpsl"})
        assert held(venue) == {"BTC": Decimal("0.004")}
        assert [row["orderType"] for row in resting(venue)] == ["Limit", "Stop Market"]  # the child waits
        assert one.rescue("gone").is_safe
        assert stops(venue).keys() == {"BTC"}
        assert len(resting(venue)) == 1
        assert "Stop Market" in cancelled(venue), "the child went with its parent; it protected nothing"


@pytest.mark.parametrize("fault", ["lost_answer", "status_502", "status_429"])
def test_one_lost_answer_changes_nothing(tmp_path: Path, fault: str) -> None:
    """One stop, no entry."""
    with venue_with(BTC) as venue, rescuer(venue, tmp_path) as one:
        by_hand(venue, limit(venue, 0.9))
        venue.set_faults(**{fault: {"on": ["exchange"], "times": 1}})
        assert one.rescue("gone").is_safe
        assert len(stops(venue)) == 1
        assert len(resting(venue)) == 1


def test_a_venue_that_cannot_be_read_is_not_safe(tmp_path: Path) -> None:
    """Nothing is concluded, nothing is sent."""
    with venue_with(BTC) as venue, rescuer(venue, tmp_path, within_s=1.0) as one:
        venue.set_faults(status_502={"on": ["info"]})
        rescued = one.rescue("gone")
        assert "the venue cannot be read" in rescued.trouble[0]
        assert sent(venue) == []


def test_a_damaged_database_is_no_reason_to_leave_a_position_bare(tmp_path: Path) -> None:
    """The capital stop, and why."""
    with venue_with(BTC) as venue, rescuer(venue, tmp_path) as one:
        (tmp_path / "perp_bot.db").write_bytes(b"no database" * 100)
        rescued = one.rescue("gone")
        assert rescued.is_safe
        assert "the stored stops cannot be read" in rescued.did[0]
        assert len(stops(venue)) == 1


def test_flatten_is_a_kill_that_leaves_the_stops(tmp_path: Path) -> None:
    """By policy alone: latched, flat by two reads, and no stop was cancelled by the watchdog."""
    with venue_with(BTC, ETH) as venue, rescuer(venue, tmp_path, flatten=True) as one:
        by_hand(venue, limit(venue, 0.9), stop(venue, 0.93))
        rescued = one.rescue("the daemon has been gone for 60 s: no daemon runs")
        assert rescued.is_safe
        assert held(venue) == {}
        assert "Stop Market" not in cancelled(venue)
    latch = kill_switch.read(tmp_path / "KILL")
    assert latch is not None
    assert "watchdog" in latch.text
    assert "gone for 60 s" in latch.text


def test_what_cannot_be_closed_is_protected_and_told(tmp_path: Path) -> None:
    """The venue takes stops and no closing order: not flat, but no longer bare."""
    with venue_with(BTC) as venue, rescuer(venue, tmp_path, flatten=True, within_s=2.0) as one:
        by_hand(venue, stop(venue, 0.93))
        venue.set_faults(order_error={"text": "Order could not immediately match against any resting orders."})
        rescued = one.rescue("gone")
        assert not rescued.is_safe
        assert "LONG 0.01 BTC is left" in rescued.trouble[0]
        assert len(stops(venue)) == 1
