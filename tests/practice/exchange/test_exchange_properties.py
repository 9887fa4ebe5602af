"""Whatever is sent, in whatever order: the money adds up, nobody is filled wrongly, and time is one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from exchange_rig import ALICE, BOB, CAROL, MARKET, Rig, trades_between, wire
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.practice.exchange import clockwork
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.orders import Order
from perp_bot.practice.market.coins import COINS, INDEX

USERS = (ALICE, BOB, CAROL)
LOTS = {"BTC": "0.001", "ETH": "0.02", "DOGE": "700"}
KINDS = (
    "Gtc", "Gtc", "Ioc", "Alo", "FrontendMarket", "stop", "profit", "stop limit", "family", "position", "cancel",
    "leverage", "modify", "schedule", "margin",
)  # fmt: skip

moves = st.fixed_dictionaries(
    {
        "user": st.sampled_from(USERS),
        "coin": st.sampled_from(sorted(LOTS)),
        "side": st.sampled_from("BA"),
        "lots": st.integers(1, 60),
        "away": st.integers(-30, 30),  # ten thousandths from the best price of the other side
        "kind": st.sampled_from(KINDS),
        "reduce_only": st.booleans(),
        "wait_ms": st.sampled_from([0, 0, 0, 400, 3_000, 61_000, 900_000, 7_200_000]),
    }
)


def on_tick(px: Decimal, coin: str) -> Decimal:
    return Decimal(int(px)) if px >= 10_000 else round(Decimal(f"{px:.5g}"), COINS[INDEX[coin]].px_decimals)


def play(rig: Rig, move: dict[str, Any]) -> list[Any]:
    """Make one move and return what was answered."""
    user, coin, side, kind = move["user"], move["coin"], move["side"], move["kind"]
    bid, ask = rig.best(coin)
    px = on_tick((ask if side == "B" else bid) * (1 + Decimal(move["away"]) / 10_000), coin)
    size = Decimal(LOTS[coin]) * move["lots"]
    beyond = on_tick(px * (Decimal("1.02") if side == "B" else Decimal("0.98")), coin)
    orders = rig.exchange.open_orders(user)
    answer: Any = None
    if kind == "cancel":
        answer = rig.cancel(user, orders[0]["coin"], orders[0]["oid"]) if orders else None
    elif kind == "modify" and orders:
        change = {"oid": orders[-1]["oid"], "order": wire(coin, side, size, px), "a": True}
        answer = rig.act(user, {"type": "batchModify", "modifies": [change]})
    elif kind == "leverage":
        answer = rig.leverage(user, coin, 1 + move["lots"] % 10, is_cross=bool(move["away"] % 2))
    elif kind == "margin":
        ntli = move["away"] * 1_000_000
        answer = rig.act(user, {"type": "updateIsolatedMargin", "asset": INDEX[coin], "isBuy": True, "ntli": ntli})
    elif kind == "schedule":
        answer = rig.act(user, {"type": "scheduleCancel", "time": rig.now_ms + 5_000 + move["lots"] * 1_000})
    elif kind in ("stop", "profit"):
        answer = rig.order(user, coin, side, size, beyond, reduce_only=move["reduce_only"], **{kind: px})
    elif kind == "stop limit":
        answer = rig.order(user, coin, side, size, px, reduce_only=move["reduce_only"], stop=px, is_market=False)
    elif kind == "family":
        other, sign = ("A", 1) if side == "B" else ("B", -1)
        stop, profit = (on_tick(px * (1 - sign * Decimal(part) / 1_000), coin) for part in (4, -4))
        worst = on_tick(px * (1 - sign * Decimal("0.05")), coin)
        children = [
            wire(coin, other, size, worst, stop=stop, reduce_only=True),
            wire(coin, other, size, worst, profit=profit, reduce_only=True),
        ]
        tif = "Ioc" if move["reduce_only"] else "Gtc"
        answer = rig.orders(user, wire(coin, side, size, px, tif=tif), *children, grouping="normalTpsl")
    elif kind == "position":
        stop = wire(coin, side, "0", beyond, stop=px, reduce_only=True)
        answer = rig.orders(user, stop, grouping="positionTpsl")
    else:
        tif = kind if kind in ("Gtc", "Ioc", "Alo", "FrontendMarket") else "Gtc"
        answer = rig.order(user, coin, side, size, px, tif=tif, reduce_only=move["reduce_only"])
    return [answer]


def rig_of(now_ms: int | None = None) -> Rig:
    """Three traders; one of them will not last long. They may schedule cancels."""
    rig = Rig(*USERS, usd=20_000) if now_ms is None else Rig(*USERS, usd=20_000, now_ms=now_ms)
    rig.exchange.fund(CAROL, Decimal(-19_500))
    for account in rig.core.accounts.values():
        account.volume_usd = Decimal(2_000_000)
    rig.leverage(CAROL, "BTC", 40)
    rig.leverage(BOB, "ETH", 25, is_cross=False)
    return rig


def every_order(rig: Rig, user: str) -> Iterator[Order]:
    account = rig.core.accounts[user]
    yield from account.orders.values()
    yield from account.ended


def check(rig: Rig) -> None:
    """What must hold at every moment."""
    for user in USERS:
        account = rig.core.accounts[user]
        assert rig.identity_gap(user) == 0
        state = rig.state(user)
        held = {row["position"]["coin"]: Decimal(row["position"]["szi"]) for row in state["assetPositions"]}
        value = Decimal(state["marginSummary"]["totalRawUsd"]) + sum(
            szi * rig.core.mark(coin) for coin, szi in held.items()
        )
        assert Decimal(state["marginSummary"]["accountValue"]) == value, "I11, to the last digit"
        check_fills(rig, user, held)
        for order in account.orders.values():
            assert order.is_open
            if order.reduce_only and not order.is_waiting:
                szi = account.szi(order.coin)
                assert szi != 0
                assert (szi > 0) != order.is_buy
                assert order.left <= abs(szi)


def check_fills(rig: Rig, user: str, held: dict[str, Decimal]) -> None:
    """Nothing beyond size, limit, tick or lot; reduce-only never adds; the rows sum to the positions."""
    account, net, filled = rig.core.accounts[user], dict[str, Decimal](), dict[int, Decimal]()
    known = {order.oid: order for order in every_order(rig, user)}
    for row in account.fills:
        spec = COINS[INDEX[row["coin"]]]
        size, px, sign = Decimal(row["sz"]), Decimal(row["px"]), 1 if row["side"] == "B" else -1
        before = net.get(row["coin"], Decimal(0))
        assert Decimal(row["startPosition"]) == before
        net[row["coin"]] = after = before + sign * size
        filled[row["oid"]] = filled.get(row["oid"], Decimal(0)) + size
        assert size > 0
        assert size == round(size, spec.sz_decimals)
        order = known.get(row["oid"])
        if order is None:
            continue  # the venue's own: backstop, settlement
        if order.reduce_only:
            assert abs(after) < abs(before)
            assert before * after >= 0
        is_market = order.tif == "LiquidationMarket" or order.shown_type in ("Stop Market", "Take Profit Market")
        assert is_market or (px - order.px) * order.sign <= 0
        if not row["crossed"]:
            assert px == order.px
    for oid, size in filled.items():
        if oid in known and not known[oid].is_position:
            assert size <= known[oid].size
    assert {coin: size for coin, size in net.items() if size} == held


def check_priority(rig: Rig, seen: int) -> int:
    """Nobody rests, at a better price or longer at the same one, whom a fill as maker went past."""
    fills = [(row["time"], user, row) for user in USERS for row in rig.core.accounts[user].fills if not row["crossed"]]
    known = {order.oid: order for user in USERS for order in every_order(rig, user)}
    for at_ms, _, row in sorted(fills, key=lambda fill: fill[0])[seen:]:
        own = known.get(row["oid"])
        if own is None:
            continue
        for user in USERS:
            for other in rig.core.accounts[user].orders.values():
                if not other.rests or (other.coin, other.is_buy) != (own.coin, own.is_buy) or other.at_ms > at_ms:
                    continue
                if other.oid == own.oid or other.trigger_px or other.status_ms > at_ms:
                    continue  # came into the book, or was filled itself, later
                better = (other.px - own.px) * own.sign
                assert better < 0 or (better == 0 and (other.at_ms, other.oid) > (own.at_ms, own.oid)), (row, other)
    return len(fills)


@pytest.mark.slow
@given(st.lists(moves, min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_money_sizes_and_priority_hold_after_every_move(made: list[dict[str, Any]]) -> None:
    """Cash = deposits - signed size x price - fees + funding, in every account, at every tick (I11)."""
    rig, seen = rig_of(), 0
    for move in made:
        play(rig, move)
        check(rig)
        rig.pass_ms(move["wait_ms"])
        check(rig)
        seen = check_priority(rig, seen)


def outcome(rig: Rig) -> dict[str, Any]:
    """Everything that can be told of an exchange."""
    found: dict[str, Any] = {"events": rig.exchange.drain()}
    for user in USERS:
        found[user] = (
            rig.exchange.user_fills(user), rig.exchange.historical_orders(user), rig.state(user),
            rig.exchange.user_funding(user, 0, rig.now_ms), rig.exchange.ledger_updates(user, 0, rig.now_ms),
            rig.exchange.portfolio(user, rig.now_ms),
        )  # fmt: skip
    return found


@pytest.mark.slow
@given(
    st.lists(moves, min_size=1, max_size=8),
    st.lists(st.one_of(st.integers(1, 4_000), st.integers(1, 2 * HOUR_MS)), min_size=1, max_size=25),
)
@settings(max_examples=60, deadline=None)
def test_time_passes_alike_in_one_go_and_in_pieces(made: list[dict[str, Any]], pieces: list[int]) -> None:
    """The same fills, orders, money and messages, down to the ids."""
    together, apart = rig_of(), rig_of()
    for move in made:
        for rig in (together, apart):
            play(rig, move)
    together.pass_ms(sum(pieces))
    for piece in pieces:
        apart.pass_ms(piece)
    assert together.now_ms == apart.now_ms
    assert outcome(together) == outcome(apart)


def at_every_moment(core: Core, until_ms: int) -> None:
    """Let time pass without looking for what may happen: every trade, second and scheduled cancel is handled."""
    moments = set(range(core.now_ms - core.now_ms % 1_000, until_ms + 1, 1_000))
    for coin in LOTS:
        moments |= {at_ms for at_ms, _, _ in trades_between(coin, core.now_ms, until_ms)}
        moments |= {at_ms for at_ms, _ in core.feed.funding(coin, core.now_ms, until_ms)}
    moments |= {account.cancel_at_ms for account in core.accounts.values() if account.cancel_at_ms is not None}
    for at_ms in sorted(moments):
        if core.now_ms < at_ms <= until_ms:
            core.move_to(at_ms)
            clockwork._happen(core)
    core.move_to(until_ms)


@pytest.mark.slow
@given(
    st.lists(moves, min_size=1, max_size=8),
    st.integers(0, HOUR_MS - 1),
    st.integers(1, 4 * MINUTE_MS),
)
@settings(max_examples=60, deadline=None)
def test_no_moment_that_matters_is_passed_over(made: list[dict[str, Any]], start_ms: int, length_ms: int) -> None:
    """Jumping from event to event gives what handling every single moment gives."""
    start_ms += MARKET.origin_ms + 450 * HOUR_MS
    jumping, plodding = rig_of(start_ms), rig_of(start_ms)
    for move in made:
        for rig in (jumping, plodding):
            play(rig, move)
    jumping.pass_ms(length_ms)
    plodding.now_ms += length_ms
    at_every_moment(plodding.core, plodding.now_ms)
    assert outcome(jumping) == outcome(plodding)


@pytest.mark.slow
def test_random_traders_meet_everything_and_it_still_adds_up() -> None:
    """A few hundred moves reach every way an order can end here; else the properties above would prove little."""
    statuses, channels, seen = set[str](), set[str](), 0
    dirs = set[str]()
    for seed in range(6):
        chance = random.Random(seed)
        rig, seen = rig_of(), 0
        assert "filled" in rig.buy(CAROL, "BTC", "0.18")  # nearly all that she can carry
        bid, _ = rig.best("BTC")
        rig.order(CAROL, "BTC", "A", "0.18", bid - 9_000, stop=bid - 8_000, reduce_only=True)
        for _ in range(90):
            play(
                rig,
                {
                    "user": chance.choice((ALICE, BOB)),
                    "coin": chance.choice(sorted(LOTS)),
                    "side": chance.choice("BA"),
                    "lots": chance.randint(1, 60),
                    "away": chance.randint(-30, 30),
                    "kind": chance.choice(KINDS),
                    "reduce_only": chance.random() < 0.4,
                },
            )
            rig.pass_ms(chance.choice([0, 0, 400, 3_000, 61_000, 900_000, 7_200_000]))
            check(rig)
            seen = check_priority(rig, seen)
        statuses |= {order.status for user in USERS for order in every_order(rig, user)}
        dirs |= {row["dir"] for user in USERS for row in rig.core.accounts[user].fills}
        channels |= {event.channel for event in rig.exchange.drain()}
    assert statuses >= {
        "open", "filled", "canceled", "reduceOnlyCanceled", "siblingFilledCanceled", "scheduledCancel",
        "liquidatedCanceled", "reduceOnlyRejected", "badAloPxRejected", "iocCancelRejected", "badTriggerPxRejected",
        "marketOrderNoLiquidityRejected",
    }  # fmt: skip
    assert dirs >= {"Open Long", "Close Long", "Open Short", "Close Short", "Long > Short", "Short > Long"}
    assert [one for one in dirs if one.startswith("Liquidated")]
    assert channels >= {"orderUpdates", "user", "userFills", "userFundings"}
