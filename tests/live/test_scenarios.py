"""Every fault of the venue against the real daemon; the verdict is the venue's own books, never the bot's."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from live_rig import AGENT, BTC_LONG, OTHER_AGENT, OWNER, LiveRig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(60)]

ETH_SIZE = Decimal("-0.303")
NEAR_STOP = {"risk": {"max_loss_per_trade_pct": 0.001, "cooldown_seconds": 3600}, "trading": {"symbols": ["BTC"]}}


def leave(rig: LiveRig) -> None:
    """Go on to the close at which the short is left, and judge."""
    rig.step("15m")
    rig.until("the exit has closed it", lambda: rig.held == {})
    rig.check()
    assert rig.resting == []
    assert rig.stop() == 0


def test_without_faults_a_round_trip_is_protected_and_closed(tmp_path: Path) -> None:
    """The base of all the others: entry, stop, exit, and nothing left."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        assert rig.held == {"ETH": ETH_SIZE}
        assert rig.is_protected()
        rig.check()
        leave(rig)
        assert rig.seen.round_trips == 1


# ------------------------------------------------------------ answers


@pytest.mark.parametrize("shape", ["cut", "status_502", "status_429", "null_500", "html"])
def test_an_entry_that_was_taken_and_not_answered_is_found(shape: str, tmp_path: Path) -> None:
    """The order rests at the venue; it is asked for, never sent again."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry(lost_answer={"on": ["order"], "times": 1, "as": shape})
        assert len(rig.resting_entries) == 1
        rig.await_held()
        assert rig.held == {"ETH": ETH_SIZE}
        rig.check()
        leave(rig)


def test_a_trade_of_which_no_action_is_ever_answered(tmp_path: Path) -> None:
    """Entry, cancel, taker, stop and exit are all taken and not answered: each is settled by asking."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry(lost_answer={"on": ["exchange"]})
        rig.await_held()
        assert rig.held == {"ETH": ETH_SIZE}
        rig.check()
        leave(rig)


@pytest.mark.parametrize("kind", ["order", "cancelByCloid"])
def test_an_answer_that_comes_after_the_timeout(kind: str, tmp_path: Path) -> None:
    """Carried out at once, answered when nobody waits any more."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry()
        rig.venue.set_faults(late_answer_ms={"amount": 6_500, "on": [kind], "times": 1})
        rig.await_held()
        rig.check()
        leave(rig)


def test_an_order_that_lands_after_its_sender_gave_up_is_made_impossible(tmp_path: Path) -> None:
    """It lies before the venue for longer than the timeout: a noop with its nonce comes first, and it is refused."""
    with LiveRig(tmp_path) as rig:
        rig.start()
        rig.venue.set_faults(delay_ms={"amount": 6_500, "on": ["order"], "times": 1})
        rig.step("15m")
        rig.until("the noop", lambda: any(sent.kind == "noop" for sent in rig.seen.sent))
        rig.step("1m", 2)
        rig.check()
        assert rig.held == {}
        assert rig.stop() == 0


@pytest.mark.parametrize("shape", ["low", "high", "duplicate"])
def test_a_nonce_that_is_refused_doubles_nothing(shape: str, tmp_path: Path) -> None:
    """What a nonce that counts as used has done is asked for; the others are a refusal."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry(nonce_refused={"as": shape, "on": ["order"], "times": 1})
        rig.step("1m", 2)
        rig.check()
        rig.step("15m")
        rig.check()
        assert rig.stop() == 0


def test_nonces_that_are_refused_cannot_keep_a_position_bare(tmp_path: Path) -> None:
    """A stop is refused for its nonce, and another: the third is placed within the grace."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.set_faults(nonce_refused={"as": "low", "on": ["order"], "times": 2})
        rig.owner_acts({"type": "cancel", "cancels": [{"a": 1, "o": rig.stops[0]["oid"]}]})
        rig.until("it is covered again", rig.is_protected)
        rig.check()
        leave(rig)


# ------------------------------------------------------------ refusals and partial fills


def test_an_entry_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    """For want of margin, say: it is over."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry(order_error={"times": 1})
        rig.step("1m", 2)
        assert rig.held == {}
        assert rig.resting == []
        rig.check()
        assert rig.stop() == 0


