"""What an account may do: one function an action, each with the venue's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.exchange import lifecycle, margin, matching, placing, wishes
from perp_bot.practice.exchange import order_rules as rules
from perp_bot.practice.exchange.accounts import Account, Agent
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.fees import utc_day
from perp_bot.practice.exchange.orders import CANCELED, Order
from perp_bot.practice.exchange.wishes import Unreadable

Json = dict[str, Any]

DAY_FIRINGS = 10
SCHEDULE_AHEAD_MS = 5_000
SCHEDULE_VOLUME_USD = Decimal(1_000_000)
UNKNOWN = "Failed to deserialize the JSON body into the target type"
AGENT_DAYS = 180  # how long an approval lasts that does not say so itself
DONE: Json = {"status": "ok", "response": {"type": "default"}}


class Failed(Exception):
    """An action that failed as a whole; the text is the venue's own."""


Action = Callable[[Core, Account, Mapping[str, Any]], Json]


def cost(action: Mapping[str, Any]) -> int:
    """Return how many actions a batch counts for."""
    for name in ("orders", "cancels", "modifies"):
        batch = action.get(name)
        if isinstance(batch, list):
            return max(1, len(batch))
    return 1


def is_cancel(action: Mapping[str, Any]) -> bool:
    """Return whether the wider limit of cancels applies."""
    return action.get("type") in ("cancel", "cancelByCloid")


def perform(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    """Perform an action and return the answer's body.

    Raises:
        Unreadable: a field is missing or wrong.
    """
    handler = ACTIONS.get(str(action.get("type")))
    if handler is None:
        return {"status": "err", "response": UNKNOWN}
    try:
        return handler(core, account, action)
    except Failed as failure:
        return {"status": "err", "response": str(failure)}


def _statuses(kind: str, statuses: list[Any]) -> Json:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}


# ---------------------------------------------------------------- orders


