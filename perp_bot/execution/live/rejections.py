"""The venue's refusals, typed by reason, with one rule each: may the order be sent again, and what must change first.

The venue appends ` asset=<n>` to most texts and puts numbers into some. A text that is not known here is never retried
and alerts: a guess about a refusal is how a bot sends the same mistake a thousand times. Texts and statuses are those
of the venue's error-responses page and of captures; what no capture shows is marked "not captured".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why the venue refused."""

    TICK = "tick"
    LOT = "lot"
    ZERO_SIZE = "zero_size"
    MINIMUM = "minimum"
    MARGIN = "margin"
    MARGIN_TIER = "margin_tier"
    REDUCE_ONLY = "reduce_only"
    POST_ONLY = "post_only"
    NO_MATCH = "no_match"
    NO_LIQUIDITY = "no_liquidity"
    TRIGGER_PX = "trigger_px"
    OPEN_INTEREST_CAP = "open_interest_cap"
    OPEN_INTEREST_SPEED = "open_interest_speed"
    ORACLE_DISTANCE = "oracle_distance"
    OPEN_ORDERS = "open_orders"
    GONE = "gone"
    UNKNOWN_WALLET = "unknown_wallet"
    NO_DEPOSIT = "no_deposit"
    ACTION_BUDGET = "action_budget"
    TOO_MANY_CANCELS = "too_many_cancels"
    SCHEDULE_VOLUME = "schedule_volume"
    LEVERAGE_VALUE = "leverage_value"
    LEVERAGE_MODE = "leverage_mode"
    CROSS_FORBIDDEN = "cross_forbidden"
    LEVERAGE_MARGIN = "leverage_margin"
    POST_ONLY_PERIOD = "post_only_period"
    NONCE_SPENT = "nonce_spent"
    NONCE_OUT_OF_RANGE = "nonce_out_of_range"
    EXPIRED = "expired"
    BAD_REQUEST = "bad_request"
    UNKNOWN = "unknown"


class Retry(StrEnum):
    """Whether what was refused may be sent again (always under a new nonce and a new client order id)."""

    NEVER = "never"
    CHANGED = "changed"  # after the change that the rule names
    LATER = "later"  # as it was, once what the rule names has passed
    SETTLE = "settle"  # no refusal of the order: it may have landed, and its outcome has to be asked for


@dataclass(frozen=True, slots=True)
class Rule:
    """What a refusal allows. `then`: what must change, pass or be looked at first; `alerts`: a person must know."""

    retry: Retry
    then: str
    alerts: bool = False


