"""To the venue without a daemon: step by step, each step judged by what the venue's account says after it.

For the command line and the watchdog, one thread each. Nothing here adds exposure: it cancels, closes reduce-only and
rests stops. An answer is never trusted for more than it says: entries are gone when two reads of the open orders show
none, a position is closed when two reads of the account show none, a stop rests when it is among the open orders. An
unknown outcome is settled (`unknown`) before the same is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from threading import Event
from typing import TypeVar

from perp_bot.core.clock import Clock, monotonic_s
from perp_bot.core.errors import OrderRuleError, PerpBotError, VenueError
from perp_bot.core.rounding import Rounding, quantize_price
from perp_bot.core.types import AssetContext, Book, Instrument, OrderRole, OrderSide
from perp_bot.core.venue_account import RestingOrder, VenueAccount, VenuePosition
from perp_bot.data.account_reads import AccountReads
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.fills import stop_limit_px
from perp_bot.execution.live import asking, unknown, wire
from perp_bot.execution.live.answers import Refused, Unclear
from perp_bot.execution.live.identities import direct_cloid
from perp_bot.execution.live.nonces import NonceCounter
from perp_bot.execution.live.pricing import EXIT_BOUNDS, taker_px
from perp_bot.execution.live.rejections import Reason
from perp_bot.execution.live.sender import SAME_NONCE_AGAIN_S, Accepted, NotSent, Outcome, Rejected, Sender, Unknown

LOG = logging.getLogger(__name__)

T = TypeVar("T")

WITHIN_S = 60.0  # for one call of `cancel_entries`, `close` or `arm`, and one request more
BETWEEN_READS_S = 0.25  # two reads that say the same count as two only with some time between them
MAX_CLOSES = 10  # closing orders of one coin
_READS = 2
_MAX_STOP_CANCELS = 5
_WAIT_S = 5.0  # for the weight budget
_PAUSE_FIRST_S, _PAUSE_MAX_S = 0.25, 2.0
_SEEN_WITHIN_S = (0.0, 0.25, 1.0)  # reads may lag behind what was taken


class Flatness(StrEnum):
    """How a closing ended."""

    FLAT = "flat"  # read twice
    PARTLY_FLAT = "partly_flat"  # the last read shows what is left
    UNKNOWN = "unknown"  # the venue could not be read to the end


@dataclass(frozen=True, slots=True)
class View:
    """Positions and open orders, read together. `symbol` None: of every perp."""

    account: VenueAccount
    orders: tuple[RestingOrder, ...]

    def held(self, symbol: str | None) -> tuple[VenuePosition, ...]:
        """Return the open positions."""
        return tuple(p for p in self.account.positions if p.signed_size != 0 and symbol in (None, p.symbol))

    def entries(self, symbol: str | None) -> tuple[RestingOrder, ...]:
        """Return what rests and could add exposure: everything that is not reduce-only, triggers included."""
        return tuple(o for o in self.orders if not o.reduce_only and symbol in (None, o.symbol))

    def protective(self, symbol: str | None) -> tuple[RestingOrder, ...]:
        """Return what rests and can only reduce: stops, targets, closing limits."""
        return tuple(o for o in self.orders if o.reduce_only and symbol in (None, o.symbol))


@dataclass(frozen=True, slots=True)
class EntriesGone:
    """What became of resting entries; certain when `left` is empty and there is no `trouble`."""

    gone: int
    left: tuple[RestingOrder, ...] = ()
    trouble: str = ""
    view: View | None = None  # the last read

    @property
    def is_certain(self) -> bool:
        """Whether two reads saw none."""
        return not self.left and not self.trouble


@dataclass(frozen=True, slots=True)
class Closing:
    """How a closing ended. With `flat`, reasons name what was left undone beside it (stops that still rest)."""

    flatness: Flatness
    reasons: tuple[str, ...] = ()
    orders_sent: int = 0

    @property
    def is_certain(self) -> bool:
        """Whether all of it is done and read twice."""
        return self.flatness is Flatness.FLAT and not self.reasons


@dataclass(frozen=True, slots=True)
class NotArmed:
    """Why a stop does not rest; `is_passed`: the mark is beyond its price already."""

    text: str
    is_passed: bool = False


@dataclass(slots=True)
class _Attempts:
    """One closing as it goes on."""

    sent: dict[str, int] = field(default_factory=dict)  # closing orders by coin
    widened: dict[str, int] = field(default_factory=dict)  # those that the venue has looked at
    why: dict[str, str] = field(default_factory=dict)  # what it said of the last one
    flat_reads: int = 0
    stop_cancels: int = 0
    rounds: int = 0
    held: str = ""  # by the last read


class Direct:
    """Acts for one account with one key, which this process has locked. Used by one thread."""

    def __init__(
        self,
        *,
        sender: Sender,
        reads: AccountReads,
        nonces: NonceCounter,
        market: VenueClient,
        instruments: Mapping[str, Instrument],
        clock: Clock,
        run: str,
        within_s: float = WITHIN_S,
    ) -> None:
        """`run` is unique: client order ids are derived from it."""
        self._sender = sender
        self._reads = reads
        self._nonces = nonces
        self._market = market
        self._instruments = instruments
        self._clock = clock
        self._run = run
        self._within_s = within_s
        self._deadline_s = 0.0
        self._number = 0

    # ------------------------------------------------------------ what can be asked of it

    def look(self) -> View:
        """Return positions and open orders of perps, asking again for a while; VenueError when nothing helps."""
        self._begin()
        return self._look()

    def cancel_entries(self, symbol: str | None = None) -> EntriesGone:
        """Cancel everything that could add exposure, until two reads show none; what protects stays."""
        self._begin()
        seen: set[int] = set()
        clear, trouble, view = 0, "", None
        try:
            while True:
                view = self._look()
                resting = view.entries(symbol)
                seen.update(order.oid for order in resting)
                if not resting:
                    clear += 1
                    if clear >= _READS:
                        return EntriesGone(len(seen), view=view)
                    self._pause(BETWEEN_READS_S)
                    continue
                clear = 0
                if self._is_late():
                    gone = len(seen) - len(resting)
                    return EntriesGone(gone, resting, trouble or "they come back", view)
                if trouble:
                    self._pause(_PAUSE_FIRST_S)
                trouble = self._cancel(resting)
        except VenueError as error:
            return EntriesGone(0, (), str(error), view)

    def close(self, symbol: str | None = None, *, keep_stops: bool = False) -> Closing:
        """Cancel entries, close positions reduce-only within widening bounds, read flat twice, then cancel the stops.

        Stops stay until flat; with `keep_stops` for good.
        """
        self._begin()
        run = _Attempts()
        try:
            return self._closed(symbol, run, keep_stops=keep_stops)
        except VenueError as error:
            sent = sum(run.sent.values())
            if run.flat_reads >= _READS:
                return Closing(Flatness.FLAT, (f"whether stops still rest is not known: {error}",), sent)
            before = f"{run.held} at the last read; " if run.held else ""
            return Closing(Flatness.UNKNOWN, (f"{before}{error}",), sent)

    def cancel(self, oid: int) -> str:
        """Cancel one order; return why it still rests, nothing when it does not."""
        self._begin()
        try:
            while True:
                found = [order for order in self._look().orders if order.oid == oid]
                if not found:
                    return ""
                if self._is_late():
                    return "it still rests"
                trouble = self._cancel(found)
                if trouble:
                    LOG.warning("order %d: %s", oid, trouble)
                    self._pause(_PAUSE_FIRST_S)
        except VenueError as error:
            return f"whether it still rests is not known: {error}"

    def arm(self, position: VenuePosition, trigger_px: Decimal) -> NotArmed | None:
        """Rest a reduce-only stop of a whole position; return why it does not rest, None when it is seen resting."""
        self._begin()
        instrument = self._instruments.get(position.symbol)
        if instrument is None:
            return NotArmed(f"the venue has no perp called {position.symbol}")
        cloid = self._cloid(position.symbol, OrderRole.STOP)
        side = position.side.closing
        # Rounded away from the trigger, as the executor's stops: one that cannot take its worst price is none.
        away = Rounding.DOWN if side is OrderSide.SELL else Rounding.UP
        try:
            px = quantize_price(stop_limit_px(side, trigger_px), instrument.sz_decimals, away)
            execution = wire.Trigger(trigger_px, wire.TriggerKind.STOP_LOSS)
            order = wire.VenueOrder(
                instrument.asset_id, side, px, abs(position.signed_size), execution, reduce_only=True, cloid=cloid
            )
            action = wire.order_action([order])
        except OrderRuleError as error:
            return NotArmed(str(error))
        outcome = self._post(action, RequestClass.PROTECTIVE, (cloid,))
        trouble = _trouble(outcome)
        try:
            for pause_s in (0.0,) if trouble else _SEEN_WITHIN_S:
                self._pause(pause_s)
                if any(order.cloid == cloid for order in self._look().orders):
                    return None
        except VenueError as error:
            return NotArmed(f"whether it rests is not known: {error}")
        passed = isinstance(outcome, Accepted) and any(
            isinstance(a.entry, Refused) and a.entry.rejection.reason is Reason.TRIGGER_PX for a in outcome.answers
        )
        return NotArmed(trouble or "it was taken and does not rest", is_passed=passed)

    # ------------------------------------------------------------ closing

    def _closed(self, symbol: str | None, run: _Attempts, *, keep_stops: bool) -> Closing:
        while True:
            view = self._look()
            held, entries = view.held(symbol), view.entries(symbol)
            run.held = ", ".join(position_text(p) for p in held)
            sent = sum(run.sent.values())
            if not held and not entries:
                run.flat_reads += 1
                if run.flat_reads < _READS:
                    self._pause(BETWEEN_READS_S)
                    continue
                stops = () if keep_stops else view.protective(symbol)
                if not stops:
                    return Closing(Flatness.FLAT, (), sent)
                if run.stop_cancels >= _MAX_STOP_CANCELS or self._is_late():
                    return Closing(Flatness.FLAT, (f"{len(stops)} stops still rest: {run.why.get('', '')}",), sent)
                run.stop_cancels += 1
                run.why[""] = self._cancel(stops)
                continue
            run.flat_reads = 0
            if self._is_late() or (held and all(run.sent.get(p.symbol, 0) >= MAX_CLOSES for p in held)):
                return Closing(Flatness.PARTLY_FLAT, _left(held, entries, run), sent)
            if run.rounds:
                self._pause(min(_PAUSE_MAX_S, _PAUSE_FIRST_S * 2 ** (run.rounds - 1)))
            if entries:
                run.why["entries"] = self._cancel(entries)
            if held:
                self._close_once(held, run)
            run.rounds += 1

    def _close_once(self, held: Sequence[VenuePosition], run: _Attempts) -> None:
        """Send one closing order a coin: all in one action first, after that one action each.

        A coin that the venue finds fault with must not hold up the others for good.
        """
        contexts: dict[str, AssetContext] = {}
        orders: list[tuple[str, wire.VenueOrder]] = []
        for position in held:
            try:
                orders.append((position.symbol, self._closing_order(position, contexts, run)))
            except OrderRuleError as error:
                run.sent[position.symbol] = run.sent.get(position.symbol, 0) + 1
                run.why[position.symbol] = str(error)
        batches = [orders] if run.rounds == 0 else [[order] for order in orders]
        for batch in batches:
            if not batch:
                continue
            action = wire.order_action([order for _, order in batch])
            outcome = self._post(action, RequestClass.EXIT, tuple(str(order.cloid) for _, order in batch))
            answers = outcome.answers if isinstance(outcome, Accepted) else (None,) * len(batch)
            for (symbol, _), answer in zip(batch, answers, strict=True):
                run.sent[symbol] = run.sent.get(symbol, 0) + 1
                if not isinstance(outcome, NotSent):
                    run.widened[symbol] = run.widened.get(symbol, 0) + 1
                entry = None if answer is None else answer.entry
                run.why[symbol] = entry.rejection.text if isinstance(entry, Refused) else _trouble(outcome)

    def _closing_order(
        self, position: VenuePosition, contexts: dict[str, AssetContext], run: _Attempts
    ) -> wire.VenueOrder:
        symbol, side = position.symbol, position.side.closing
        instrument = self._instruments.get(symbol)
        if instrument is None:
            raise OrderRuleError(f"the venue has no perp called {symbol}")
        bound = EXIT_BOUNDS[min(run.widened.get(symbol, 0), len(EXIT_BOUNDS) - 1)]
        book = self._book(symbol)
        if book is None or not (book.asks if side is OrderSide.BUY else book.bids):
            if not contexts:
                contexts.update(self._contexts())
            book = None
        px = taker_px(side, instrument.sz_decimals, book, contexts.get(symbol), bound)
        cloid = self._cloid(symbol, OrderRole.EXIT)
        size = abs(position.signed_size)
        return wire.VenueOrder(instrument.asset_id, side, px, size, wire.Tif.IOC, reduce_only=True, cloid=cloid)

    def _book(self, symbol: str) -> Book | None:
        try:
            return self._market.book(symbol, request_class=RequestClass.EXIT)
        except VenueError as error:
            LOG.warning("%s: no book, the mark bounds the price: %s", symbol, error)
            return None

    def _contexts(self) -> dict[str, AssetContext]:
        try:
            return {c.symbol: c for c in self._market.contexts(request_class=RequestClass.EXIT)}
        except VenueError as error:
            LOG.warning("no marks: %s", error)
            return {}

    # ------------------------------------------------------------ reads and actions

    def _look(self) -> View:
        account = self._read(lambda: self._reads.account(RequestClass.PROTECTIVE))
        orders = self._read(lambda: self._reads.open_orders(RequestClass.PROTECTIVE))
        return View(account, tuple(order for order in orders if order.symbol in self._instruments))  # spot ones too

    def _read(self, read: Callable[[], T]) -> T:
        pause_s = _PAUSE_FIRST_S
        while True:
            try:
                return read()
            except VenueError as error:
                if not error.retryable or monotonic_s() + pause_s >= self._deadline_s:
                    raise
                LOG.warning("asking again: %s", error)
            self._pause(pause_s)
            pause_s = min(_PAUSE_MAX_S, pause_s * 2)

    def _cancel(self, orders: Sequence[RestingOrder]) -> str:
        """Ask for cancels; return what went wrong, which the next read judges."""
        found = [(self._instruments[order.symbol].asset_id, order.oid) for order in orders]
        troubles = [
            _trouble(self._post(wire.cancel_action(found[at : at + wire.MAX_CANCELS]), RequestClass.PROTECTIVE))
            for at in range(0, len(found), wire.MAX_CANCELS)
        ]
        return next((text for text in troubles if text), "")

    def _post(self, action: wire.Action, cls: RequestClass, cloids: tuple[str, ...] = ()) -> Outcome:
        """Send an action once and settle what is unknown of its orders; cancels need no settling, they may repeat."""
        try:
            nonce = self._nonces.take()
        except PerpBotError as error:
            return NotSent(str(error))
        sent_ms = self._clock.now_ms()
        outcome = self._sender.sign_and_post(action, nonce, None, request_class=cls, max_wait_s=_WAIT_S)
        if isinstance(outcome, NotSent) and outcome.reached_venue:
            for pause_s in SAME_NONCE_AGAIN_S:  # whatever answered may stand before the venue
                self._pause(pause_s)
                outcome = self._sender.sign_and_post(action, nonce, None, request_class=cls, max_wait_s=_WAIT_S)
                if not isinstance(outcome, NotSent):
                    break
            else:
                outcome = Unknown(outcome.why)
        is_unclear = isinstance(outcome, Accepted) and any(isinstance(a.entry, Unclear) for a in outcome.answers)
        if cloids and (isinstance(outcome, Unknown) or is_unclear):
            self._settle(cloids, nonce, sent_ms, cls)
        return outcome

    def _settle(self, cloids: tuple[str, ...], nonce: int, sent_ms: int, cls: RequestClass) -> None:
        state = unknown.settling(cloids)
        while state.step is not None:
            if self._is_late():
                LOG.warning("not settled in time: %s", ", ".join(cloids))
                return
            asked = asking.perform(
                state.step, cloids=cloids, nonce=nonce, sent_ms=sent_ms, cls=cls, sender=self._sender, reads=self._reads
            )
            before, state = state, unknown.after(state, asked.answer)
            self._pause(asking.pause_s(before, state))
        LOG.info("settled: %s", "; ".join(str(verdict) for verdict in state.verdicts))

    # ------------------------------------------------------------ small things

    def _begin(self) -> None:
        self._deadline_s = monotonic_s() + self._within_s

    def _is_late(self) -> bool:
        return monotonic_s() >= self._deadline_s

    @staticmethod
    def _pause(seconds: float) -> None:
        if seconds > 0:
            Event().wait(seconds)

    def _cloid(self, symbol: str, role: OrderRole) -> str:
        self._number += 1
        return direct_cloid(self._run, symbol, role, self._number)


def position_text(position: VenuePosition) -> str:
    """Return a position of the venue in words: `LONG 0.01 BTC`."""
    return f"{position.side.upper()} {abs(position.signed_size)} {position.symbol}"


def _trouble(outcome: Outcome) -> str:
    """Return what went wrong, in the venue's words; nothing where it was taken."""
    if isinstance(outcome, Accepted):
        return next((a.entry.rejection.text for a in outcome.answers if isinstance(a.entry, Refused)), "")
    if isinstance(outcome, Rejected):
        return outcome.rejection.text
    return outcome.why


def _left(held: Sequence[VenuePosition], entries: Sequence[RestingOrder], run: _Attempts) -> tuple[str, ...]:
    found = [f"{position_text(p)} is left: {run.why.get(p.symbol) or 'not closed in time'}" for p in held]
    if entries:
        found.append(f"{len(entries)} entry orders still rest: {run.why.get('entries') or 'they come back'}")
    return tuple(found)
