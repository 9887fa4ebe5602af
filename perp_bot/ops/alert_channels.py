"""The places alerts go to: what Discord and Telegram are asked, and what their answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from perp_bot.core.errors import VenueError

if TYPE_CHECKING:
    from perp_bot.ops.http import Answer, HttpClient

TELEGRAM_BASE_URL = "https://api.telegram.org"
T = TypeVar("T")

_TOO_MANY = 429
_DEFAULT_RETRY_S = 5.0  # a 429 that names no time


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one message."""

    is_delivered: bool
    problem: str = ""
    retry_after_s: float | None = None  # the place asked for a pause
    is_refused: bool = False  # sending the same again cannot help


class Channel(Protocol):
    """A place alerts go to."""

    @property
    def name(self) -> str:
        """Name for people."""

    @property
    def max_chars(self) -> int:
        """Longest text of a message."""

    @property
    def limits(self) -> tuple[tuple[int, float], ...]:
        """At most n messages in t seconds, for each (n, t)."""

    async def deliver(self, http: HttpClient, text: str, *, silent: bool, timeout_s: float) -> Delivery:
        """Send one message; failures are values."""

    async def look(self, http: HttpClient, *, timeout_s: float) -> Delivery:
        """Ask whether a message would be taken, sending none."""


class _DiscordLimited(msgspec.Struct):
    retry_after: float = _DEFAULT_RETRY_S


class _TelegramParameters(msgspec.Struct):
    retry_after: float | None = None


class _TelegramError(msgspec.Struct):
    description: str = ""
    parameters: _TelegramParameters | None = None


class Discord:
    """A Discord webhook: 5 messages in 2 s, 2,000 characters."""

    name = "Discord"
    max_chars = 2000
    limits = ((5, 2.0),)

    def __init__(self, webhook_url: str) -> None:
        self._webhook_url = webhook_url

    async def deliver(self, http: HttpClient, text: str, *, silent: bool, timeout_s: float) -> Delivery:
        """Send one message. Mentions are off: no text of ours may call people by accident."""
        body: dict[str, Any] = {"content": text, "allowed_mentions": {"parse": []}}
        if silent:
            body["flags"] = 4096  # SUPPRESS_NOTIFICATIONS
        answer = await _ask(http, "POST", self._webhook_url, body, "alert to Discord", timeout_s)
        if isinstance(answer, Delivery):
            return answer
        if answer.status == _TOO_MANY:
            limited = _decoded(answer.body, _DiscordLimited) or _DiscordLimited()
            return Delivery(False, "rate limited", retry_after_s=answer.retry_after_s() or limited.retry_after)
        if answer.status in (200, 204):
            return Delivery(True, retry_after_s=_exhausted_s(answer))
        return _failed(answer.status, "")

    async def look(self, http: HttpClient, *, timeout_s: float) -> Delivery:
        """Ask for the webhook itself."""
        answer = await _ask(http, "GET", self._webhook_url, None, "the webhook", timeout_s)
        if isinstance(answer, Delivery):
            return answer
        return Delivery(True) if answer.status in (200, _TOO_MANY) else _failed(answer.status, "")


class Telegram:
    """A Telegram bot: 1 message a second and 20 a minute per chat, 4,096 characters. The token is part of the URL."""

    name = "Telegram"
    max_chars = 4096
    limits = ((1, 1.0), (20, 60.0))

    def __init__(self, token: str, chat_id: str, base_url: str = TELEGRAM_BASE_URL) -> None:
        self._url = f"{base_url}/bot{token}/sendMessage"
        self._chat_url = f"{base_url}/bot{token}/getChat"
        self._chat_id = chat_id

    async def deliver(self, http: HttpClient, text: str, *, silent: bool, timeout_s: float) -> Delivery:
        """Send one message as plain text."""
        body = {"chat_id": self._chat_id, "text": text, "disable_notification": silent}
        answer = await _ask(http, "POST", self._url, body, "alert to Telegram", timeout_s)
        if isinstance(answer, Delivery):
            return answer
        if answer.status == 200:
            return Delivery(True)
        error = _decoded(answer.body, _TelegramError) or _TelegramError()
        if answer.status == _TOO_MANY:
            asked_s = error.parameters.retry_after if error.parameters else None
            return Delivery(False, "rate limited", retry_after_s=asked_s or answer.retry_after_s() or _DEFAULT_RETRY_S)
        return _failed(answer.status, error.description)

    async def look(self, http: HttpClient, *, timeout_s: float) -> Delivery:
        """Ask for the chat: the token and the chat's id are both in it."""
        answer = await _ask(http, "POST", self._chat_url, {"chat_id": self._chat_id}, "the Telegram chat", timeout_s)
        if isinstance(answer, Delivery):
            return answer
        if answer.status in (200, _TOO_MANY):
            return Delivery(True)
        return _failed(answer.status, (_decoded(answer.body, _TelegramError) or _TelegramError()).description)


async def _ask(
    http: HttpClient, method: str, url: str, body: dict[str, Any] | None, what: str, timeout_s: float
) -> Answer | Delivery:
    try:
        return await http.send(method, url, what=what, body=body, timeout_s=timeout_s, max_bytes=64 * 1024)
    except VenueError as error:
        return Delivery(False, str(error))


def _failed(status: int, description: str) -> Delivery:
    text = f"status {status}" + (f" {description}" if description else "")
    return Delivery(False, text, is_refused=400 <= status < 500)


def _exhausted_s(answer: Answer) -> float | None:
    """Return the pause that Discord announces with its last allowed message."""
    if answer.headers.get("x-ratelimit-remaining") != "0":
        return None
    try:
        return max(0.0, float(answer.headers.get("x-ratelimit-reset-after", "0")))
    except ValueError:
        return None


def _decoded(body: bytes, shape: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
