"""What reconciling would do: each difference of books and venue with its outlook, and the steps that `--apply` takes.

Pure. Only three things are ever done: a stop is placed for a position that lacks one, and, where the policy for
unknown positions is `flatten`, such a position is closed and an entry order that is not ours is cancelled. Books are
the daemon's: it books the venue's fills when it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from perp_bot.config.model import Config
from perp_bot.core.types import Instrument
from perp_bot.core.venue_account import VenueFill, VenuePosition
from perp_bot.execution.live import reconcile
from perp_bot.execution.live.arming import Bare, bare_positions, liquidation_note
from perp_bot.execution.live.books import Books
from perp_bot.execution.live.direct import View, position_text
from perp_bot.execution.live.outside import OUTSIDE
from perp_bot.execution.live.reconcile import Difference, Drift

_OF_SIZE = (Drift.PHANTOM, Drift.ORPHAN, Drift.SIDE, Drift.SIZE)
_ZERO = Decimal(0)


class Do(StrEnum):
    """What a step does."""

    PLACE_STOP = "place_stop"
    CLOSE = "close"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do at the venue."""

    do: Do
    symbol: str
    text: str
    bare: Bare | None = None
    oid: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A difference, and what becomes of it without anybody's doing."""

    difference: Difference
    outlook: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that differs, everything that would be done, and what is left as it is although it is not well."""

    found: tuple[Found, ...]
    steps: tuple[Step, ...]
    left: tuple[str, ...]
    fills: tuple[VenueFill, ...]  # that are not booked yet

    @property
    def is_well(self) -> bool:
        """Whether books and venue agree and every position is protected."""
        return not self.found and not self.steps and not self.left


def plan(
    config: Config, books: Books, view: View, fills: tuple[VenueFill, ...], instruments: Mapping[str, Instrument]
) -> Plan:
    """Compare what the last daemon stored with the venue.

    Args:
        config: the settings; `execution.unknown_positions` is the policy.
        books: as stored.
        view: positions and open orders, read together.
        fills: the venue's, from a little before the last booked one on.
        instruments: the venue's coins.
    """
    unbooked = books.unbooked(fills)
    leverage = dict.fromkeys(config.trading.symbols, config.trading.leverage)
    differences = reconcile.differences(
        view.account, view.orders, positions=books.positions, orders=books.resting, leverage=leverage
    )
    ours = {order.intent.cloid for order in books.orders}
    differences = tuple(d for d in differences if d.kind is not Drift.FOREIGN_ORDER or d.cloid not in ours)
    policy = config.execution.unknown_positions
    found = tuple(Found(d, _outlook(d, books, view, unbooked, policy)) for d in differences)
    steps: list[Step] = []
    left: list[str] = []
    bare = bare_positions(view.held(None), view.orders, books=books, config=config, instruments=instruments)
    uncovered = {item.position.symbol: item for item in bare}
    for position in view.held(None):
        _of_position(
            position, uncovered.get(position.symbol), _is_known(position, books, unbooked), policy, steps, left
        )
    if policy == "flatten":
        foreign = {d.oid for d in differences if d.kind is Drift.FOREIGN_ORDER}
        for order in view.entries(None):
            if order.oid in foreign:
                text = f"cancel {order.side} {order.left} {order.symbol} at {order.px} (order {order.oid}), not ours"
                steps.append(Step(Do.CANCEL, order.symbol, text, oid=order.oid))
    return Plan(found, tuple(steps), tuple(left), unbooked)


def _of_position(
    position: VenuePosition, bare: Bare | None, is_known: bool, policy: str, steps: list[Step], left: list[str]
) -> None:
    symbol = position.symbol
    if not is_known and policy == "flatten":
        text = f"close {position_text(position)}, which perpbot did not open (execution.unknown_positions: flatten)"
        steps.append(Step(Do.CLOSE, symbol, text))
        return
    if bare is None:
        return
    if not is_known and policy == "refuse":
        left.append(f"{bare.text}; perpbot did not open it and leaves it alone (execution.unknown_positions: refuse)")
        return
    if not bare.prices:
        left.append(f"{bare.text}, and there is no price to place a stop at")
        return
    px = bare.prices[0]
    text = f"place a reduce-only stop of {position_text(position)} at {px} ({bare.coverage:.0%} is covered)"
    steps.append(Step(Do.PLACE_STOP, symbol, text + liquidation_note(position, px), bare))


def _is_known(position: VenuePosition, books: Books, unbooked: tuple[VenueFill, ...]) -> bool:
    """Whether perpbot opened it: by its books, or by a fill of an order of its own that is still to be booked."""
    stored = books.position(position.symbol)
    if stored is not None and stored.side is position.side:
        return stored.strategy != OUTSIDE
    ours = {order.intent.cloid for order in books.orders}
    return any(fill.symbol == position.symbol and fill.cloid in ours for fill in unbooked)


def _outlook(difference: Difference, books: Books, view: View, unbooked: tuple[VenueFill, ...], policy: str) -> str:
    symbol, kind = difference.symbol, difference.kind
    if kind in _OF_SIZE:
        fills = [fill for fill in unbooked if fill.symbol == symbol]
        stored = books.position(symbol)
        booked = (_ZERO if stored is None else stored.signed_size) + sum(
            (fill.size * fill.side.sign for fill in fills), _ZERO
        )
        if fills and booked == view.account.signed_size(symbol):
            many = len(fills) > 1
            what = f"{len(fills)} fills since explain it" if many else "a fill since explains it"
            return f"{what}; the daemon books {'them' if many else 'it'} at its next start"
        if books.booked_until_ms is None:
            return f"nothing was traded here yet; the first start takes it into the books ({policy})"
        return "the fills since do not explain it; a daemon makes no entries until it is explained"
    if kind is Drift.PRICE:
        return "told, and left as it is"
    if kind is Drift.LEVERAGE:
        held = view.account.signed_size(symbol) != 0
        return "no entries of this coin while it is held" if held else "the daemon sets it at its next start"
    if kind is Drift.FOREIGN_ORDER:
        return "left alone" if policy != "flatten" or _is_reducing(difference, view) else "see the steps"
    return "the daemon asks for it at its next start"


def _is_reducing(difference: Difference, view: View) -> bool:
    return any(order.oid == difference.oid and order.reduce_only for order in view.orders)