RULES: dict[Reason, Rule] = {
    Reason.TICK: Rule(Retry.CHANGED, "round the price to the grid of the coin's meta, read anew", alerts=True),
    Reason.LOT: Rule(Retry.CHANGED, "truncate the size to the lot of the coin's meta, read anew", alerts=True),
    Reason.ZERO_SIZE: Rule(Retry.NEVER, "nothing is left to trade"),
    Reason.MINIMUM: Rule(Retry.CHANGED, "10 USD or more, or a reduce-only order of the whole position"),
    Reason.MARGIN: Rule(Retry.NEVER, "read the account: there is less free margin than sizing believed", alerts=True),
    Reason.MARGIN_TIER: Rule(Retry.CHANGED, "a smaller size, or less leverage, for the coin's margin tier"),
    Reason.REDUCE_ONLY: Rule(Retry.NEVER, "read the account: the position is gone, or is of the other side"),
    Reason.POST_ONLY: Rule(Retry.CHANGED, "a price that does not cross the book that it named"),
    Reason.NO_MATCH: Rule(Retry.CHANGED, "a new price from the book as it is now"),
    Reason.NO_LIQUIDITY: Rule(Retry.LATER, "the book has levels again"),
    Reason.TRIGGER_PX: Rule(Retry.CHANGED, "the mark is beyond the stop already: close at once instead"),
    Reason.OPEN_INTEREST_CAP: Rule(Retry.LATER, "the coin leaves perpsAtOpenInterestCap"),
    Reason.OPEN_INTEREST_SPEED: Rule(Retry.LATER, "its open interest has stopped growing so fast"),
    Reason.ORACLE_DISTANCE: Rule(Retry.CHANGED, "a price nearer to oracle and mark"),
    Reason.OPEN_ORDERS: Rule(Retry.CHANGED, "cancel orders first: the address has as many as it may", alerts=True),
    Reason.GONE: Rule(Retry.NEVER, "ask for the order: it filled, was cancelled, or never was"),
    Reason.UNKNOWN_WALLET: Rule(Retry.NEVER, "approve the API wallet again, or correct key and address", alerts=True),
    Reason.NO_DEPOSIT: Rule(Retry.NEVER, "deposit, or correct the account's address", alerts=True),
    Reason.ACTION_BUDGET: Rule(Retry.LATER, "one action in 10 s, or volume, frees the address's budget", alerts=True),
    Reason.TOO_MANY_CANCELS: Rule(Retry.CHANGED, "at most 200 cancels an action"),
    Reason.SCHEDULE_VOLUME: Rule(Retry.NEVER, "the account has no dead man's switch before that volume"),
    Reason.LEVERAGE_VALUE: Rule(Retry.CHANGED, "a whole number up to the coin's maximum"),
    Reason.LEVERAGE_MODE: Rule(Retry.LATER, "the coin is flat and has no open orders"),
    Reason.CROSS_FORBIDDEN: Rule(Retry.CHANGED, "isolated margin"),
    Reason.LEVERAGE_MARGIN: Rule(Retry.LATER, "the coin is flat, or has more margin"),
    Reason.POST_ONLY_PERIOD: Rule(Retry.LATER, "the venue's minutes after an upgrade are over; Alo passes now"),
    Reason.NONCE_SPENT: Rule(Retry.SETTLE, "this nonce was used: what it was used for may be this very order"),
    Reason.NONCE_OUT_OF_RANGE: Rule(Retry.NEVER, "set this machine's clock right", alerts=True),
    Reason.EXPIRED: Rule(Retry.CHANGED, "a new decision: this one came too late"),
    Reason.BAD_REQUEST: Rule(Retry.NEVER, "a fault of perpbot: the venue cannot read the request", alerts=True),
    Reason.UNKNOWN: Rule(Retry.NEVER, "a text that perpbot does not know", alerts=True),
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """One refusal: its reason, and the venue's text as it came (cut to a line)."""

    reason: Reason
    text: str

    @property
    def rule(self) -> Rule:
        """What it allows."""
        return RULES[self.reason]


# Patterns of the whole text without its ` asset=<n>` and its full stop. The first that fits counts.
_TEXTS: tuple[tuple[str, Reason], ...] = (
    (r"Price must be divisible by tick size", Reason.TICK),
    (r"Order has invalid price", Reason.TICK),
    (r"Order has invalid size", Reason.LOT),
    (r"Order has zero size", Reason.ZERO_SIZE),
    (r"Order must have minimum value of \$?[\d.]+", Reason.MINIMUM),
    (r"Insufficient margin to place order", Reason.MARGIN),
    (r"Order would cause position to exceed margin tier limit at current leverage", Reason.MARGIN_TIER),
    (r"Reduce only order would increase position", Reason.REDUCE_ONLY),
    (r"Post only order would have immediately matched(, bbo was \S+@\S+)?", Reason.POST_ONLY),
    (r"Order could not immediately match against any resting orders", Reason.NO_MATCH),
    (r"No liquidity available for market order", Reason.NO_LIQUIDITY),
    (r"Invalid TP/SL price", Reason.TRIGGER_PX),
    (r"Order would increase open interest while open interest is capped", Reason.OPEN_INTEREST_CAP),
    (
        r"Order rejected due to price more aggressive than oracle while at open interest cap",
        Reason.OPEN_INTEREST_CAP,
    ),
    (r"Order would increase open interest too quickly", Reason.OPEN_INTEREST_SPEED),
    (r"Order price too far from oracle", Reason.ORACLE_DISTANCE),
    (r"Order price cannot be more than [\d.]+% away from the reference price", Reason.ORACLE_DISTANCE),
    (r"Order was never placed, already canceled, or filled", Reason.GONE),
    (r"User or API Wallet \S+ does not exist", Reason.UNKNOWN_WALLET),
    (r"Must deposit before performing actions\. User: \S+", Reason.NO_DEPOSIT),
    (r"Too many cumulative requests sent \(.*\) for cumulative volume traded .*", Reason.ACTION_BUDGET),
    (r"Signed action over weight limit of \d+", Reason.TOO_MANY_CANCELS),
    (r"Cannot set scheduled cancel time until enough volume traded\..*", Reason.SCHEDULE_VOLUME),
    (r"Invalid leverage value", Reason.LEVERAGE_VALUE),
    (r"Cannot switch leverage type with open position", Reason.LEVERAGE_MODE),
    (r"Cross margin is not allowed for this asset", Reason.CROSS_FORBIDDEN),
    (
        r"(Isolated|Cross) position does not have sufficient margin available to decrease leverage\b.*",
        Reason.LEVERAGE_MARGIN,
    ),
    (r"Only post-only orders allowed immediately after a network upgrade", Reason.POST_ONLY_PERIOD),
    # Public issue threads quote "Invalid nonce: duplicate nonce 1741107452532"; the others are not captured.
    (r"Invalid nonce: .*\bduplicate\b.*", Reason.NONCE_SPENT),
    (r"Invalid nonce: .*\btoo low\b.*", Reason.NONCE_SPENT),
    (r"Nonce error: nonce value is lower than the next valid nonce", Reason.NONCE_SPENT),
    (r"Invalid nonce: .*\btoo (far|high|old)\b.*", Reason.NONCE_OUT_OF_RANGE),
    # Any other word about a nonce may mean that it was used: then the order has to be asked for, not written off.
    (r"(Invalid nonce|Nonce error)\b.*", Reason.NONCE_SPENT),
    (r"Action expired\b.*", Reason.EXPIRED),  # not captured
    (r"Failed to (deserialize|parse) .*", Reason.BAD_REQUEST),
    (r"Expected request with `Content-Type: application/json`", Reason.BAD_REQUEST),
)
_KNOWN = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), reason) for pattern, reason in _TEXTS)
_ASSET = re.compile(r"\s*\basset=\d+\s*$")
_SHOWN = 300

