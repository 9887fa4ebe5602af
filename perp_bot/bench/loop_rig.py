"""A trading loop with a real queue, journal and database, and a market side that only answers questions."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from perp_bot.config.model import Config, DataConfig, ExecutionConfig, RiskConfig, SignalsConfig
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.events import BoundaryClosed, CloseStatus, SeriesClose
from perp_bot.core.timeframes import FIXED_MS
from perp_bot.core.types import (
    AssetContext,
    Book,
    BookLevel,
    Candle,
    Instrument,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderType,
)
from perp_bot.data.db.pending import Unit
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import DecisionRow, OrderRow, Row, TradeRow
from perp_bot.data.db.writer import Writer
from perp_bot.data.market import FeedHealth
from perp_bot.data.recorder import Recorder
from perp_bot.ipc.tokens import TokenStore
from perp_bot.strategies import registry
from perp_bot.trading import recovery
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.boundary import BoundaryDesk
from perp_bot.trading.controls import Controls
from perp_bot.trading.history import SeriesHistory
from perp_bot.trading.journal import Journal
from perp_bot.trading.live_account import LivePorts
from perp_bot.trading.loop import Hooks, TradingLoop
from perp_bot.trading.notes import Notes
from perp_bot.trading.outside import RecordedOutside
from perp_bot.trading.queue import EventQueue

TIMEFRAME = "15m"
STEP_MS = FIXED_MS[TIMEFRAME]
INSTRUMENTS: dict[str, Instrument] = {"BTC": Instrument("BTC", 0, 5, 40), "ETH": Instrument("ETH", 1, 4, 25)}
# Thresholds that enter or leave at every few closes: orders, not holds, are what takes long.
LIVELY = SignalsConfig(
    zscore_entry_threshold=1.0, zscore_exit_threshold=0.9, zscore_stop_threshold=9.0, bollinger_std=1.0,
    rsi_overbought=50.5, rsi_oversold=49.5, adx_threshold=100.0,
)  # fmt: skip
_HEALTH = FeedHealth(
    connected=True, reconnects=0, last_message_age_s=0.0, ages_s={}, messages=0, bad_frames=0, future_frames=0,
    subscriptions=0, subscriptions_confirmed=0, last_stream_problem=None, rest_ok=True, last_rest_error=None,
    last_rest_ok_age_s=0.0, weight_used=0, weight_limit=1200, clock_skew_ms=None, wall_skew_ms=None,
)  # fmt: skip


class QuietMarket:
    """Answers what the loop asks; brings nothing by itself."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Two coins."""
        return INSTRUMENTS

    def request_funding(self, symbol: str, hour_ms: int) -> None:
        """Ignore it: no rate ever comes."""

    def is_settled(self) -> bool:
        """Nothing is under way."""
        return True

    def health(self) -> FeedHealth:
        """All well."""
        return _HEALTH


class StampingWriter(Writer):
    """The real writer, noting when a boundary's decisions were queued and on disk, and when a trade was booked."""

    def __init__(self, path: Path, *, emergency: Path, clock: VenueClock) -> None:
        super().__init__(path, backups=None, emergency=emergency, clock=clock)
        self.committed = threading.Event()
        self.closed = threading.Event()
        self.decided_s = 0.0
        self.committed_s = 0.0
        self.intents = 0
        self.closed_s = 0.0
        self._queued = 0
        self._landed_decisions = 0

    def forget(self) -> None:
        """Begin a new measurement."""
        self.committed.clear()
        self._queued = self._landed_decisions = self.intents = 0

    def put(self, *rows: Row) -> None:
        """Queue rows."""
        super().put(*rows)
        self._note(rows)

    def commit(self, *rows: Row, deadline_s: float) -> None:
        """Commit rows."""
        super().commit(*rows, deadline_s=deadline_s)
        self.intents += sum(isinstance(row, OrderRow) for row in rows)
        self._note(rows)

    def _note(self, rows: tuple[Row, ...]) -> None:
        now_s = monotonic_s()
        for row in rows:
            if isinstance(row, DecisionRow):
                self._queued += 1
                if self._queued == len(INSTRUMENTS):
                    self.decided_s = now_s
            elif isinstance(row, TradeRow):
                self.closed_s = now_s
                self.closed.set()

    def _landed(self, batch: list[Unit], *, has_written: bool) -> None:
        super()._landed(batch, has_written=has_written)
        now_s = monotonic_s()
        self._landed_decisions += sum(isinstance(row, DecisionRow) for unit in batch for row in unit.rows)
        if self._landed_decisions >= len(INSTRUMENTS) and not self.committed.is_set():
            self.committed_s = now_s
            self.committed.set()


