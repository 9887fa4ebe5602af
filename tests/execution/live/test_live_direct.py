"""Without a daemon: what is said to be gone, closed or resting is so by the venue's own books, whatever goes wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from live_venue import (
    AGENT,
    USER,
    by_hand,
    config_of,
    direct_to,
    held,
    limit,
    mark,
    resting,
    sent,
    stop,
    venue_with,
)
from signed_rig import act, info

from perp_bot.config.model import Secrets
from perp_bot.config.paths import signers_folder
from perp_bot.core.errors import ConfigError, DaemonBusy, VenueAway
from perp_bot.core.venue_account import RestingOrder, VenueAccount
from perp_bot.execution.live.access import acting, reading
from perp_bot.execution.live.direct import Flatness
from perp_bot.execution.live.protection import venue_coverage
from perp_bot.execution.live.signer import Signer

BTC = {"coin": "BTC", "size": "0.01", "entry_px": 95_000, "leverage": 5}
ETH = {"coin": "ETH", "size": "-0.5", "entry_px": 3_300, "leverage": 5}
NO_MATCH = "Order could not immediately match against any resting orders."


# ------------------------------------------------------------ entries


def test_what_could_add_exposure_is_cancelled_and_what_protects_stays(tmp_path: Path) -> None:
    """A limit, a trigger that opens; a stop and a reduce-only target stay."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        opens = {**stop(venue, 1.05, buy=True), "r": False}
        target = {**limit(venue, 1.1, buy=False), "r": True}
        by_hand(venue, limit(venue, 0.9), opens, stop(venue, 0.95), target)
        by_hand(venue, limit(venue, 0.9, coin="ETH", size="0.1"))
        gone = direct.cancel_entries()
        assert (gone.is_certain, gone.gone) == (True, 3)
        assert [(row["orderType"], row["reduceOnly"]) for row in resting(venue)] == [
            ("Stop Market", True),
            ("Limit", True),
        ]
        assert held(venue) == {"BTC": Decimal("0.01")}


def test_one_coin_is_cancelled_and_the_others_are_left(tmp_path: Path) -> None:
    """The scope is a coin."""
    with venue_with() as venue, direct_to(venue, tmp_path) as direct:
        by_hand(venue, limit(venue, 0.9), limit(venue, 0.9, coin="ETH", size="0.1"))
        assert direct.cancel_entries("BTC").gone == 1
        assert [row["coin"] for row in resting(venue)] == ["ETH"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lost_answer", "status_502", "html", "status_429"])
def test_a_cancel_whose_answer_is_lost_is_judged_by_the_open_orders(tmp_path: Path, fault: str) -> None:
    """Taken or not, it ends with none resting, and only then it is said."""
    with venue_with() as venue, direct_to(venue, tmp_path) as direct:
        by_hand(venue, limit(venue, 0.9))
        venue.set_faults(**{fault: {"on": ["exchange"], "times": 1}})
        assert direct.cancel_entries().is_certain
        assert resting(venue) == []


@pytest.mark.slow
def test_entries_that_cannot_be_cancelled_are_said_to_rest(tmp_path: Path) -> None:
    """Never gone by hope."""
    with venue_with() as venue, direct_to(venue, tmp_path, within_s=1.0) as direct:
        by_hand(venue, limit(venue, 0.9))
        venue.set_faults(status_502={"on": ["exchange"]})
        gone = direct.cancel_entries()
        assert (gone.is_certain, gone.gone, len(gone.left)) == (False, 0, 1)
        assert "502" in gone.trouble
        assert len(resting(venue)) == 1


@pytest.mark.slow
def test_entries_are_not_known_to_be_gone_when_the_venue_cannot_be_read(tmp_path: Path) -> None:
    """Nothing is concluded from silence."""
    with venue_with() as venue, direct_to(venue, tmp_path, within_s=1.0) as direct:
        venue.set_faults(status_502={"on": ["info"]})
        gone = direct.cancel_entries()
        assert not gone.is_certain
        assert "502" in gone.trouble


# ------------------------------------------------------------ flat


def test_everything_is_closed_and_then_the_stops_go(tmp_path: Path) -> None:
    """Both sides, entries first; nothing that direct sends can add exposure."""
    with venue_with(BTC, ETH) as venue, direct_to(venue, tmp_path) as direct:
        by_hand(venue, limit(venue, 0.9), stop(venue, 0.95), stop(venue, 1.05, coin="ETH", size="0.5", buy=True))
        before = len(sent(venue))
        closing = direct.close()
        assert (closing.flatness, closing.reasons, closing.orders_sent) == (Flatness.FLAT, (), 2)
        assert (held(venue), resting(venue)) == ({}, [])
        mine = sent(venue)[before:]
        assert [(row["coin"], row["side"], row["reduceOnly"], row["tif"]) for row in mine] == [
            ("BTC", "A", True, "Ioc"),
            ("ETH", "B", True, "Ioc"),
        ]


def test_one_coin_is_closed_and_the_others_keep_their_stop(tmp_path: Path) -> None:
    """The scope is a coin."""
    with venue_with(BTC, ETH) as venue, direct_to(venue, tmp_path) as direct:
        by_hand(venue, stop(venue, 0.95), stop(venue, 1.05, coin="ETH", size="0.5", buy=True))
        assert direct.close("BTC").is_certain
        assert held(venue) == {"ETH": Decimal("-0.5")}
        assert [row["coin"] for row in resting(venue)] == ["ETH"]


@pytest.mark.slow
@pytest.mark.parametrize(("keep_stops", "requests"), [(False, 2), (True, 1)])
def test_stops_are_cancelled_once_it_is_flat_unless_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_stops: bool, requests: int
) -> None:
    """The venue ends most of them with the position; where a read still shows one, it is cancelled. Never kept ones."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        by_hand(venue, stop(venue, 0.95))
        stale = direct.look().orders
        reads, read, asked = direct._reads, direct._reads.open_orders, 0

        def lagging(*arguments: object) -> tuple[RestingOrder, ...]:
            nonlocal asked
            asked += 1
            return stale if asked <= 3 else read(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(reads, "open_orders", lagging)
        before = info(venue, "userRateLimit", user=USER)["nRequestsUsed"]
        assert direct.close(keep_stops=keep_stops).is_certain
        assert held(venue) == {}
        assert info(venue, "userRateLimit", user=USER)["nRequestsUsed"] - before == requests


@pytest.mark.slow
def test_what_a_closing_order_leaves_is_closed_within_wider_bounds(tmp_path: Path) -> None:
    """1 %, 3 %, 8 % beyond the best bid, never farther."""
    with venue_with(BTC, speed=20.0) as venue, direct_to(venue, tmp_path) as direct:
        venue.set_faults(part_fill={"amount": 0.4, "times": 3})
        assert direct.close().is_certain
        assert held(venue) == {}
        orders = sent(venue)
        shares = [1 - float(row["limitPx"]) / mark(venue) for row in orders]
        assert shares[:3] == pytest.approx([0.01, 0.03, 0.08], abs=0.005)
        assert shares[3:] == pytest.approx([0.08] * len(shares[3:]), abs=0.005)
        assert {row["reduceOnly"] for row in orders} == {True}


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["cut", "status_502", "status_429", "html"])
def test_a_closing_order_whose_answer_is_lost_is_not_sent_again(tmp_path: Path, choice: str) -> None:
    """It landed: asked for, found, and the account decides; the book has one closing order."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        by_hand(venue, stop(venue, 0.95))
        venue.set_faults(lost_answer={"on": ["order"], "times": 1, "as": choice})
        assert direct.close().is_certain
        assert held(venue) == {}
        assert [row["tif"] for row in sent(venue)] == [None, "Ioc"]


