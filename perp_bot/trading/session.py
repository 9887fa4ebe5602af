"""A trading session from the rebuilt desk to the loop: the same steps for the daemon and for a replay of its recording.

What differs between the two is handed in: where events are told, who answers for the venue, whose clock runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import VenueError
from perp_bot.core.types import Candle, OrderRole
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.closing import exit_intent
from perp_bot.ipc.tokens import TokenStore
from perp_bot.trading.bookkeeping import Bookkeeper, NoteCash
from perp_bot.trading.boundary import BoundaryDesk, StoredCandles
from perp_bot.trading.controls import Controls
from perp_bot.trading.desk import Desk
from perp_bot.trading.downtime import Downtime, MinuteSource
from perp_bot.trading.journal import Journal
from perp_bot.trading.live_account import LIVE_START, LiveStart
from perp_bot.trading.loop import Hooks, Market, TradingLoop
from perp_bot.trading.notes import Alert, Notes, Push
from perp_bot.trading.outside import Outside
from perp_bot.trading.queue import EventQueue


@dataclass(frozen=True, slots=True)
class Ports:
    """What a session is connected to."""

    queue: EventQueue
    clock: VenueClock
    market: Market
    minutes: MinuteSource  # for the time nobody watched
    stored: StoredCandles
    tokens: TokenStore
    push: Push
    alert: Alert
    note_cash: NoteCash
    hooks: Hooks
    venue: str
    live_start: Callable[[], LiveStart] | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A desk with its loop, ready to run."""

    desk: Desk
    journal: Journal
    notes: Notes
    loop: TradingLoop

    def announce(self, text: str, now_ms: int, emergencies: Iterable[dict[str, Any]]) -> None:
        """Tell that trading begins, and close again what was closed while the database could not be written."""
        self.notes.say("STARTED", text, now_ms)
        count = 0
        for record in emergencies:
            count += 1
            position = self.desk.account.position(str(record["symbol"]))
            if position is None or record["role"] != OrderRole.EXIT or self.desk.is_exiting(position.symbol):
                continue
            text = f"{position.symbol}: an exit ({record['reason']}) never reached the database; closing again"
            self.notes.say("RECONCILE", text, now_ms, position.symbol, level=logging.WARNING)
            intent = exit_intent(position, str(record["reason"]), now_ms, str(record["decision_id"]))
            self.loop.send_exit(intent, now_ms)
        if count:
            self.journal.note_emergency()


def open_session(
    desk: Desk,
    journal: Journal,
    ports: Ports,
    *,
    now_ms: int,
    replay_from_ms: int | None,
    load_history: Callable[[], None],
) -> Session:
    """Make up for the downtime of `desk`, load its history, and return the session.

    `replay_from_ms`: start of the minute that a stepped venue sends again to a restarted client.
    """
    notes = Notes(journal, ports.push, ports.alert)
    books = Bookkeeper(desk, journal, notes, ports.note_cash)
    controls = Controls(desk, journal, notes, books, ports.tokens, ports.venue)
    controls.cancel_forbidden(now_ms)
    Downtime(desk, _AskedMinutes(ports.minutes, desk.outside), books, notes).make_up(now_ms, replay_from_ms)
    boundary = BoundaryDesk(desk, journal, books, notes, ports.stored)
    loop = TradingLoop(
        desk, ports.queue, ports.clock, journal, notes, books, boundary, controls, ports.market, ports.hooks
    )
    controls.send_exit = loop.send_exit
    if ports.live_start is not None:
        # What is held is protected first: history takes a while, and nothing is decided before it.
        loop.live_side.start(desk.outside.ask(LIVE_START, LiveStart, ports.live_start), now_ms)
    load_history()
    return Session(desk, journal, notes, loop)


class _AskedMinutes:
    """The venue's minutes of a downtime, as part of the recording."""

    def __init__(self, source: MinuteSource, outside: Outside) -> None:
        self._source = source
        self._outside = outside

    def candles(self, symbol: str, timeframe: str, start_ms: int, end_ms: int, cls: RequestClass) -> tuple[Candle, ...]:
        def read() -> tuple[tuple[Candle, ...], str | None]:
            try:
                return tuple(self._source.candles(symbol, timeframe, start_ms, end_ms, cls)), None
            except VenueError as error:
                return (), str(error)

        rows, failure = self._outside.ask("minutes", tuple[tuple[Candle, ...], str | None], read)
        if failure is not None:
            raise VenueError(failure)
        return rows


def no_gap() -> Decimal:
    """Return that books and database agree: for a session that nobody audits."""
    return Decimal(0)
