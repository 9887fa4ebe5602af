"""A trading loop with a real queue, journal and database, over a market and a strategy that do as the test says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from perp_bot.config.model import Config, DataConfig, ExecutionConfig, RiskConfig, SignalsConfig, TradingConfig
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import IpcError, StoreError
from perp_bot.core.events import BoundaryClosed, ClockFrame, CloseStatus, MarketEvent, SeriesClose
from perp_bot.core.types import (
    AssetContext,
    Book,
    BookLevel,
    Candle,
    Enter,
    Exit,
    Hold,
    Instrument,
    OrderSide,
    PublicTrade,
    Regime,
    Side,
)
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import Row
from perp_bot.data.db.writer import Writer, WriterHealth
from perp_bot.data.market import FeedHealth
from perp_bot.ipc.control import ControlRequest, Outcome, Peer, parse_args
from perp_bot.ipc.protocol import ControlResult
from perp_bot.ipc.state import EventNote
from perp_bot.ipc.tokens import TokenStore
from perp_bot.strategies.protocol import Evaluation, MarketView, Needs, Strategy
from perp_bot.trading import recovery
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.boundary import BoundaryDesk
from perp_bot.trading.controls import Controls
from perp_bot.trading.desk import Desk
from perp_bot.trading.journal import Journal
from perp_bot.trading.loop import Hooks, TradingLoop
from perp_bot.trading.notes import Notes
from perp_bot.trading.queue import Batch, EventQueue

START = 1_768_446_000_000  # Thursday 2026-01-15 03:00 UTC
MINUTE = 60_000
QUARTER = 15 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PX = {"BTC": 100_000.0, "ETH": 3_000.0}
NAME = "scripted"

HEALTHY = FeedHealth(
    connected=True, reconnects=0, last_message_age_s=0.0, ages_s={}, messages=0, bad_frames=0, future_frames=0,
    subscriptions=0, subscriptions_confirmed=0, last_stream_problem=None, rest_ok=True, last_rest_error=None,
    last_rest_ok_age_s=0.0, weight_used=0, weight_limit=1200, clock_skew_ms=None, wall_skew_ms=None,
)  # fmt: skip


@dataclass(slots=True)
class Script:
    """A strategy that does what it is told at each (symbol, close)."""

    decisions: dict[tuple[str, int], Enter | Exit | Hold] = field(default_factory=dict)
    views: list[MarketView] = field(default_factory=list)
    max_trades_per_day: int | None = None

    @property
    def name(self) -> str:
        return NAME

    @property
    def needs(self) -> Needs:
        return Needs(timeframes=("15m",), warmup_bars=2)

    def on_candle(self, view: MarketView) -> Evaluation:
        self.views.append(view)
        found = self.decisions.get((view.symbol, view.close_ms))
        return Evaluation(found or Hold(view.symbol, "told nothing"), {"told": found is not None}, {"zscore_exit": 0.3})


@dataclass(slots=True)
class FakeMarket:
    """The market side: lists two coins, remembers what was asked."""

    listed: dict[str, Instrument] = field(
        default_factory=lambda: {"BTC": Instrument("BTC", 0, 5, 40), "ETH": Instrument("ETH", 1, 4, 25)}
    )
    asked: list[tuple[str, int]] = field(default_factory=list)
    settled: bool = True
    feed: FeedHealth = HEALTHY

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        return self.listed

    def request_funding(self, symbol: str, hour_ms: int) -> None:
        self.asked.append((symbol, hour_ms))

    def is_settled(self) -> bool:
        return self.settled

    def health(self) -> FeedHealth:
        return self.feed


class FlakyWriter:
    """The real writer, until the test takes the disk away: then commits fail and rows wait in memory."""

    def __init__(self, writer: Writer) -> None:
        self.real = writer
        self.error: StoreError | None = None
        self.fails_once: StoreError | None = None  # the next commit alone, with good health before and after
        self.is_slow = False  # rows are taken and never land
        self.waiting: list[tuple[Row, ...]] = []

    def put(self, *rows: Row) -> None:
        if not rows:
            return
        if self.error is not None or self.is_slow:
            self.waiting.append(rows)
        else:
            self.real.put(*rows)

    def commit(self, *rows: Row, deadline_s: float) -> None:
        error, self.fails_once = self.error or self.fails_once, None
        if error is not None:
            raise error
        self.real.commit(*rows, deadline_s=deadline_s)

    def flush(self, timeout_s: float) -> None:
        self.real.flush(timeout_s)

    def emergency_append(self, row_json: dict[str, Any]) -> None:
        self.real.emergency_append(row_json)

    def emergency_clear(self) -> None:
        self.real.emergency_clear()

    def health(self) -> WriterHealth:
        health = self.real.health()
        pending = health.pending + sum(len(rows) for rows in self.waiting)
        if self.error is not None:
            return replace(health, ok=False, error=str(self.error), pending=pending)
        return replace(health, pending=pending)

    def recover(self) -> None:
        """Give the disk back: what waited lands in order."""
        self.error, self.is_slow = None, False
        for rows in self.waiting:
            self.real.put(*rows)
        self.waiting.clear()


def config_of(folder: Path, **sections: Any) -> Config:
    """Return settings with room for two positions (at HIGH_RISK, half a size each) and taker entries."""
    return Config(
        trading=sections.get("trading", TradingConfig(leverage=3, capital_usd=1_000.0, margin_usage_limit=0.9)),
        risk=sections.get("risk", RiskConfig(max_positions=2)),
        execution=sections.get("execution", ExecutionConfig(order_type="taker")),
        signals=sections.get("signals", SignalsConfig()),
        data=DataConfig(db_path=folder / "perp_bot.db", primary_timeframe="15m"),
    )


class DeskRig:
    """Everything between the queue and the disk; time moves when the test says."""

    def __init__(
        self,
        folder: Path,
        *,
        config: Config | None = None,
        strategy: Strategy | None = None,
        speed: float | None = None,
        force: bool = False,
        at_ms: int = START,
    ) -> None:
        self.folder = folder
        self.config = config or config_of(folder)
        self.db = self.config.data.db_path
        self.latch = folder / "KILL"
        self.speed = speed
        self.force = force
        self.market = FakeMarket()
        self.script = Script()
        self.strategy: Strategy = strategy or self.script
        self.events: list[EventNote] = []
        self.alerts: list[str] = []
        self.published = 0
        self.audits: list[Callable[[], None]] = []
        self.clocks: list[int] = []
        self.px = dict(PX)
        self._tid = 0
        self._open(at_ms)

    def _open(self, at_ms: int) -> None:
        self.clock = VenueClock(at_ms, self.speed)
        self.raw = Writer(self.db, backups=None, emergency=self.folder / "emergency", clock=self.clock)
        self.raw.start()
        self.writer = FlakyWriter(self.raw)
        self.journal = Journal(self.writer)
        self.queue = EventQueue()
        self.queue.set_stepped(self.clock.stepped)
        self.desk = self.rebuilt()
        self.desk.regime = Regime.HIGH_RISK
        self.notes = Notes(self.journal, self.events.append, lambda kind, text, symbol: self.alerts.append(kind))
        self.cash: dict[tuple[int, int], Decimal] = {}
        self.books = Bookkeeper(self.desk, self.journal, self.notes, self._note_cash)
        self.stored: list[Candle] = []
        self.boundary = BoundaryDesk(
            self.desk, self.journal, self.books, self.notes, lambda symbol, tf, n: list(self.stored)
        )
        self.tokens = TokenStore("bootbootboot")
        self.controls = Controls(self.desk, self.journal, self.notes, self.books, self.tokens, "practice")
        hooks = Hooks(self._publish, self.clocks.append, lambda: True, self._audit)
        self.loop = TradingLoop(
            self.desk, self.queue, self.clock, self.journal, self.notes, self.books, self.boundary, self.controls,
            self.market, hooks,
        )  # fmt: skip
        self.controls.send_exit = self.loop.send_exit
        self.controls.cancel_forbidden(self.clock.now_ms())

    def _note_cash(self, fills: int, payments: int, cash: Decimal) -> None:
        self.cash[(fills, payments)] = cash

    def _publish(self) -> None:
        self.published += 1

    def _audit(self) -> Decimal:
        for audit in self.audits:
            audit()
        return Decimal(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the writer; everything lands."""
        if self.writer.error is not None or self.writer.is_slow:
            self.writer.recover()
        self.raw.stop(10.0)

    def restart(self) -> None:
        """End the process in an orderly way and start again on what the disk holds."""
        now_ms = self.now_ms
        self.close()
        self._open(now_ms)

    def rebuilt(self) -> Desk:
        """Return the desk that the database gives once everything has landed."""
        self.flush()
        with Reader(self.db) as reader:
            return recovery.rebuild(
                self.config, self.strategy, lambda: self.market.instruments, self.latch, reader, force=self.force,
                book_max_age_ms=15_000,
            )  # fmt: skip

    # ------------------------------------------------------------ reading

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    def flush(self) -> None:
        self.raw.flush(5.0)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.flush()
        with Reader(self.db) as reader:
            return reader._rows(sql)

    def state(self, key: str) -> Any:
        self.flush()
        with Reader(self.db) as reader:
            return reader.state(key)

    def told(self, *kinds: str) -> list[str]:
        return [note.text for note in self.events if note.kind in kinds]

    def actions(self) -> list[tuple[str, str, str]]:
        """Return (symbol, action, blocking rules) of every decision, in order."""
        self.flush()
        with Reader(self.db) as reader:
            return [
                (record.symbol, str(record.action), ",".join(reason.rule for reason in record.blocked_by))
                for record in reader.decisions(1_000)
            ]

    # ------------------------------------------------------------ one pass

    def context(self, symbol: str, mark: float, at_ms: int | None = None, oracle: float | None = None) -> AssetContext:
        at_ms = self.now_ms if at_ms is None else at_ms
        return AssetContext(symbol, at_ms, mark, mark if oracle is None else oracle, mark, 0.0000125, 1_000.0, 0.0)

    def book(self, symbol: str, px: float, at_ms: int | None = None) -> Book:
        tick = 1.0 if symbol == "BTC" else 0.1
        bids = tuple(BookLevel(round(px - tick * (level + 1), 1), 10.0) for level in range(5))
        asks = tuple(BookLevel(round(px + tick * (level + 1), 1), 10.0) for level in range(5))
        return Book(symbol, self.now_ms if at_ms is None else at_ms, bids, asks)

    def trade(self, symbol: str, px: float, size: float, at_ms: int | None = None) -> PublicTrade:
        self._tid += 1
        at_ms = self.now_ms if at_ms is None else at_ms
        return PublicTrade(symbol, at_ms, px, size, OrderSide.SELL, self._tid)

    def handle(self, **parts: Any) -> None:
        """Handle one batch made of `parts`."""
        self.loop.handle(Batch(**parts))

    def step(
        self,
        to_ms: int,
        marks: Mapping[str, float] | None = None,
        *,
        trades: tuple[PublicTrade, ...] = (),
        events: tuple[MarketEvent, ...] = (),
        without_books: bool = False,
    ) -> None:
        """Move the venue's time, with a mark and a book of every coin, and handle it."""
        self.clock.observe(to_ms)
        self.px |= dict(marks or {})
        self.handle(
            contexts={symbol: (self.context(symbol, px),) for symbol, px in self.px.items()},
            books={} if without_books else {symbol: self.book(symbol, px) for symbol, px in self.px.items()},
            trades=list(trades),
            events=list(events),
            frame=ClockFrame(to_ms),
        )

    def later(self, by_ms: int) -> None:
        """Let time pass without any market data."""
        self.clock.observe(self.now_ms + by_ms)
        self.handle(frame=ClockFrame(self.now_ms))

    def boundary_at(
        self,
        close_ms: int,
        status: CloseStatus = CloseStatus.CONFIRMED,
        of: Mapping[str, CloseStatus] | None = None,
    ) -> BoundaryClosed:
        """Return the event of a close of both coins."""
        series = []
        for symbol in self.config.trading.symbols:
            px, how = self.px[symbol], (of or {}).get(symbol, status)
            candle = Candle(symbol, "15m", close_ms - QUARTER, px, px * 1.001, px * 0.999, px, 10.0)
            series.append(SeriesClose(symbol, how, () if how is CloseStatus.MISSING else (candle,), "no row"))
        return BoundaryClosed("15m", close_ms, tuple(series))

    def decide(self, close_ms: int, *told: Enter | Exit | Hold, marks: Mapping[str, float] | None = None) -> None:
        """Step to a close and decide it as told."""
        self.step(close_ms, marks)
        for item in told:
            self.script.decisions[(item.symbol, close_ms)] = item
        self.handle(events=[self.boundary_at(close_ms)])

    def enter(self, symbol: str, side: Side = Side.LONG, close_ms: int | None = None, **more: Any) -> None:
        """Open a position by a decision at the next close."""
        close_ms = self.now_ms // QUARTER * QUARTER + QUARTER if close_ms is None else close_ms
        self.decide(close_ms, Enter(symbol, side, "told to", **more))

    def fill_entry(self, symbol: str, size: float) -> None:
        """Let a minute pass in which the market trades `size` through the resting entry of a coin."""
        order = self.desk.live_entry(symbol)
        assert order is not None
        assert order.intent.limit_px is not None
        to_ms = self.now_ms + MINUTE
        px = float(order.intent.limit_px) - order.intent.side.sign * 5.0
        self.step(to_ms, trades=(self.trade(symbol, px, size, to_ms - 1),))

    # ------------------------------------------------------------ controls

    def request(self, cmd: str, answers: list[Outcome], patience_s: float = 30.0, **args: Any) -> ControlRequest:
        return ControlRequest(cmd, parse_args(cmd, args), Peer(7, 1000), monotonic_s() + patience_s, answers.append)

    def ask(self, cmd: str, **args: Any) -> Outcome:
        """Send a control and handle passes until it is answered."""
        answers: list[Outcome] = []
        self.handle(controls=[self.request(cmd, answers, **args)])
        deadline_s = time.monotonic() + 5.0
        while not answers:
            assert time.monotonic() < deadline_s, f"{cmd} was not answered"
            self.handle()
            time.sleep(0.001)
        assert len(answers) == 1
        return answers[0]

    def done(self, cmd: str, **args: Any) -> ControlResult:
        """Send a control that must not be refused."""
        answer = self.ask(cmd, **args)
        assert isinstance(answer, ControlResult), answer
        return answer

    def refused(self, cmd: str, **args: Any) -> IpcError:
        """Send a control that must be refused."""
        answer = self.ask(cmd, **args)
        assert isinstance(answer, IpcError), answer
        return answer

    def commit(self, action: str, **scope: Any) -> ControlResult:
        """Prepare and commit."""
        preview = self.done("prepare", action=action, **scope).preview
        assert preview is not None
        return self.done("commit", token=preview.token)
