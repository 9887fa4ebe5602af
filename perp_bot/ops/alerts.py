"""Alerts to people, over Discord and Telegram, through the signal loop: never blocking, never raising.

Each channel has its own bounded queue and its own coroutine, so that one that hangs costs the other nothing. Lines
that wait together go out as one message. An answer that never came may mean a message that did arrive: it is sent
again, for an alert twice is better than none.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perp_bot.config.model import Secrets
from perp_bot.core.clock import monotonic_s, wall_ms
from perp_bot.core.timeframes import iso
from perp_bot.ops.alert_channels import TELEGRAM_BASE_URL, Channel, Delivery, Discord, Telegram
from perp_bot.ops.alert_queue import AlertKind, AlertQueue, Line, SlidingWindow
from perp_bot.ops.redaction import Redactor

if TYPE_CHECKING:
    from perp_bot.ops.http import HttpClient

log = logging.getLogger(__name__)

HEARTBEAT_S = 1800.0
REQUEST_TIMEOUT_S = 10.0
LONGEST_LINE = 600
LINES_A_MESSAGE = 20
LONGEST_PAUSE_S = 3600.0  # however long a channel asks us to wait
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0

Submit = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel fares. `is_working` is None before the first message."""

    name: str
    is_working: bool | None
    waiting: int
    sent: int
    dropped: int
    problem: str


@dataclass(frozen=True, slots=True)
class AlertsState:
    """Whether alerts are on, in one sentence, and each channel."""

    is_on: bool
    text: str
    channels: tuple[ChannelState, ...]


