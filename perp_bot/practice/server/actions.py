"""What happens to a signed action: who signed it, whether it may, and what the exchange makes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perp_bot.practice import signing, wire
from perp_bot.practice.exchange.wishes import Unreadable
from perp_bot.practice.nonces import BadNonce
from perp_bot.practice.server import batches, house
from perp_bot.practice.server.limits import RollingBudget
from perp_bot.practice.server.publisher import Publisher
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.server.witness import Witness
from perp_bot.practice.wire import Envelope

Json = dict[str, Any]

EXPIRED_COSTS = 5  # times the action's own cost of the address budget
CUT = "cut"
NOT_READ = "not read"
_MODES = {"disabled": "standard", "unifiedAccount": "unified"}
TRADES = frozenset(
    {
        "order", "cancel", "cancelByCloid", "modify", "batchModify", "scheduleCancel", "updateLeverage",
        "updateIsolatedMargin", "noop",
    }
)  # fmt: skip
"""Actions of the exchange that the practice venue carries out."""
OTHERS = frozenset(
    {
        "twapOrder", "twapCancel", "topUpIsolatedOnlyMargin", "reserveRequestWeight", "setReferrer", "evmUserModify",
        "createSubAccount", "subAccountModify", "subAccountTransfer", "subAccountSpotTransfer", "vaultTransfer",
        "createVault", "vaultModify", "vaultDistribute", "spotUser", "agentEnableDexAbstraction",
        "agentSetAbstraction", "claimRewards", "registerReferrer", "multiSig", "spotDeploy", "perpDeploy",
        "CSignerAction", "CValidatorAction", "gossipPriorityBid", "userPortfolioMargin", "cDeposit", "cWithdraw",
    }
)  # fmt: skip
"""Actions that the real venue knows and the practice venue refuses by name; any other type is not an action."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ends: a reply, or the name of a false answer, `cut` or `not read`."""

    reply: Json | None
    false: str | None = None