def test_stops_that_are_refused_are_placed_again(tmp_path: Path) -> None:
    """Twice refused, whatever the reason given: the position is covered within the grace."""
    with LiveRig(tmp_path, settings={"execution": {"order_type": "taker"}}) as rig:
        rig.to_entry()
        rig.step("1m")
        rig.check()
        assert rig.held
        rig.venue.set_faults(order_error={"text": "Too many requests.", "times": 2})
        rig.owner_acts({"type": "cancel", "cancels": [{"a": 1, "o": rig.stops[0]["oid"]}]})
        rig.until("it is covered again", rig.is_protected)
        rig.check()
        leave(rig)


def test_a_position_whose_stops_are_all_refused_is_closed(tmp_path: Path) -> None:
    """No stop for twice the grace: better flat than bare."""
    settings = {"execution": {"order_type": "taker", "protection_grace_seconds": 0.5}}
    with LiveRig(tmp_path, settings=settings) as rig:
        rig.to_entry()
        rig.step("1m")
        assert rig.held
        (stop,) = rig.stops
        refused = {"text": "Order could not immediately match against any resting orders.", "coin": "ETH", "times": 4}
        rig.venue.set_faults(order_error=refused)
        rig.owner_acts({"type": "cancel", "cancels": [{"a": 1, "o": stop["oid"]}]})
        rig.until("it is covered or closed", lambda: rig.is_protected())
        rig.check()
        assert rig.stop() == 0


def test_an_exit_that_is_refused_is_followed_by_another(tmp_path: Path) -> None:
    """Twice refused: the position that was to be closed is closed."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.set_faults(order_error={"times": 2})
        leave(rig)


@pytest.mark.parametrize("then", ["cancel", "rest"])
def test_a_part_filled_entry_is_a_position(then: str, tmp_path: Path) -> None:
    """Part filled at once, the rest cancelled by the venue or left in the book: what is held is covered."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry(part_fill={"amount": 0.4, "times": 1, "then": then})
        rig.until("a part is held", lambda: rig.held)
        rig.until("it is covered", rig.is_protected)
        rig.check()
        rig.step("1m", 2)
        rig.check()
        leave(rig)


# ------------------------------------------------------------ requests that fail


@pytest.mark.parametrize("fault", ["status_429", "status_502", "html", "null_500"])
@pytest.mark.parametrize("when", ["entering", "held"])
def test_a_venue_that_answers_nothing_true_for_minutes(fault: str, when: str, tmp_path: Path) -> None:
    """Reads and actions alike: no entry is made on it, and when it is over everything agrees."""
    settings = {"data": {"close_confirm_timeout_seconds": 0.4}}
    with LiveRig(tmp_path, settings=settings) as rig:
        if when == "held":
            rig.hold_eth()
            rig.step("1m", 2)
        else:
            rig.start()
        rig.venue.set_faults(**{fault: True})
        with rig.stale():
            rig.step_to_close(2)
        assert when == "entering" or rig.is_protected()
        rig.venue.set_faults(clear=True)
        rig.await_sound()
        rig.step("1m", 2)
        if when == "held":
            rig.until("the exit that was decided meanwhile has closed it", lambda: rig.held == {})
        rig.check()
        assert rig.stop() == 0


def test_a_start_with_a_position_survives_a_few_lost_answers(tmp_path: Path) -> None:
    """Killed while it held a position, started while the venue answers now and then: covered, and trading goes on."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.kill()
        rig.venue.set_faults(status_502={"on": ["frontendOpenOrders", "clearinghouseState"], "times": 3})
        rig.restart()
        rig.check()
        leave(rig)


# ------------------------------------------------------------ the stream


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": {"amount": 0.5, "on": ["orderUpdates", "userFills", "userEvents"]}},
        {"drop": {"amount": 1.0, "on": ["orderUpdates", "userFills", "userEvents"]}},
        {"duplicate": {"amount": 1.0, "on": ["orderUpdates", "userFills", "userEvents"]}},
        {"reorder": {"amount": 0.7, "on": ["orderUpdates", "userFills", "userEvents"]}},
    ],
    ids=["half lost", "all lost", "duplicated", "reordered"],
)
def test_messages_about_the_account_that_are_lost_doubled_or_out_of_order(
    fault: dict[str, object], tmp_path: Path
) -> None:
    """What the stream does not tell is read; what it tells twice counts once."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry(**fault)
        rig.await_held()
        rig.check()
        leave(rig)


