"""Whatever is sent, in whatever order: the money adds up, nothing is filled beyond what was asked, time is one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from exchange_rig import ALICE, BOB, CAROL, START_MS, Rig, wire
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.practice.exchange.margin import account_value

USERS = (ALICE, BOB, CAROL)
COINS = {"BTC": ("0.001", 5), "ETH": ("0.02", 4), "DOGE": ("700", 0)}

moves = st.fixed_dictionaries(
    {
        "user": st.sampled_from(USERS),
        "coin": st.sampled_from(sorted(COINS)),
        "side": st.sampled_from("BA"),
        "lots": st.integers(1, 40),
        "away": st.integers(-40, 40),  # hundredths of a percent from the best price, against itself
        "kind": st.sampled_from(["Gtc", "Ioc", "Alo", "stop", "profit", "cancel", "leverage", "modify"]),
        "reduce_only": st.booleans(),
        "wait_ms": st.sampled_from([0, 0, 400, 3_000, 61_000, 900_000]),
    }
)


def price(rig: Rig, move: dict[str, Any]) -> Decimal:
    bid, ask = rig.best(move["coin"])
    base = ask if move["side"] == "B" else bid
    px = base * (1 + Decimal(move["away"]) / 10_000)
    return Decimal(f"{px:.5g}") if px < 100_000 else Decimal(int(px))


def play(rig: Rig, move: dict[str, Any]) -> None:
    """Make one move."""
    user, coin, side = move["user"], move["coin"], move["side"]
    size, px = Decimal(COINS[coin][0]) * move["lots"], price(rig, move)
    orders = rig.exchange.open_orders(user)
    if move["kind"] == "cancel" and orders:
        rig.cancel(user, orders[0]["coin"], orders[0]["oid"])
    elif move["kind"] == "modify" and orders:
        change = {"oid": orders[0]["oid"], "order": wire(coin, side, size, px)}
        rig.act(user, {"type": "batchModify", "modifies": [change]})
    elif move["kind"] == "leverage":
        asset = wire(coin, side, size, px)["a"]
        is_cross = bool(move["lots"] % 2)
        rig.act(
            user, {"type": "updateLeverage", "asset": asset, "isCross": is_cross, "leverage": 1 + move["lots"] % 10}
        )
    elif move["kind"] in ("stop", "profit"):
        limit = px * Decimal("1.01" if side == "B" else "0.99")
        limit = Decimal(f"{limit:.5g}") if limit < 100_000 else Decimal(int(limit))
        rig.order(user, coin, side, size, limit, reduce_only=move["reduce_only"], **{move["kind"]: px})
    else:
        tif = move["kind"] if move["kind"] in ("Gtc", "Ioc", "Alo") else "Gtc"
        rig.order(user, coin, side, size, px, tif=tif, reduce_only=move["reduce_only"])
    if move["wait_ms"]:
        rig.pass_ms(move["wait_ms"])


def check(rig: Rig) -> None:
    """What must hold at every moment."""
    for user in USERS:
        account = rig.core.accounts[user]
        assert rig.identity_gap(user) < Decimal("1e-15")
        held = sum((p.szi * rig.core.mark(p.coin) for p in account.held()), Decimal(0))
        assert account_value(account, rig.core.mark) == account.raw_usd + held
        filled: dict[int, Decimal] = {}
        net: dict[str, Decimal] = {}
        for row in account.fills:
            filled[row["oid"]] = filled.get(row["oid"], Decimal(0)) + Decimal(row["sz"])
            sign = 1 if row["side"] == "B" else -1
            net[row["coin"]] = net.get(row["coin"], Decimal(0)) + sign * Decimal(row["sz"])
        for order in (*account.orders.values(), *account.ended):
            assert filled.get(order.oid, Decimal(0)) <= max(order.size, Decimal(0))
            assert order.left >= 0
        for coin, size in net.items():
            assert size == account.szi(coin)
        for order in account.orders.values():
            if order.reduce_only and not order.is_waiting:
                szi = account.szi(order.coin)
                assert szi != 0
                assert (szi > 0) != order.is_buy
                assert order.left <= abs(szi)


@given(st.lists(moves, min_size=1, max_size=14))
@settings(max_examples=60, deadline=None)
def test_money_and_sizes_add_up_after_every_move(made: list[dict[str, Any]]) -> None:
    """Cash = deposits - signed size x price - fees + funding, in every account, at every tick (I11)."""
    rig = Rig(*USERS, usd=20_000)
    for move in made:
        play(rig, move)
        check(rig)


@given(st.lists(moves, min_size=1, max_size=6), st.lists(st.integers(1, 40_000), min_size=1, max_size=25))
@settings(max_examples=40, deadline=None)
def test_time_passes_alike_in_one_go_and_in_pieces(made: list[dict[str, Any]], pieces: list[int]) -> None:
    """The same fills, orders and money, down to the ids."""
    together, apart = Rig(*USERS, usd=20_000), Rig(*USERS, usd=20_000)
    for move in made:
        for rig in (together, apart):
            play(rig, {**move, "wait_ms": 0})
    together.pass_ms(sum(pieces))
    for piece in pieces:
        apart.pass_ms(piece)
    assert together.now_ms == apart.now_ms > START_MS
    for user in USERS:
        assert together.exchange.user_fills(user) == apart.exchange.user_fills(user)
        assert together.exchange.historical_orders(user) == apart.exchange.historical_orders(user)
        assert together.core.accounts[user].raw_usd == apart.core.accounts[user].raw_usd
    merged = [event for event in together.exchange.drain() if event.channel != "orderUpdates"]
    assert merged == [event for event in apart.exchange.drain() if event.channel != "orderUpdates"]