class Actions:
    """The way of an action from its signed body to its reply, for HTTP and socket alike."""

    def __init__(self, venue: Venue, publisher: Publisher, weights: RollingBudget, witness: Witness) -> None:
        self._venue = venue
        self._witness = witness
        self._publisher = publisher
        self._weights = weights
        self._house = house.House(venue)

    async def handle(self, body: object, ip: str | None) -> Outcome:
        """Carry a request out, through the faults in force; `ip` pays its weight, None does not."""
        faults, kind = self._venue.faults, _kind(body)
        self._witness.asked("exchange", kind)
        if delay_s := faults.delay_s(kind, "exchange"):
            await asyncio.sleep(delay_s)
        if (false_answer := faults.answer_for("exchange", kind)) is not None:
            return Outcome(None, false_answer)
        try:
            signed = wire.envelope(body)
            limit = self._venue.limits.weight_per_minute
            weight, at_ms = batches.weight(signed.action), self._venue.clock.now_ms()
            if ip is not None and not self._weights.try_spend(ip, at_ms, weight, limit):
                return Outcome(None, "status_429")
            reply = self.perform(signed)
        except (wire.NotAnAction, Unreadable):
            return Outcome(None, NOT_READ)
        if late_s := faults.late_answer_s(signed.kind):
            await asyncio.sleep(late_s)
        lost = faults.strike("lost_answer", "exchange", signed.kind)
        return Outcome(reply, None if lost is None else lost.choice)

    def perform(self, signed: Envelope) -> Json:
        """Return the venue's reply to an action that has been read."""
        venue = self._venue
        if signed.kind not in TRADES | OTHERS and signed.kind not in signing.USER_SIGNED:
            raise wire.NotAnAction
        now_ms, wall_ms = venue.catch_up(), time.time_ns() // 1_000_000
        refused = venue.faults.strike("nonce_refused", "exchange", signed.kind)
        if refused is not None:
            return _error(_false_nonce(refused.choice, signed.nonce))
        if signed.kind in signing.USER_SIGNED and (wrong := _wrong_user_action(signed)) is not None:
            return _error(wrong)
        try:
            signer = signing.recover(signed)
        except signing.Unrecoverable:
            return _error("Unable to recover signer.")
        if signed.vault is not None:
            return _error(f"Vault not registered: {signed.vault}")
        user = venue.exchange.master_of(signer, now_ms)
        if signed.kind in signing.USER_SIGNED and user != signer:
            return _error(f"Must deposit before performing actions. User: {signer}")
        if user is None:
            return _error(f"User or API Wallet {signer} does not exist.")
        try:
            venue.nonces.take(signer, signed.nonce, wall_ms)
        except BadNonce as bad:
            return _error(str(bad))
        if signed.expires_ms is not None and signed.expires_ms < venue.told_ms():
            for _ in range(EXPIRED_COSTS * batches.size(signed.action)):
                venue.exchange.act(user, {"type": "noop"}, now_ms)  # does nothing and is counted
            return _error("Action already expired")
        reply = self.act(user, signed.action, now_ms)
        self._witness.acted(user, signed.action, reply)
        self._publisher.tell_users(now_ms, user)
        return reply

    def act(self, user: str, action: Mapping[str, Any], now_ms: int) -> Json:
        """Let the exchange carry an action out, without the entries that a fault refuses."""
        kind, faults = str(action["type"]), self._venue.faults
        if kind == "userSetAbstraction":
            return self._set_mode(user, action)
        if kind in OTHERS or (kind in signing.USER_SIGNED and kind != "approveAgent"):
            return _error(f"The practice venue does not carry out {kind}.")
        fault = faults.find("order_error")
        struck = None
        if fault is not None and fault.concerns(frozenset({"order"}), kind, "exchange"):
            struck = batches.strike(fault, action)
        if struck is None:
            return self._carry_out(user, action, now_ms)
        faults.strike("order_error", kind, "exchange")
        return struck.answered(None if struck.action is None else self._carry_out(user, struck.action, now_ms))

    def _carry_out(self, user: str, action: Mapping[str, Any], now_ms: int) -> Json:
        exchange, fault = self._venue.exchange, self._venue.faults.find("part_fill")
        order = None
        if fault is not None and action["type"] == "order" and action["orders"]:
            order = house.wanted(action["orders"][0], fault.amount)
        if order is None or fault is None or self._venue.faults.strike("part_fill", "exchange", "order") is None:
            return exchange.act(user, action, now_ms)
        self._house.leave(order, now_ms)
        reply = exchange.act(user, action, now_ms)
        oid = _resting(reply)
        if oid is not None:
            if not _has_filled(exchange.order_status(user, oid)):
                self._house.bring(order, now_ms)
            if fault.choice == "cancel":
                exchange.act(user, {"type": "cancel", "cancels": [{"a": order.asset, "o": oid}]}, now_ms)
        return reply

    def _set_mode(self, user: str, action: Mapping[str, Any]) -> Json:
        mode = _MODES.get(str(action.get("abstraction")))
        if mode is None or action.get("user") != user:
            return _error("The practice venue knows the abstractions disabled and unifiedAccount of the signer.")
        self._venue.set_mode(user, mode)
        return {"status": "ok", "response": {"type": "default"}}


def _resting(reply: Json) -> int | None:
    """Return the id of the first order of a reply when it rests."""
    if reply["status"] != "ok":
        return None
    first = reply["response"]["data"]["statuses"][0]
    return first["resting"]["oid"] if isinstance(first, Mapping) and "resting" in first else None


def _has_filled(status: Json) -> bool:
    order = status["order"]["order"]
    return bool(order["sz"] != order["origSz"])


def _wrong_user_action(signed: Envelope) -> str | None:
    """Return what is wrong with an action that a user's wallet signs, before anybody is recovered from it."""
    action = signed.action
    if action.get("nonce", action.get("time")) != signed.nonce:
        return "Nonce mismatch."
    if action.get("hyperliquidChain") != signing.CHAIN:
        return "Mainnet and testnet require different signature."
    if signed.expires_ms is not None:
        return f"{signed.kind} cannot have an expiresAfter."
    return None


def _false_nonce(choice: str, nonce: int) -> str:
    if choice == "duplicate":
        return f"Invalid nonce: duplicate nonce {nonce}"
    sign, bound = ("<", nonce + 1) if choice == "low" else (">", nonce - 1)
    return f"Invalid nonce: nonce too {choice} {nonce} {sign} {bound}"


def _kind(body: object) -> str | None:
    action = body.get("action") if isinstance(body, Mapping) else None
    kind = action.get("type") if isinstance(action, Mapping) else None
    return kind if isinstance(kind, str) else None


def _error(text: str) -> Json:
    return {"status": "err", "response": text}