def test_an_entry_that_rests_when_the_stream_goes_is_cancelled(tmp_path: Path) -> None:
    """What it leaves must not be taken on prices that nobody knows any more."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry()
        assert len(rig.resting_entries) == 1
        rig.venue.set_faults(status_502={"on": ["ws"]})
        rig.venue.close_sockets()
        with rig.stale():
            rig.until("it is cancelled", lambda: rig.resting_entries == [])
            rig.venue.set_faults(clear=True)
            rig.await_sound()
            rig.step("1m", 2)
        assert rig.held == {}
        rig.check()
        assert rig.stop() == 0


def test_sockets_that_are_cut_while_a_position_is_held(tmp_path: Path) -> None:
    """The close at which it is left passes meanwhile: it is left after the reconnect, and covered until then."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.set_faults(status_502={"on": ["ws"]})
        rig.venue.close_sockets()
        rig.await_status("DEGRADED")
        with rig.stale():
            rig.venue.step(to="15m")
            assert rig.is_protected()
        rig.venue.set_faults(clear=True)
        rig.await_sound()
        rig.settle()
        rig.until("it is left", lambda: rig.held == {})
        rig.check()
        assert rig.stop() == 0


# ------------------------------------------------------------ what the venue does to positions


def test_a_stop_that_fires_while_nobody_runs_is_booked_at_the_start(tmp_path: Path) -> None:
    """The venue's stop protects without us; its fill, and its cooldown, are ours."""
    with LiveRig(tmp_path, start=BTC_LONG, settings=NEAR_STOP) as rig:
        rig.start()
        rig.step("15m")
        rig.await_held("BTC")
        rig.check()
        rig.kill()
        for _ in range(240):
            rig.venue.step()
            if not rig.held:
                break
        assert rig.held == {}, "the scenario needs a mark that reaches the stop"
        rig.restart()
        rig.check()
        assert rig.rows("SELECT stopped FROM trades") == [(1,)]
        assert rig.stop() == 0


def test_a_stop_that_fires_is_booked_as_a_stop(tmp_path: Path) -> None:
    """Noticed from the venue's own fill; the daily limit and the cooldown count it."""
    with LiveRig(tmp_path, start=BTC_LONG, settings=NEAR_STOP) as rig:
        rig.start()
        rig.step("15m")
        rig.await_held("BTC")
        for _ in range(60):
            rig.step()
            if not rig.held:
                break
        assert rig.held == {}
        rig.check()
        assert rig.rows("SELECT stopped FROM trades") == [(1,)]
        assert rig.stop() == 0


def test_a_liquidation_is_booked(tmp_path: Path) -> None:
    """The venue closes the position and ends every order: nothing is left, and the money agrees."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.set_faults(liquidate={"user": OWNER, "coin": "ETH"})
        rig.until("it is booked", lambda: not rig.booked)
        rig.step("1m")
        rig.check()
        assert rig.rows("SELECT exit_reason FROM trades") == [("liquidation",)]
        assert rig.stop() == 0


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_auto_deleveraging_is_booked_and_what_is_left_is_covered(share: float, tmp_path: Path) -> None:
    """A part, or all, is closed at the mark against our will."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.set_faults(deleverage={"user": OWNER, "coin": "ETH", "share": share})
        rig.until("it is booked", lambda: not rig.position_error)
        rig.step("1m")
        assert bool(rig.held) == (share < 1)
        rig.check()
        leave(rig)


def test_a_coin_that_is_delisted_while_held_is_settled(tmp_path: Path) -> None:
    """The venue settles the position and ends the orders; the other coin trades on."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.set_faults(delist="ETH")
        rig.step_to_close()
        rig.until("it is settled", lambda: not rig.held)
        rig.check()
        assert rig.stop() == 0


# ------------------------------------------------------------ the owner's hand


def test_the_owner_opens_a_position_by_hand(tmp_path: Path) -> None:
    """`protect`: it gets a stop, is never closed by us, and the books are the venue's."""
    with LiveRig(tmp_path, settings={"trading": {"symbols": ["BTC", "ETH"]}}) as rig:
        rig.start()
        rig.step("1m")  # a fill of the very millisecond in which the account was found is part of what was found
        rig.owner_trades("BTC", "0.01")
        rig.until("it is covered", rig.is_protected)
        rig.step("15m", 2)
        assert rig.held["BTC"] == Decimal("0.01")
        rig.check()
        assert rig.stop() == 0