class LoopRig:
    """Everything between the queue and the disk, for real."""

    def __init__(
        self, folder: Path, *, seed: int = 42, live: Callable[[EventQueue, VenueClock], LivePorts] | None = None
    ) -> None:
        """`live`: makes what real orders need; left out, the rig trades on paper."""
        path = folder / "bench.db"
        # Limits out of the way: thousands of trades in a row must not pause what is measured.
        risk = RiskConfig(cooldown_seconds=0, daily_loss_limit_pct=1.0, session_drawdown_pct=1.0, max_drawdown_pct=1.0)
        self.config = Config(
            data=DataConfig(db_path=path, primary_timeframe=TIMEFRAME),
            risk=risk,
            signals=LIVELY,
            execution=ExecutionConfig(order_type="taker"),
            mode="paper" if live is None else "live",
        )
        self.clock = VenueClock()
        self.queue = EventQueue()
        self.writer = StampingWriter(path, emergency=folder / "emergency", clock=self.clock)
        self.writer.start()
        self.market = QuietMarket()
        (folder / "recording").mkdir()
        self._recorder = Recorder(folder / "recording", limit_bytes=1 << 30)
        self._recorder.start()
        outside = RecordedOutside(self._recorder)  # as the daemon records
        journal = Journal(self.writer, outside)
        strategy = registry.create(registry.DEFAULT, self.config)
        with Reader(path) as reader:
            self.desk = recovery.rebuild(
                self.config, strategy, lambda: INSTRUMENTS, folder / "KILL", reader, force=True, book_max_age_ms=10**12,
                live=None if live is None else live(self.queue, self.clock),
            )  # fmt: skip
        self.desk.outside = outside
        self._notes = Notes(journal, lambda note: None, lambda kind, text, symbol: None)
        self._books = Bookkeeper(self.desk, journal, self._notes, lambda fills, payments, cash: None)
        self._boundary = BoundaryDesk(self.desk, journal, self._books, self._notes, lambda symbol, timeframe, count: [])
        self._journal = journal
        self._random = random.Random(seed)
        self._levels = {"BTC": 80_000.0, "ETH": 2_500.0}
        self._shock = dict.fromkeys(self._levels, 0.0)
        self.close_ms = self.clock.now_ms() // STEP_MS * STEP_MS
        for symbol in INSTRUMENTS:
            history = self.desk.histories[symbol] = SeriesHistory(symbol, TIMEFRAME, 700)
            history.extend(self.candle(symbol, self.close_ms - STEP_MS * back) for back in range(640, 0, -1))
        for symbol in INSTRUMENTS:
            self.give_market(symbol, self._levels[symbol])
        self.handle_all()

    @property
    def window(self) -> int:
        """Bars that a decision is made on."""
        return self._boundary.window

    def close(self) -> None:
        """End the writer and the recorder."""
        self._recorder.stop(None)
        self.writer.stop(10.0)

    def new_loop(self) -> TradingLoop:
        """Return a loop over the same desk (a stopped loop is not started again)."""
        controls = Controls(self.desk, self._journal, self._notes, self._books, TokenStore("bench"), "bench")
        hooks = Hooks(lambda: None, lambda ms: None, lambda: True, Decimal)
        loop = TradingLoop(
            self.desk, self.queue, self.clock, self._journal, self._notes, self._books, self._boundary, controls,
            self.market, hooks,
        )  # fmt: skip
        controls.send_exit = loop.send_exit
        return loop

    def handle_all(self) -> None:
        """Handle what waits, on this thread."""
        loop = self.new_loop()
        while not self.queue.is_empty:
            loop.handle(self.queue.take(0))

    def candle(self, symbol: str, open_ms: int) -> Candle:
        """Return the next candle of a mean-reverting path with jumps that fade: entries and exits are frequent."""
        rng = self._random
        self._shock[symbol] *= 0.75
        if rng.random() < 0.04:
            self._shock[symbol] += rng.choice((-1.0, 1.0)) * rng.uniform(0.008, 0.02)
        mid = self._levels[symbol] * (1 + self._shock[symbol] + rng.gauss(0, 0.0012))
        wick = abs(rng.gauss(0, 0.0006)) * mid
        price = round(mid, 1)
        return Candle(symbol, TIMEFRAME, open_ms, price, round(mid + wick, 1), round(mid - wick, 1), price, 10.0)

    def give_market(self, symbol: str, px: float) -> None:
        """Put a deep book and a mark around `px`."""
        now_ms = self.clock.now_ms()
        bids = tuple(BookLevel(round(px - 0.1 * (level + 1), 1), 50.0) for level in range(20))
        asks = tuple(BookLevel(round(px + 0.1 * (level + 1), 1), 50.0) for level in range(20))
        self.queue.put_book(Book(symbol, now_ms, bids, asks))
        self.queue.put_context(AssetContext(symbol, now_ms, px, px, px, 0.0000125, 1000.0, 0.0))

    def close_candles(self) -> BoundaryClosed:
        """Return the close of the next candles of both coins, whose market the loop has taken."""
        candles = {symbol: self.candle(symbol, self.close_ms) for symbol in INSTRUMENTS}
        self.close_ms += STEP_MS
        for symbol, candle in candles.items():
            self.give_market(symbol, candle.close)
        while not self.queue.is_empty:
            threading.Event().wait(0.0005)
        series = tuple(SeriesClose(symbol, CloseStatus.CONFIRMED, (candle,)) for symbol, candle in candles.items())
        self.writer.forget()
        return BoundaryClosed(TIMEFRAME, self.close_ms, series)

    def open_position(self, symbol: str, number: int) -> None:
        """Open a long by a taker order, on this thread."""
        px = self._levels[symbol]
        self.give_market(symbol, px)
        self.handle_all()
        size = Decimal("0.01")
        intent = OrderIntent(
            cloid=f"0x{number:032x}", decision_id=f"bench:{number}", symbol=symbol, side=OrderSide.BUY,
            role=OrderRole.ENTRY, order_type=OrderType.TAKER, size=size, limit_px=None, trigger_px=None,
            reduce_only=False, created_ms=self.clock.now_ms(), expires_ms=None, strategy="bench", source="paper",
            reason="bench",
        )  # fmt: skip
        self.desk.executor.submit(intent, self.clock.now_ms())
        self._books.settle(self.clock.now_ms())
        assert self.desk.account.position(symbol) is not None

    def fall_through_stop(self, symbol: str) -> AssetContext:
        """Return a mark beyond the position's stop."""
        position = self.desk.account.position(symbol)
        assert position is not None
        assert position.stop_px is not None
        context = self.desk.market.context(symbol)
        assert context is not None
        return replace(context, mark_px=position.stop_px * 0.999, venue_ms=self.clock.now_ms() + 1)