# Statuses of orders that were refused, as orderStatus, historicalOrders and orderUpdates name them.
STATUSES: dict[str, Reason] = {
    "tickRejected": Reason.TICK,
    "minTradeNtlRejected": Reason.MINIMUM,
    "perpMarginRejected": Reason.MARGIN,
    "insufficientSpotBalanceRejected": Reason.MARGIN,
    "perpMaxPositionRejected": Reason.MARGIN_TIER,
    "reduceOnlyRejected": Reason.REDUCE_ONLY,
    "badAloPxRejected": Reason.POST_ONLY,
    "iocCancelRejected": Reason.NO_MATCH,
    "marketOrderNoLiquidityRejected": Reason.NO_LIQUIDITY,
    "badTriggerPxRejected": Reason.TRIGGER_PX,
    "positionIncreaseAtOpenInterestCapRejected": Reason.OPEN_INTEREST_CAP,
    "positionFlipAtOpenInterestCapRejected": Reason.OPEN_INTEREST_CAP,
    "tooAggressiveAtOpenInterestCapRejected": Reason.OPEN_INTEREST_CAP,
    "openInterestIncreaseRejected": Reason.OPEN_INTEREST_SPEED,
    "oracleRejected": Reason.ORACLE_DISTANCE,
    "tooManyOpenOrdersRejected": Reason.OPEN_ORDERS,
}


def rejection_of(text: str) -> Rejection:
    """Return the refusal that an error text of the venue means."""
    shown = " ".join(text.split())
    bare = _ASSET.sub("", shown).rstrip(". ")
    reason = next((reason for pattern, reason in _KNOWN if pattern.fullmatch(bare)), Reason.UNKNOWN)
    return Rejection(reason, shown[:_SHOWN])


def rejection_of_status(status: str) -> Rejection | None:
    """Return the refusal that an order's status means; None for a status that is none."""
    if not status.lower().endswith("rejected"):
        return None
    return Rejection(STATUSES.get(status, Reason.UNKNOWN), status[:_SHOWN])