@pytest.mark.slow
def test_a_closing_order_that_is_late_is_made_impossible_before_the_next(tmp_path: Path) -> None:
    """The request reaches the venue after its timeout: a noop has taken its nonce, and one order closed."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path, within_s=30) as direct:
        venue.set_faults(delay_ms={"amount": 7_000, "on": ["order"], "times": 1})
        assert direct.close().is_certain
        assert held(venue) == {}
        time.sleep(2.5)  # the late one is here now
        assert held(venue) == {}
        assert len(sent(venue)) == 1


@pytest.mark.slow
def test_without_the_venues_yes_it_is_partly_flat_and_the_stops_stay(tmp_path: Path) -> None:
    """One coin is refused again and again, the other closes; the reason is the venue's, the stop rests."""
    with venue_with(BTC, ETH) as venue, direct_to(venue, tmp_path, within_s=3) as direct:
        by_hand(venue, stop(venue, 0.95), stop(venue, 1.05, coin="ETH", size="0.5", buy=True))
        venue.set_faults(order_error={"text": NO_MATCH, "coin": "BTC"})
        closing = direct.close()
        assert closing.flatness is Flatness.PARTLY_FLAT
        assert closing.reasons == (f"LONG 0.01 BTC is left: {NO_MATCH} asset=0",)
        assert held(venue) == {"BTC": Decimal("0.01")}
        assert ("BTC", "Stop Market") in [(row["coin"], row["orderType"]) for row in resting(venue)]