def _order(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    wanted = [wishes.wish(raw) for raw in wishes.items(action.get("orders"))]
    grouping = action.get("grouping")
    if grouping not in wishes.GROUPINGS:
        raise Unreadable
    if not wanted:
        return _statuses("order", [{"error": rules.NO_ORDER}])
    try:
        for one in wanted:
            placing.check_batch(core, one)
        _check_group(core, wanted, grouping)
    except placing.RefusedBatch as refusal:
        return _statuses("order", [{"error": str(refusal)}])
    if grouping == "normalTpsl":
        return _statuses("order", _family(core, account, wanted))
    orders = [placing.make(core, account, one, is_position=grouping == "positionTpsl") for one in wanted]
    if grouping == "positionTpsl":
        _make_siblings(orders)
        for order in orders:
            order.size = order.size or abs(account.szi(order.coin))
    return _statuses("order", [placing.place(core, account, order) for order in orders])


def _check_group(core: Core, wanted: list[placing.Wish], grouping: str) -> None:
    children = wanted[1:] if grouping == "normalTpsl" else wanted if grouping == "positionTpsl" else []
    for child in children:
        spec = core.feed.spec(child.asset)
        if child.trigger is None or not child.reduce_only:
            raise placing.RefusedBatch(rules.NOT_REDUCING)
        if spec is None or not (rules.is_on_tick(child.px, spec) and rules.is_on_tick(child.trigger.px, spec)):
            raise placing.RefusedBatch(rules.TICK)
        if grouping == "normalTpsl" and child.size == 0:
            raise placing.RefusedBatch(rules.ZERO_SIZE)


def _family(core: Core, account: Account, wanted: list[placing.Wish]) -> list[Any]:
    """Place a parent; its children wait until it has filled whole."""
    parent, *children = [placing.make(core, account, one) for one in wanted]
    for child in children:
        child.parent = parent
    parent.children = children
    _make_siblings(children)
    for child in children:
        account.orders[child.oid] = child
    placed = placing.place(core, account, parent)
    if "error" in placed:
        for child in children:
            account.orders.pop(child.oid, None)
        return [placed for _ in wanted]
    waits = "waitingForFill" if any(child.is_waiting for child in children) else "waitingForTrigger"
    return [placed, *(waits for _ in children)]


def _make_siblings(orders: list[Order]) -> None:
    for order in orders:
        order.siblings = [other for other in orders if other is not order]


# ---------------------------------------------------------------- cancel and modify


def _find(account: Account, key: int | str) -> Order | None:
    if isinstance(key, int):
        return account.orders.get(key)
    return next((order for order in account.orders.values() if order.cloid == key), None)


def _cancel_one(core: Core, account: Account, asset: int, key: int | str) -> Any:
    order = _find(account, key)
    if order is None or core.feed.asset(order.coin) != asset:
        return {"error": f"{rules.NEVER} asset={asset}"}
    lifecycle.end(core, account, order, CANCELED)
    return "success"


def _cancel(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    wanted = [wishes.mapping(raw) for raw in wishes.items(action.get("cancels"))]
    return _cancels(core, account, [(wishes.whole(one.get("a")), wishes.whole(one.get("o"))) for one in wanted])


def _cancel_by_cloid(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    wanted = [wishes.mapping(raw) for raw in wishes.items(action.get("cancels"))]
    keys = [(wishes.whole(one.get("asset")), wishes.oid_or_cloid(one.get("cloid"))) for one in wanted]
    if any(isinstance(key, int) for _, key in keys):
        raise Unreadable
    return _cancels(core, account, keys)


def _cancels(core: Core, account: Account, keys: list[Any]) -> Json:
    if len(keys) > rules.MOST_CANCELS:
        raise Failed(f"Signed action over weight limit of {rules.MOST_CANCELS}.")
    return _statuses("cancel", [_cancel_one(core, account, asset, key) for asset, key in keys])


def _modify_one(core: Core, account: Account, change: Mapping[str, Any], *, always_place: bool) -> Json:
    """Cancel an order and place another; nothing is cancelled when the other is refused before it is placed."""
    wanted = wishes.wish(change.get("order"))
    order = _find(account, wishes.oid_or_cloid(change.get("oid")))
    try:
        placing.check_batch(core, wanted)
    except placing.RefusedBatch as refusal:
        return {"error": str(refusal)}
    if order is None or order.is_waiting or core.feed.asset(order.coin) != wanted.asset:
        return {"error": f"{rules.NO_MODIFY} asset={wanted.asset}"}
    other = placing.make(core, account, wanted, is_position=order.is_position)
    is_taking = other.tif in ("Ioc", "FrontendMarket") or (other.tif == "Gtc" and matching.would_match(core, other))
    if other.trigger is None and is_taking and not always_place:
        return {"error": f"{rules.EXECUTABLE} asset={wanted.asset}"}
    other.siblings = order.siblings
    for sibling in other.siblings:
        sibling.siblings = [other if one is order else one for one in sibling.siblings]
    lifecycle.end(core, account, order, CANCELED)
    return placing.place(core, account, other)


def _always_places(*asked: Mapping[str, Any]) -> bool:
    """Return whether the replacement may execute at once: `a`, of the action or of the entry."""
    return any("a" in one and wishes.truth(one["a"]) for one in asked)


def _batch_modify(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    changes = [wishes.mapping(change) for change in wishes.items(action.get("modifies"))]
    for change in changes:  # all must read before any is done
        wishes.wish(change.get("order"))
        wishes.oid_or_cloid(change.get("oid"))
    entries = [_modify_one(core, account, one, always_place=_always_places(action, one)) for one in changes]
    return _statuses("order", entries)


def _modify(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    found = _modify_one(core, account, action, always_place=_always_places(action))
    if "error" in found:
        raise Failed(str(found["error"]))
    return DONE


def _schedule_cancel(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    if account.volume_usd < SCHEDULE_VOLUME_USD:
        traded = f"{account.volume_usd:.2f}"
        raise Failed(
            "Cannot set scheduled cancel time until enough volume traded. "
            f"Required: ${SCHEDULE_VOLUME_USD}. Traded: ${traded}."
        )
    if "time" not in action:
        account.cancel_at_ms = None
        return DONE
    at_ms = wishes.whole(action["time"])
    if at_ms < core.now_ms + SCHEDULE_AHEAD_MS:
        raise Failed("Scheduled cancel time too early, must be at least 5 seconds from now.")  # not verified
    day, fired = account.cancels_fired
    if day == utc_day(core.now_ms) and fired >= DAY_FIRINGS:
        raise Failed("Too many scheduled cancels triggered today.")  # not verified
    account.cancel_at_ms = at_ms
    return DONE


# ---------------------------------------------------------------- leverage and margin


def _update_leverage(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    spec = core.feed.spec(wishes.whole(action.get("asset")))
    is_cross, value = wishes.truth(action.get("isCross")), wishes.whole(action.get("leverage"))
    if spec is None or not 1 <= value <= spec.max_leverage:
        raise Failed("Invalid leverage value")
    coin = spec.name
    position = account.positions.get(coin)
    is_held = position is not None and position.szi != 0
    was_cross, _ = account.leverage_of(coin, spec.max_leverage)
    if is_cross != was_cross and (is_held or account.orders_of(coin)):
        raise Failed("Cannot switch leverage type with open position.")
    if is_held and position is not None:
        _change_leverage(core, account, position, value)
    account.leverage[coin] = (is_cross, value)
    return DONE


def _change_leverage(core: Core, account: Account, position: Any, value: int) -> None:
    mark = core.mark(position.coin)
    needed = abs(position.szi) * mark / value
    if position.is_cross:
        more = needed - margin.used_usd(position, mark)
        if more > margin.free_usd(account, core.mark):
            raise Failed(
                "Cross position does not have sufficient margin available to decrease leverage. "
                "To decrease leverage, deposit more collateral."
            )
    else:
        more = needed - margin.value_usd(position, mark)
        if more > 0 and value < position.leverage:
            raise Failed(
                "Isolated position does not have sufficient margin available to decrease leverage. "
                "To decrease leverage, add margin to the position."
            )
    position.leverage = value


def _update_isolated_margin(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    spec = core.feed.spec(wishes.whole(action.get("asset")))
    ntli = action.get("ntli")
    if spec is None or isinstance(ntli, bool) or not isinstance(ntli, int):
        raise Unreadable
    position = account.positions.get(spec.name)
    if position is None or not position.szi or position.is_cross:
        raise Failed("No isolated position to add margin to.")  # not verified
    usd, mark = Decimal(ntli) / 1_000_000, core.mark(spec.name)
    least = abs(position.szi) * mark / position.leverage
    if usd > margin.free_usd(account, core.mark) or (usd < 0 and margin.value_usd(position, mark) + usd < least):
        raise Failed("Insufficient margin available.")  # not verified
    account.cash_usd -= usd
    position.raw_usd += usd
    return DONE


# ---------------------------------------------------------------- agents and nothing


def _approve_agent(core: Core, account: Account, action: Mapping[str, Any]) -> Json:
    address, name = action.get("agentAddress"), action.get("agentName")
    if not isinstance(address, str) or not wishes.ADDRESS.fullmatch(address):
        raise Unreadable
    if name is not None and not isinstance(name, str):
        raise Unreadable
    shown, _, until = (name or "").partition(" valid_until ")
    until_ms = int(until) if until.isdecimal() else None
    approve(account, address.lower(), shown or None, until_ms, core.now_ms)
    return DONE


def approve(account: Account, address: str, name: str | None, valid_until_ms: int | None, now_ms: int) -> None:
    """Let a key act for an account; one of the same name (or the one without) is replaced."""
    if valid_until_ms is None:
        valid_until_ms = now_ms + AGENT_DAYS * DAY_MS
    for known in [agent for agent in account.agents.values() if agent.name == name]:
        del account.agents[known.address]
    account.agents[address] = Agent(address, name, valid_until_ms)


def _noop(_core: Core, _account: Account, _action: Mapping[str, Any]) -> Json:
    return DONE


ACTIONS: dict[str, Action] = {
    "order": _order,
    "cancel": _cancel,
    "cancelByCloid": _cancel_by_cloid,
    "modify": _modify,
    "batchModify": _batch_modify,
    "scheduleCancel": _schedule_cancel,
    "updateLeverage": _update_leverage,
    "updateIsolatedMargin": _update_isolated_margin,
    "approveAgent": _approve_agent,
    "noop": _noop,
}