@pytest.mark.parametrize("size", ["0.303", "0.1", "-0.2", "0.5"], ids=["closes", "reduces", "adds", "reverses"])
def test_the_owner_trades_in_our_position(size: str, tmp_path: Path) -> None:
    """Closed, reduced, enlarged or reversed by hand: what is held is covered, and nothing of ours is left behind."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.owner_trades("ETH", size)
        wanted = ETH_SIZE + Decimal(size)
        assert rig.held == ({"ETH": wanted} if wanted else {})
        rig.until("it is booked", lambda: not rig.position_error)
        rig.until("it is covered", rig.is_protected)
        rig.step("1m")
        rig.check()
        rig.step("15m")
        rig.check()
        assert rig.stop() == 0


def test_the_owner_cancels_our_stop(tmp_path: Path) -> None:
    """It is placed again at once."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        (stop,) = rig.stops
        rig.owner_acts({"type": "cancel", "cancels": [{"a": 1, "o": stop["oid"]}]})
        assert not rig.is_protected()
        rig.until("it is covered again", rig.is_protected)
        rig.check()
        leave(rig)


def test_the_owner_cancels_our_entry(tmp_path: Path) -> None:
    """It stays cancelled: what the owner ended is not taken at the market."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry()
        (entry,) = rig.resting_entries
        rig.owner_acts({"type": "cancel", "cancels": [{"a": 1, "o": entry["oid"]}]})
        rig.step("1m", 2)
        assert rig.held == {}
        rig.check()
        assert rig.stop() == 0


def test_leverage_is_changed_from_outside_while_held(tmp_path: Path) -> None:
    """The position stays covered and can be left; no entry is made in the coin until it is set right."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        of_eth = "no entries of ETH: "
        rig.venue.set_faults(leverage={"user": OWNER, "coin": "ETH", "value": 7, "margin": "cross"})
        rig.venue.close_sockets()  # the account is read after a reconnect, and every minute
        rig.until("it is told", lambda: rig.told("leverage 7"))
        rig.until("status says whose entries stop", lambda: of_eth in " ".join(rig.state().status_reasons))
        leave(rig)


def test_the_account_mode_is_changed_from_outside_while_held(tmp_path: Path) -> None:
    """Unified: the money moves to another state of the venue, the position stays covered and is left."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.set_faults(mode={"user": OWNER, "mode": "unified"})
        rig.venue.close_sockets()
        rig.await_sound()
        rig.step("15m")
        rig.until("the exit has closed it", lambda: rig.held == {})
        rig.check(cash=False)
        assert rig.stop() == 0


@pytest.mark.parametrize("minutes", [5, -5])
def test_a_venue_whose_clock_is_off_by_minutes(minutes: int, tmp_path: Path) -> None:
    """Entries expire by the venue's clock: none is taken late, none twice."""
    with LiveRig(tmp_path) as rig:
        rig.to_entry(clock_skew_ms=minutes * 60_000)
        rig.step("1m", 2)
        rig.check()
        rig.step("15m")
        rig.check()
        assert rig.stop() == 0


def test_the_agent_is_revoked_while_it_holds_a_position(tmp_path: Path) -> None:
    """Nothing can be sent any more: the stop at the venue stays, no entry is tried, and a person is told."""
    with LiveRig(tmp_path) as rig:
        rig.hold_eth()
        rig.venue.look(lambda venue: venue.exchange.approve_agent(OWNER, OTHER_AGENT, "bot", None))
        with rig.stale():
            rig.step("15m")
            rig.step("1m")
        assert rig.held == {"ETH": ETH_SIZE}
        rig.check()
        assert rig.told("does not exist") or rig.told("ETH", "exit")
        rig.venue.look(lambda venue: venue.exchange.approve_agent(OWNER, AGENT, "bot", None))
        rig.until("the exit follows once it may trade again", lambda: not rig.held, 20.0)
        rig.check()
        assert rig.stop() == 0


# ------------------------------------------------------------ combined


def test_everything_at_once(tmp_path: Path) -> None:
    """Answers and messages are lost, some doubled and out of order, reads fail now and then, and a kill -9."""
    with LiveRig(tmp_path) as rig:
        told = ["orderUpdates", "userFills", "userEvents"]
        rig.to_entry(
            lost_answer={"on": ["order"], "times": 2},
            drop={"amount": 0.4, "on": told},
            duplicate={"amount": 0.5, "on": told},
            reorder={"amount": 0.3, "on": told},
        )
        rig.await_held()
        rig.check()
        failing = {"on": ["orderStatus", "userFillsByTime", "frontendOpenOrders"], "times": 4}
        rig.venue.set_faults(clear=True, status_502=failing, lost_answer={"on": ["order"], "times": 2})
        rig.owner_acts({"type": "cancel", "cancels": [{"a": 1, "o": rig.stops[0]["oid"]}]})
        rig.until("it is covered again", rig.is_protected)
        rig.check()
        rig.kill()
        rig.restart()
        rig.check()
        leave(rig)
