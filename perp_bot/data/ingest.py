"""From the stream's bytes to the loop's queue: decode, check, pass on; runs on the socket thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from perp_bot.core.account_events import FillsReported, FundingReported, OrdersReported
from perp_bot.core.clock import VenueClock, monotonic_s, wall_ms
from perp_bot.core.errors import BadAnswer
from perp_bot.core.events import ClockFrame, MarketSink
from perp_bot.core.types import CandleSource, PublicTrade
from perp_bot.data.account_wire import fill_of, funding_of, report_of
from perp_bot.data.asset_minutes import AssetMinutes
from perp_bot.data.candles import CandleManager
from perp_bot.data.db.rows import AssetMinute
from perp_bot.data.messages import (
    AllMidsFrame,
    BboFrame,
    BookFrame,
    CandleFrame,
    ContextFrame,
    ErrorFrame,
    Frame,
    OrderUpdatesFrame,
    PongFrame,
    PracticeClockFrame,
    SubscribedFrame,
    TradesFrame,
    UnknownChannel,
    UserFillsFrame,
    UserFundingsFrame,
    decode,
)
from perp_bot.data.wire import book_of, candle_of, context_of, trade_of

log = logging.getLogger(__name__)

FUTURE_TOLERANCE_S = 2.0
REMEMBERED_TRADES = 8192
LOG_EVERY_S = 60.0


class Settling(Protocol):
    """What the ingest needs of the REST worker."""

    def wake(self) -> None:
        """Look at the chores now."""

    def hold(self) -> None:
        """Begin no chore."""

    def release(self) -> None:
        """Go on, now."""

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait until the loop's reads are done."""


class SeenTrades:
    """Remember the newest trade ids of a coin, so that a re-subscription's first frame is not counted twice."""

    def __init__(self, remembered: int = REMEMBERED_TRADES) -> None:
        self._remembered = remembered
        self._new: set[int] = set()
        self._old: set[int] = set()

    def is_new(self, tid: int) -> bool:
        """Return whether `tid` comes for the first time, and remember it."""
        if tid in self._new or tid in self._old:
            return False
        self._new.add(tid)
        if len(self._new) >= self._remembered:
            self._old, self._new = self._new, set()
        return True


