"""An exchange on the recorded market, driven by wire actions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.practice.exchange.exchange import Exchange
from perp_bot.practice.exchange.feed import Feed
from perp_bot.practice.market.coins import INDEX
from perp_bot.practice.market.hours import RECORDED_START_MS
from perp_bot.practice.market.market import Market

START_MS = RECORDED_START_MS + 400 * HOUR_MS + 7_000
ALICE, BOB, CAROL = ("0x" + letter * 40 for letter in "abc")
MARKET = Market(42, RECORDED_START_MS)
FEED = Feed(MARKET)

Json = dict[str, Any]


def shown(value: Decimal) -> str:
    """Return a number as the SDK puts it on the wire."""
    return format(value.normalize(), "f")


class Rig:
    """One exchange, its clock, and what it said."""

    def __init__(self, *users: str, usd: int = 100_000, market: Market = MARKET, now_ms: int = START_MS) -> None:
        self.exchange = Exchange(market, now_ms)
        self.core = self.exchange._core
        self.now_ms = now_ms
        for user in users or (ALICE, BOB):
            self.exchange.fund(user, Decimal(usd))
        self.exchange.drain()

    def pass_ms(self, ms: int) -> None:
        """Let time pass."""
        self.now_ms += ms
        self.exchange.advance(self.now_ms)

    def act(self, user: str, action: Json) -> Json:
        """Perform an action."""
        return self.exchange.act(user, action, self.now_ms)

    def order(self, user: str, coin: str, side: str, size: object, px: object, **options: Any) -> Any:
        """Place one order and return its entry."""
        return self.orders(user, wire(coin, side, size, px, **options))[0]

    def orders(self, user: str, *wires: Json, grouping: str = "na") -> list[Any]:
        """Place orders and return their entries."""
        answer = self.act(user, {"type": "order", "orders": list(wires), "grouping": grouping})
        assert answer["status"] == "ok", answer
        return answer["response"]["data"]["statuses"]  # type: ignore[no-any-return]

    def cancel(self, user: str, coin: str, oid: int) -> Any:
        """Cancel one order and return its entry."""
        answer = self.act(user, {"type": "cancel", "cancels": [{"a": INDEX[coin], "o": oid}]})
        return answer["response"]["data"]["statuses"][0]

    def status(self, user: str, key: int | str) -> str:
        """Return what became of an order."""
        found = self.exchange.order_status(user, key)
        return str(found["order"]["status"] if found["status"] == "order" else found["status"])

    def szi(self, user: str, coin: str) -> Decimal:
        """Return the position."""
        return self.core.accounts[user].szi(coin)

    def best(self, coin: str) -> tuple[Decimal, Decimal]:
        """Return best bid and ask of the path."""
        return FEED.best(coin, self.now_ms)

    def buy(self, user: str, coin: str, size: object) -> Any:
        """Buy at the market."""
        return self.order(user, coin, "B", size, far(coin, self.best(coin)[1], 1), tif="Ioc")

    def sell(self, user: str, coin: str, size: object) -> Any:
        """Sell at the market."""
        return self.order(user, coin, "A", size, far(coin, self.best(coin)[0], -1), tif="Ioc")

    def leverage(self, user: str, coin: str, value: int, *, is_cross: bool = True) -> Json:
        """Set a coin's leverage."""
        return self.act(user, {"type": "updateLeverage", "asset": INDEX[coin], "isCross": is_cross, "leverage": value})

    def state(self, user: str) -> Json:
        """Return balances and positions."""
        return self.exchange.clearinghouse_state(user, self.now_ms)

    def position(self, user: str, coin: str) -> Json:
        """Return a position as it is shown."""
        rows = [row["position"] for row in self.state(user)["assetPositions"]]
        return next(row for row in rows if row["coin"] == coin)

    def identity_gap(self, user: str) -> Decimal:
        """Return how far the cash is from deposits, fills, fees and funding."""
        account = self.core.accounts[user]
        due = sum((Decimal(row["delta"].get("usdc", "0")) for row in account.ledger), Decimal(0))
        due -= sum((Decimal(row["delta"].get("accountValue", "0")) for row in account.ledger), Decimal(0))
        for row in account.fills:
            signed = Decimal(row["sz"]) * (1 if row["side"] == "B" else -1)
            due -= signed * Decimal(row["px"]) + Decimal(row["fee"])
        due += sum((Decimal(row["delta"]["usdc"]) for row in account.fundings), Decimal(0))
        return abs(due - account.raw_usd)


def trades_between(coin: str, after_ms: int, until_ms: int, market: Market = MARKET) -> list[tuple[int, Decimal, int]]:
    """Return (time, price, +1 for a buying aggressor) of the path's trades in (after, until]."""
    past = market.history(coin)
    assert past is not None
    found = []
    first, last = ((at_ms - past.origin_ms) // MINUTE_MS for at_ms in (after_ms, until_ms))
    for minute in range(first, last + 1):
        tape, opens_ms = past.tape(minute), past.origin_ms + minute * MINUTE_MS
        for at_ms, px, is_buy in zip(tape.at_ms.tolist(), tape.px_units.tolist(), tape.is_buy.tolist(), strict=True):
            if after_ms < opens_ms + at_ms <= until_ms:
                found.append((opens_ms + at_ms, Decimal(px).scaleb(-past.coin.px_decimals), 1 if is_buy else -1))
    return found


def far(coin: str, px: Decimal, sign: int) -> Decimal:
    """Return a price 5 % beyond, on the tick."""
    spec = FEED.spec(INDEX[coin])
    assert spec is not None
    beyond = px * (1 + Decimal("0.05") * sign)
    return round(Decimal(f"{beyond:.5g}"), spec.px_decimals)


def wire(coin: str, side: str, size: object, px: object, **options: Any) -> Json:
    """Return an order's wire form. Options: tif, reduce_only, cloid, stop, profit (trigger prices), is_market."""
    kind: Json = {"limit": {"tif": options.get("tif", "Gtc")}}
    for name, letters in (("stop", "sl"), ("profit", "tp")):
        if name in options:
            kind = {
                "trigger": {
                    "isMarket": options.get("is_market", True),
                    "triggerPx": shown(Decimal(str(options[name]))),
                    "tpsl": letters,
                }
            }
    order: Json = {
        "a": INDEX[coin],
        "b": side == "B",
        "p": shown(Decimal(str(px))),
        "s": shown(Decimal(str(size))),
        "r": options.get("reduce_only", False),
        "t": kind,
    }
    if "cloid" in options:
        order["c"] = options["cloid"]
    return order