@pytest.mark.slow
def test_nothing_is_flat_that_could_not_be_read(tmp_path: Path) -> None:
    """Reads fail: unknown, with what was held at the last one; the stop stays."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path, within_s=1.5) as direct:
        by_hand(venue, stop(venue, 0.95))
        venue.set_faults(status_502={"on": ["clearinghouseState"]})
        closing = direct.close()
        assert closing.flatness is Flatness.UNKNOWN
        assert "502" in closing.reasons[0]
        assert (held(venue), len(resting(venue))) == ({"BTC": Decimal("0.01")}, 1)


@pytest.mark.slow
def test_flat_takes_two_reads_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner buys between the first flat read and the second: it is closed too before anything is said."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        reads, flat = direct._reads, 0
        read = reads.account

        def between(*arguments: object) -> VenueAccount:
            nonlocal flat
            if flat == 1:
                flat = 2
                order = {**limit(venue, 1.02), "t": {"limit": {"tif": "Ioc"}}}
                by_hand(venue, order)
            account = read(*arguments)  # type: ignore[arg-type]
            flat += flat == 0 and not account.positions
            return account

        monkeypatch.setattr(reads, "account", between)
        closing = direct.close()
        assert flat == 2
        assert (closing.is_certain, closing.orders_sent) == (True, 2)
        assert held(venue) == {}


# ------------------------------------------------------------ stops


def test_a_stop_that_waits_for_its_parent_protects_nothing(tmp_path: Path) -> None:
    """The parent has filled in part: the venue lists its child, and would cancel it with the parent."""
    with venue_with(speed=20.0) as venue, direct_to(venue, tmp_path) as direct:
        venue.set_faults(part_fill={"amount": 0.4, "times": 1, "then": "rest"})
        act(venue, {"type": "order", "orders": [limit(venue, 0.98), stop(venue, 0.95)], "grouping": "normalTpsl"})
        assert len(resting(venue)) == 2
        view = direct.look()
        (position,) = view.held(None)
        assert position.signed_size == Decimal("0.004")
        assert venue_coverage(position, view.orders) == 0


def test_a_stop_rests_by_the_venues_open_orders(tmp_path: Path) -> None:
    """Reduce-only, of the whole position, at its price, at the market when it fires."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        (position,) = direct.look().held(None)
        assert direct.arm(position, Decimal(90_000)) is None
        (order,) = resting(venue)
        assert (order["orderType"], order["reduceOnly"], order["side"]) == ("Stop Market", True, "A")
        assert (Decimal(order["sz"]), Decimal(order["triggerPx"])) == (Decimal("0.01"), Decimal(90_000))


def test_a_stop_whose_answer_is_lost_rests_once(tmp_path: Path) -> None:
    """Found by its client order id, not placed a second time."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        (position,) = direct.look().held(None)
        venue.set_faults(lost_answer={"on": ["order"], "times": 1})
        assert direct.arm(position, Decimal(90_000)) is None
        assert len(resting(venue)) == 1


@pytest.mark.slow
def test_a_stop_that_a_read_does_not_show_yet_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads may lag: no second stop for that."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        (position,) = direct.look().held(None)
        reads, read, asked = direct._reads, direct._reads.open_orders, 0

        def lagging(*arguments: object) -> tuple[RestingOrder, ...]:
            nonlocal asked
            asked += 1
            return () if asked == 1 else read(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(reads, "open_orders", lagging)
        assert direct.arm(position, Decimal(90_000)) is None
        assert (asked, len(resting(venue))) == (2, 1)


def test_a_stop_that_the_mark_has_passed_is_said_to_be(tmp_path: Path) -> None:
    """The caller has to do something else."""
    with venue_with(BTC) as venue, direct_to(venue, tmp_path) as direct:
        (position,) = direct.look().held(None)
        refused = direct.arm(position, Decimal(150_000))
        assert refused is not None
        assert refused.is_passed
        assert resting(venue) == []


# ------------------------------------------------------------ who may


@pytest.mark.slow
def test_a_key_that_another_process_signs_with_is_not_used(tmp_path: Path) -> None:
    """The signer's lock, whichever database."""
    import os

    hold = (
        "import sys, time; from pathlib import Path; from perp_bot.execution.live.nonces import signer_lock\n"
        "lock = signer_lock(Path(sys.argv[1]), sys.argv[2]); lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    folder = str(signers_folder(os.environ))
    child = subprocess.Popen([sys.executable, "-c", hold, folder, AGENT], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with (
            venue_with(BTC) as venue,
            pytest.raises(DaemonBusy, match=f"signs with the key of {AGENT}"),
            direct_to(venue, tmp_path),
        ):
            pass
        assert sent(venue) == []
    finally:
        child.kill()
        child.wait(10)
        if child.stdout is not None:
            child.stdout.close()


def test_a_key_of_nobody_is_refused_in_one_line(tmp_path: Path) -> None:
    """By the venue's word, before anything is sent."""
    with venue_with(BTC) as venue, reading(config_of(venue, tmp_path)) as access:
        stranger = Signer("0x" + "99" * 32, is_mainnet=False)
        with (
            pytest.raises(ConfigError, match=r"HL_OTHER: .* knows no account or API wallet"),
            acting(access, stranger, tmp_path / "KILL", name="HL_OTHER"),
        ):
            pass


def test_without_a_name_for_the_account_nothing_is_read(tmp_path: Path) -> None:
    """One line that names the variable."""
    from dataclasses import replace

    with venue_with() as venue:
        config = replace(config_of(venue, tmp_path), secrets=Secrets())
        with pytest.raises(ConfigError, match="HL_WALLET_ADDRESS: not set"), reading(config):
            pass


def test_a_venue_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    """Exit code 3 above."""
    with venue_with() as venue:
        config = config_of(venue, tmp_path)
    with pytest.raises(VenueAway), reading(config):
        pass