class _Route:
    """One channel with its queue, its limits and its outage. All but the queue is touched on the loop only."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.queue = AlertQueue()
        self.window = SlidingWindow(channel.limits)
        self.wake = asyncio.Event()
        self.is_pumping = False
        self.is_working: bool | None = None
        self.problem = ""
        self.failures = 0
        self.not_before_s = float("-inf")
        self.down_since_s = 0.0


class Alerts:
    """Takes alerts from any thread and sees them delivered, or says why not."""

    def __init__(
        self,
        secrets: Secrets,
        submit: Submit,
        *,
        label: str = "",
        telegram_base_url: str = TELEGRAM_BASE_URL,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        clock: Callable[[], float] = monotonic_s,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Set up the channels that `secrets` name; `submit` runs a coroutine on the loop, `label` heads messages."""
        self._submit = submit
        self._label = label
        self._request_timeout_s = request_timeout_s
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._redacted = Redactor(secrets.values()).text
        self._http: HttpClient | None = None
        self._progress = threading.Condition()
        channels, self._setup_problems = channels_of(secrets, telegram_base_url)
        self._routes = tuple(_Route(channel) for channel in channels)

    def send(self, kind: AlertKind | str, text: str, symbol: str | None = None) -> None:
        """Queue an alert for every channel and return at once. Never blocks, never raises."""
        try:
            clean = self._redacted(" ".join(text.split()))
            short = clean if len(clean) <= LONGEST_LINE else clean[: LONGEST_LINE - 1] + "…"
            line = Line(AlertKind(kind), symbol, short, wall_ms())
            for route in self._routes:
                route.queue.put(line)
                self._start_pump(route)
        except Exception:  # an alert must never cost the caller anything
            log.exception("an alert was lost")

    def start_heartbeat(self, status: Callable[[], str], every_s: float = HEARTBEAT_S) -> None:
        """Send `status()` every `every_s` wall seconds; it is called on the signal loop and must return at once."""
        if self._routes:
            self._submit(lambda: self._beat(status, every_s))

    def state(self) -> AlertsState:
        """Return whether alerts are on and how each channel fares."""
        channels = tuple(
            ChannelState(
                route.channel.name,
                route.is_working,
                route.queue.waiting,
                route.queue.sent,
                route.queue.dropped,
                route.problem,
            )
            for route in self._routes
        )
        if not channels:
            missing = "set DISCORD_WEBHOOK_URL, or TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, in .env"
            text = f"alerts off: {'; '.join(self._setup_problems) or missing}"
        else:
            names = " and ".join(channel.name for channel in channels)
            text = "; ".join((f"alerts go to {names}", *self._setup_problems))
        return AlertsState(bool(channels), text, channels)

    def close(self, timeout_s: float = 1.5) -> bool:
        """Give what waits a last chance, release the connections, and say whether every line went out.

        Called while the loop still runs, and not on it.
        """
        deadline_s = monotonic_s() + timeout_s
        for route in self._routes:
            route.queue.hurry()
            self._start_pump(route)
        with self._progress:
            is_empty = self._progress.wait_for(
                lambda: not any(route.queue.waiting for route in self._routes), max(0.0, deadline_s - monotonic_s())
            )
        if not is_empty:
            log.warning("alerts not delivered at the end: %d", sum(route.queue.waiting for route in self._routes))
        self._release(max(0.1, deadline_s - monotonic_s()))
        return is_empty

    def _release(self, timeout_s: float) -> None:
        released = threading.Event()

        async def release() -> None:
            try:
                if self._http is not None:
                    await self._http.close()
            finally:
                released.set()

        if self._http is not None and self._submit(release):
            released.wait(timeout_s)

    def _start_pump(self, route: _Route) -> None:
        self._submit(lambda: self._pump(route))

    # ------------------------------------------------------------ on the loop

    async def _beat(self, status: Callable[[], str], every_s: float) -> None:
        while True:
            await self._sleep(every_s)
            try:
                text = status()
            except Exception:  # the heartbeat says that the process lives; it must not die of its text
                log.exception("the heartbeat's text could not be made")
                text = "alive, but its state cannot be read"
            self.send(AlertKind.HEARTBEAT, text)

    async def _pump(self, route: _Route) -> None:
        """Deliver until nothing waits. A second pump of the same route only wakes the first."""
        route.wake.set()
        if route.is_pumping:
            return
        route.is_pumping = True
        try:
            while await self._turn(route):
                pass
        finally:
            route.is_pumping = False

    async def _turn(self, route: _Route) -> bool:
        """Wait for what has to be waited for, or send one message; False when nothing waits."""
        route.wake.clear()
        now_s = self._clock()
        due_s = route.queue.seconds_until_due(now_s)
        if due_s is None:
            return False
        wait_s = max(due_s, route.window.wait_s(now_s), route.not_before_s - now_s)
        if wait_s > 0.0:
            await self._pause(route, wait_s)
            return True
        taken = route.queue.take(now_s, LINES_A_MESSAGE)
        text, lines = self._message(route, taken)
        route.window.note(now_s)
        try:
            delivery = await route.channel.deliver(
                self._client(),
                text,
                silent=not any(line.is_urgent for line in lines),
                timeout_s=self._request_timeout_s,
            )
        except BaseException:
            route.queue.give_back()
            raise
        self._settle(route, lines, delivery)
        with self._progress:
            self._progress.notify_all()
        return True

    async def _pause(self, route: _Route, wait_s: float) -> None:
        """Sleep, but wake when another line comes: it may be due before those that wait."""
        sleeping = asyncio.ensure_future(self._sleep(wait_s))
        waking = asyncio.ensure_future(route.wake.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def _settle(self, route: _Route, lines: tuple[Line, ...], delivery: Delivery) -> None:
        now_s = self._clock()
        if delivery.retry_after_s is not None:
            route.not_before_s = now_s + min(delivery.retry_after_s, LONGEST_PAUSE_S)
        if delivery.is_delivered:
            route.queue.delivered(lines, now_s)
            self._note_working(route, now_s)
            return
        if delivery.is_refused:
            route.queue.give_up(lines)
        else:
            route.queue.give_back()
        if delivery.retry_after_s is not None:
            return  # rate limited is not broken
        backoff_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0**route.failures)
        route.not_before_s = now_s + backoff_s * self._rng.uniform(0.5, 1.0)
        route.failures = min(route.failures + 1, 20)
        self._note_broken(route, self._redacted(delivery.problem), now_s)

    def _note_working(self, route: _Route, now_s: float) -> None:
        if route.is_working is False:
            log.info("%s takes alerts again after %.0f s", route.channel.name, now_s - route.down_since_s)
        route.is_working, route.problem, route.failures = True, "", 0

    def _note_broken(self, route: _Route, problem: str, now_s: float) -> None:
        route.problem = problem
        if route.is_working is not False:
            route.is_working, route.down_since_s = False, now_s
            log.warning("%s takes no alerts: %s; logged once until it does", route.channel.name, problem)

    def _message(self, route: _Route, taken: tuple[Line, ...]) -> tuple[str, tuple[Line, ...]]:
        """Return the text of one message and the lines that fit into it (at least one)."""
        head = [f"[{self._label}]"] if self._label else []
        drops = route.queue.untold_drops()
        if drops:
            head.append(f"({drops} earlier alerts were dropped)")
        rows: list[str] = []
        lines: list[Line] = []
        for line in taken:
            row = _row(line)
            if lines and len("\n".join((" ".join(head), *rows, row))) > route.channel.max_chars:
                break
            rows.append(row)
            lines.append(line)
        text = " ".join((*head, rows[0])) if len(rows) == 1 else "\n".join((" ".join(head), *rows)).lstrip("\n")
        return text[: route.channel.max_chars], tuple(lines)

    def _client(self) -> HttpClient:
        if self._http is None:
            from perp_bot.ops.http import HttpClient  # imported by the signal service before its loop turns

            self._http = HttpClient()
        return self._http


def _row(line: Line) -> str:
    times = f" (×{line.count})" if line.count > 1 else ""
    about = f"{line.kind.value} {line.symbol}" if line.symbol else line.kind.value
    return f"{iso(line.wall_ms)[11:]} {about}: {line.text}{times}"


def channels_of(secrets: Secrets, telegram_base_url: str) -> tuple[list[Channel], list[str]]:
    """Return the channels that are set up, and what is wrong with those that are only half set up."""
    channels: list[Channel] = []
    problems: list[str] = []
    webhook_url = secrets.discord_webhook_url
    if webhook_url and re.match(r"https?://[^/\s]+/", webhook_url):
        channels.append(Discord(webhook_url))
    elif webhook_url:
        problems.append("DISCORD_WEBHOOK_URL is not an address that starts with https://")
    if secrets.telegram_bot_token and secrets.telegram_chat_id:
        channels.append(Telegram(secrets.telegram_bot_token, secrets.telegram_chat_id, telegram_base_url))
    elif secrets.telegram_bot_token:
        problems.append("TELEGRAM_CHAT_ID is not set, Telegram is off")
    elif secrets.telegram_chat_id:
        problems.append("TELEGRAM_BOT_TOKEN is not set, Telegram is off")
    return channels, problems