class StreamIngest:
    """Take frames; keep the age of every channel and coin."""

    def __init__(
        self,
        *,
        clock: VenueClock,
        sink: MarketSink,
        candles: CandleManager,
        worker: Settling,
        store_minute: Callable[[AssetMinute], None],
        settle_timeout_s: float,
        on_empty_book: Callable[[str], None] = lambda symbol: None,
    ) -> None:
        """`on_empty_book` hears, once a minute at most, of a coin whose book is empty: it may have been delisted."""
        self._clock = clock
        self._sink = sink
        self._candles = candles
        self._worker = worker
        self._store_minute = store_minute
        self._settle_timeout_s = settle_timeout_s
        self._on_empty_book = on_empty_book
        self._minutes = AssetMinutes()
        self._seen: dict[str, SeenTrades] = {}
        self._book_ms: dict[str, int] = {}
        self._logged_s: dict[str, float] = {}
        self._received_s: dict[tuple[str, str], float] = {}
        self.last_data_s: float | None = None
        self.confirmed: set[tuple[str, str, str]] = set()  # (type, coin, interval) that the venue acknowledged
        self.bad_frames = 0
        self.late_frames = 0
        self.future_frames = 0
        self.venue_errors = 0
        self.last_problem: str | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            BookFrame: self._on_book,
            TradesFrame: self._on_trades,
            CandleFrame: self._on_candle,
            ContextFrame: self._on_context,
            PracticeClockFrame: self._on_practice_clock,
            BboFrame: self._on_bbo,
            AllMidsFrame: self._on_mids,
            SubscribedFrame: self._on_subscribed,
            ErrorFrame: self._on_error,
            PongFrame: self._on_pong,
            OrderUpdatesFrame: self._on_orders,
            UserFillsFrame: self._on_fills,
            UserFundingsFrame: self._on_fundings,
        }

    def ages_s(self) -> dict[tuple[str, str], float]:
        """Return seconds since the last frame of each (channel, coin)."""
        now_s = monotonic_s()
        return {key: now_s - received_s for key, received_s in list(self._received_s.items())}

    def drain_minutes(self) -> None:
        """Store the minutes under way; after the socket thread has ended."""
        for row in self._minutes.drain():
            self._store_minute(row)

    def take(self, payload: bytes | memoryview) -> None:
        """Decode one message and pass it on; an unusable one is counted and logged, never passed on."""
        try:
            frame: Frame = decode(payload)
            self._handlers[type(frame)](frame)
        except UnknownChannel as error:
            self._log_sometimes("channel", str(error))
        except BadAnswer as error:
            self.bad_frames += 1
            self.last_problem = str(error)
            self._log_sometimes("bad frame", f"{error} ({self.bad_frames} unusable frames so far)")

    # ------------------------------------------------------------ channels

    def _on_book(self, frame: BookFrame) -> None:
        book = book_of(frame.data)
        self._touch("l2Book", book.symbol)
        if book.venue_ms < self._book_ms.get(book.symbol, 0):
            self.late_frames += 1
            return
        if self._observe(book.venue_ms):
            self._book_ms[book.symbol] = book.venue_ms
        self._sink.put_book(book)
        if not book.bids and not book.asks and self._log_sometimes(f"book {book.symbol}", f"{book.symbol}: empty book"):
            self._on_empty_book(book.symbol)

    def _on_trades(self, frame: TradesFrame) -> None:
        if not frame.data:
            return
        fresh: list[PublicTrade] = []
        for row in frame.data:
            seen = self._seen.get(row.coin)
            if seen is None:
                seen = self._seen[row.coin] = SeenTrades()
            if seen.is_new(row.tid):
                fresh.append(trade_of(row))
        self._touch("trades", frame.data[0].coin)
        if fresh:
            self._sink.put_trades(tuple(fresh))

    def _on_candle(self, frame: CandleFrame) -> None:
        candle = candle_of(frame.data, CandleSource.STREAM)
        self._touch(f"candle:{candle.timeframe}", candle.symbol)
        if self._candles.on_stream(candle):
            self._worker.wake()

    def _on_context(self, frame: ContextFrame) -> None:
        found = frame.data
        if found.time is not None:
            self._observe(found.time)
        venue_ms = self._clock.now_ms() if found.time is None else found.time
        context = context_of(found.coin, venue_ms, found.ctx)
        self._touch("activeAssetCtx", found.coin)
        if context is None:
            self._log_sometimes(found.coin, f"{found.coin} has no mark or oracle price")
            return
        self._sink.put_context(context)
        row = self._minutes.add(context)
        if row is not None:
            self._store_minute(row)

    def _on_practice_clock(self, frame: PracticeClockFrame) -> None:
        """At `step`: end the batch, have its closes confirmed, and only then read the next frames."""
        venue_ms = frame.data.time
        self._touch("practiceClock", "")
        if not self._clock.stepped:
            self._observe(venue_ms)
            return
        # The boundary is due before the seal, so that nobody who sees the frame finds the market side settled; but
        # what the worker reports of it comes after the seal.
        self._worker.hold()
        self._clock.observe(venue_ms)
        self._candles.on_clock(venue_ms)
        self._sink.seal(ClockFrame(venue_ms))
        self._worker.release()
        if not self._worker.wait_settled(self._settle_timeout_s):
            self._log_sometimes("settle", "the reads of a step were not done in time; going on")

    def _on_bbo(self, frame: BboFrame) -> None:
        self._touch("bbo", frame.data.coin)

    def _on_mids(self, frame: AllMidsFrame) -> None:
        self._touch("allMids", "")

    def _on_orders(self, frame: OrderUpdatesFrame) -> None:
        self._touch("orderUpdates", "")
        if frame.data:
            self._sink.put_event(OrdersReported(tuple(report_of(row) for row in frame.data)))

    def _on_fills(self, frame: UserFillsFrame) -> None:
        """Pass fills on, oldest first: a snapshot comes newest first, and the loop knows which it has booked."""
        self._touch("userFills", "")
        fills = sorted((fill_of(row) for row in frame.data.fills), key=lambda fill: (fill.at_ms, fill.oid))
        if fills:
            self._sink.put_event(FillsReported(tuple(fills)))

    def _on_fundings(self, frame: UserFundingsFrame) -> None:
        self._touch("userFundings", "")
        payments = sorted((funding_of(row) for row in frame.data.fundings), key=lambda payment: payment.at_ms)
        if payments:
            self._sink.put_event(FundingReported(tuple(payments)))

    def _on_subscribed(self, frame: SubscribedFrame) -> None:
        what = frame.data.subscription
        key = (str(what.get("type")), str(what.get("coin") or ""), str(what.get("interval") or ""))
        self.confirmed.add(key)

    def _on_error(self, frame: ErrorFrame) -> None:
        self.venue_errors += 1
        self.last_problem = f"the venue says: {frame.data[:200]}"
        log.warning("market stream: %s", self.last_problem)

    def _on_pong(self, frame: PongFrame) -> None:
        """The socket lives; the connection itself keeps that age."""

    # ------------------------------------------------------------ helpers of the above

    def _touch(self, channel: str, coin: str) -> None:
        now_s = monotonic_s()
        self._received_s[(channel, coin)] = now_s
        self.last_data_s = now_s

    def _observe(self, venue_ms: int) -> bool:
        """Let the clock follow the venue's time; return False for a time from the future, which it does not follow.

        At `step` the clock frame alone moves the clock. The machine's clock vouches for a jump after a suspend.
        """
        clock = self._clock
        if clock.stepped:
            return True
        now_ms = clock.now_ms()
        if venue_ms <= now_ms:
            return True
        speed = clock.speed or 1.0
        bound_ms = now_ms + FUTURE_TOLERANCE_S * 1000 * max(1.0, speed)
        if speed == 1.0:
            bound_ms = max(bound_ms, wall_ms() + FUTURE_TOLERANCE_S * 1000)
        if venue_ms > bound_ms:
            self.future_frames += 1
            ahead_s = (venue_ms - now_ms) / 1000.0
            self.last_problem = f"the venue's messages are {ahead_s:.1f} s ahead of its own clock"
            self._log_sometimes("future", self.last_problem)
            return False
        clock.observe(venue_ms)
        return True

    def _log_sometimes(self, key: str, text: str) -> bool:
        """Log at most once a minute for each key; return whether it was now."""
        now_s = monotonic_s()
        last_s = self._logged_s.get(key)
        if last_s is not None and now_s - last_s < LOG_EVERY_S:
            return False
        self._logged_s[key] = now_s
        log.warning("market stream: %s", text)
        return True
