"""Our orders and the positions that the venue's fills add up to, with what the loop has to hear of both."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from perp_bot.core.errors import OrderRuleError
from perp_bot.core.types import Fill, Order, OrderRole, Position
from perp_bot.core.venue_account import VenueFill
from perp_bot.execution import orders
from perp_bot.execution.executor import OrderEvent, OrderFilled, OrderUpdate
from perp_bot.execution.live.identities import SOURCE
from perp_bot.execution.live.outside import PREFIX
from perp_bot.execution.live.protection import protection
from perp_bot.execution.live.voice import Voice
from perp_bot.execution.live.working import Working
from perp_bot.execution.positions import StopRule, after_fill, realized_by

_FINISHED_KEPT = 1_000


class Ledger:
    """One owner for orders and positions; who changes them does it here, and the loop hears of it."""

    def __init__(self, stop_rule: StopRule, voice: Voice) -> None:
        self._stop_rule = stop_rule
        self._voice = voice
        self.live: dict[str, Working] = {}  # by cloid, in the order of submission
        self.finished: dict[str, Order] = {}
        self.outside: dict[str, Order] = {}  # what stands for others' orders, by their cloid here
        self.positions: dict[str, Position] = {}
        self._events: list[OrderEvent] = []
        self._ended: list[Order] = []

    # ------------------------------------------------------------ reading

    @property
    def held(self) -> tuple[Position, ...]:
        """Positions, by symbol."""
        return tuple(self.positions[symbol] for symbol in sorted(self.positions))

    @property
    def live_orders(self) -> tuple[Order, ...]:
        """Orders that can still fill, stops included, in the order of submission."""
        return tuple(working.order for working in self.live.values())

    def protective(self) -> tuple[Order, ...]:
        """Return the live orders that may count as protection: one that is being cancelled protects nothing."""
        return tuple(working.as_rests for working in self.live.values() if working.cancel_note is None)

    def coverage(self, symbol: str) -> Decimal | None:
        """Return which share of a position resting stops cover, 0..1; None when flat."""
        position = self.positions.get(symbol)
        return None if position is None else protection(position, self.protective()).coverage

    def drain(self) -> list[OrderEvent]:
        """Return and clear the events since the last call, in order."""
        events, self._events = self._events, []
        return events

    def take_ended(self) -> tuple[Order, ...]:
        """Return and clear the orders that have ended since the last call, with a fill or without."""
        ended, self._ended = tuple(self._ended), []
        return ended

    # ------------------------------------------------------------ changing

    def restore(self, stored: Iterable[Order]) -> None:
        """Take every stored order; one that was not answered is asked for at once."""
        for order in stored:
            cloid = order.intent.cloid
            if cloid.startswith(PREFIX):
                self.outside[cloid] = order
            elif not order.is_live:
                self.finished[cloid] = order
            else:
                asked = orders.unanswered(order, order.updated_ms, "its answer was lost with the last run")
                self.live[cloid] = Working(asked, look_again_at_s=0.0)
                if asked is not order:
                    self.tell(asked)

    def tell(self, order: Order) -> None:
        """Let the loop hear of an order as it stands."""
        self._events.append(OrderUpdate(order))

    def keep(self, working: Working, order: Order) -> None:
        """Give an order under way its new value, and tell."""
        working.order = order
        self.tell(order)

    def store(self, order: Order) -> None:
        """Remember an order's new value where it belongs now."""
        cloid = order.intent.cloid
        if cloid.startswith(PREFIX):
            self.outside[cloid] = order
        elif cloid in self.live and order.is_live:
            self.live[cloid].order = order
        else:
            if self.live.pop(cloid, None) is not None:
                self._ended.append(order)
            self.finished[cloid] = order
            if len(self.finished) > _FINISHED_KEPT:
                del self.finished[next(iter(self.finished))]

    def book(self, fill: VenueFill, order: Order, fill_id: str) -> bool:
        """Book one fill: the order's new value, the position, the event; return whether a position is gone with it."""
        intent, symbol = order.intent, fill.symbol
        before = self.positions.get(symbol)
        booked = Fill(
            fill_id=fill_id,
            cloid=intent.cloid,
            symbol=symbol,
            side=fill.side,
            px=fill.px,
            size=fill.size,
            fee_usd=fill.fee_usd,
            liquidity=fill.liquidity,
            venue_ms=fill.at_ms,
            role=intent.role,
            strategy=intent.strategy,
            source=SOURCE,
            reason=intent.reason,
            closed_pnl_usd=realized_by(before, fill.side, fill.size, fill.px),
        )
        try:
            filled = orders.filled(order, fill.size, fill.px, fill.at_ms)
        except OrderRuleError as error:
            # The money has moved, whatever our order says: it is booked, and a person looks at it.
            self._voice.tell("RECONCILE", f"a fill that its order does not allow: {error}", symbol, grave=True)
            filled = order
        effect = after_fill(before, booked, intent, self._stop_rule)
        if effect.position is None:
            self.positions.pop(symbol, None)
        else:
            self.positions[symbol] = effect.position
            self._shrink_stops(effect.position)
        self.store(filled)
        self._events.append(OrderFilled(filled, booked))
        return effect.position is None or (before is not None and effect.position.side is not before.side)

    def _shrink_stops(self, position: Position) -> None:
        """What rests reduce-only is never larger than the position, and does not grow with it again."""
        for working in self.live.values():
            if working.order.intent.symbol == position.symbol:
                working.shrink(position.size)

    def entries_of(self, symbol: str) -> list[Working]:
        """Return the entry orders of a coin that can still fill."""
        return [
            working
            for working in self.live.values()
            if working.order.intent.symbol == symbol and working.order.intent.role is OrderRole.ENTRY
        ]
