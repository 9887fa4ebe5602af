"""The one async HTTP client: pooled connections, bounded answers, retries, typed JSON, errors without secrets.

Lives on one event loop and is used from there only. Error messages name the host and what was asked, never the path:
webhook and bot tokens are part of paths.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import BadAnswer, RateLimited, VenueAway, VenueError, VenueRefused, VenueTimeout

log = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Sizes and times of the pool."""

    connections: int = 32
    connections_per_host: int = 16
    keep_alive_s: float = 30.0
    dns_cache_s: int = 300
    connect_timeout_s: float = 3.0
    max_answer_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retries:
    """Exponential backoff with full jitter: the k-th wait is uniform in 0..min(cap, base x 2^k) seconds."""

    attempts: int = 3
    base_s: float = 0.25
    cap_s: float = 4.0

    def wait_s(self, attempt: int, rng: random.Random) -> float:
        """Return the wait after the `attempt`-th failure (0-based)."""
        return rng.uniform(0.0, min(self.cap_s, self.base_s * 2**attempt))


ONCE = Retries(attempts=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came: status, header names in lower case, body, and the wall time it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float

    def retry_after_s(self) -> float | None:
        """Return the Retry-After header in seconds; None when absent, a date or nonsense."""
        try:
            seconds = float(self.headers["retry-after"])
        except (KeyError, ValueError):
            return None
        return seconds if 0.0 <= seconds < float("inf") else None


class HttpClient:
    """Sends requests over one pooled session, opened at the first request and closed by `close`."""

    def __init__(
        self, limits: HttpLimits | None = None, *, sleep: Sleep = asyncio.sleep, rng: random.Random | None = None
    ) -> None:
        self._limits = limits or HttpLimits()
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, url: str, *, what: str, body: Any = None, timeout_s: float, max_bytes: int | None = None
    ) -> Answer:
        """Send one request, once, and return whatever status came.

        Raises:
            VenueAway: nothing answers, or the connection broke before the whole answer came.
            VenueTimeout: no whole answer within `timeout_s`.
            BadAnswer: the answer is larger than the limit.
        """
        where = f"{what} at {_host(url)}"
        payload = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if payload is not None else {}
        limit = max_bytes or self._limits.max_answer_bytes
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=min(timeout_s, self._limits.connect_timeout_s), ceil_threshold=1e9
        )
        start = monotonic_s()
        try:
            async with self._opened().request(
                method, url, data=payload, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                content = await _read_bounded(response, limit, where)
                names = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, names, content, monotonic_s() - start)
        except TimeoutError:
            raise VenueTimeout(f"{where}: no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The text of the cause may hold the whole URL: only its kind goes on.
            raise VenueAway(f"{where}: {_kind(error)}") from None

    async def json(
        self,
        method: str,
        url: str,
        decoder: msgspec.json.Decoder[T],
        *,
        what: str,
        body: Any = None,
        timeout_s: float,
        retries: Retries = ONCE,
    ) -> tuple[T, Answer]:
        """Send a read (one that may be repeated), retry what may be retried, and decode the 200 answer.

        `timeout_s` bounds each attempt. A Retry-After longer than `retries.cap_s` ends the attempts.

        Raises:
            RateLimited, VenueRefused, BadAnswer, VenueAway, VenueTimeout: the last attempt's failure.
        """
        attempt = 0
        while True:
            wait_s: float | None = None
            try:
                answer = await self.send(method, url, what=what, body=body, timeout_s=timeout_s)
                wait_s = answer.retry_after_s()
                return _decoded(answer, decoder, f"{what} at {_host(url)}"), answer
            except VenueError as error:
                attempt += 1
                if not error.retryable or attempt >= retries.attempts:
                    raise
                if wait_s is not None and wait_s > retries.cap_s:
                    raise
                log.debug("trying again: %s", error)
            await self._sleep(retries.wait_s(attempt - 1, self._rng) if wait_s is None else wait_s)

    async def close(self) -> None:
        """Close every connection; a later request opens a new session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(
                limit=self._limits.connections,
                limit_per_host=self._limits.connections_per_host,
                keepalive_timeout=self._limits.keep_alive_s,
                ttl_dns_cache=self._limits.dns_cache_s,
                resolver=DaemonResolver(),
            )
            self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": "perpbot"})
        return self._session


class DaemonResolver(AbstractResolver):
    """Resolve names on a daemon thread a look-up.

    The loop's default executor is joined when the interpreter ends: a resolver that hangs in an outage would hold up
    the end of the process by many seconds. Look-ups are rare, for the pool caches them.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; OSError when it has none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def deliver(found: list[Any] | OSError) -> None:
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found: list[Any] | OSError
            try:
                found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
            except OSError as error:
                found = error
            except UnicodeError:
                found = OSError("not a host name")
            try:
                loop.call_soon_threadsafe(deliver, found)
            except RuntimeError:
                log.debug("a look-up ended after the loop")

        threading.Thread(target=look_up, name="dns", daemon=True).start()
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=found_family, proto=proto, flags=0)
            for found_family, _, proto, _, address in await answer
        ]

    async def close(self) -> None:
        """Hold nothing, so release nothing."""


async def _read_bounded(response: aiohttp.ClientResponse, limit: int, where: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise BadAnswer(f"{where}: the answer is larger than {limit} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _decoded(answer: Answer, decoder: msgspec.json.Decoder[T], where: str) -> T:
    if answer.status == 429:
        raise RateLimited(f"{where}: 429, too many requests")
    if answer.status >= 500:
        raise BadAnswer(f"{where}: status {answer.status}")
    if answer.status != 200:
        raise VenueRefused(f"{where}: status {answer.status}")
    try:
        return decoder.decode(answer.body)
    except msgspec.ValidationError as error:
        raise BadAnswer(f"{where}: not the promised shape: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        kind = "HTML" if answer.body.lstrip()[:1] == b"<" else "not JSON"
        raise BadAnswer(f"{where}: the answer is {kind}, {len(answer.body)} bytes") from None


def _host(url: str) -> str:
    """Return host and port of `url`, without path, query or user: those may hold a token."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or "an address without a host"
        return f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        return "an address that is none"


def _kind(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"nothing answers ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is not a URL"
    return f"the connection failed ({type(error).__name__})"
