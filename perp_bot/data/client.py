"""Read the venue by REST: typed results in, every foreign error translated once.

Requests go through the SDK's `Info`. It is given an empty universe, because on its own it fetches two large answers
while it is constructed; names and rules come from `instruments` instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from perp_bot.config.venues import BASE_URLS, PRACTICE
from perp_bot.core import timeframes
from perp_bot.core.clock import Clock, monotonic_s
from perp_bot.core.errors import BadAnswer, RateLimited, VenueAway, VenueError, VenueRefused, VenueTimeout
from perp_bot.core.types import AssetContext, Book, Candle, CandleSource, FundingRate, Instrument
from perp_bot.core.venue_account import VenueAccount
from perp_bot.data import limiter as weights
from perp_bot.data.account_wire import WireAccount, account_of
from perp_bot.data.answers import (
    UserRateLimit,
    VenueStatus,
    WireFunding,
    WireMeta,
    WireRateLimit,
    WireStatus,
    instruments_of,
    status_of,
)
from perp_bot.data.limiter import RequestClass, WeightLimiter
from perp_bot.data.wire import Price, WireBook, WireCandle, WireContext, book_of, candle_of, context_of

T = TypeVar("T")

MAX_CANDLES = 5000
FUNDING_PAGE = 500
DEFAULT_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class RestHealth:
    """How REST does; `last_error` is the newest failure since the last good answer."""

    is_ok: bool
    last_error: str | None
    last_ok_age_s: float | None
    requests: int
    failures: int


class VenueClient:
    """Typed reads of `/info`; safe from any thread, one connection each."""

    def __init__(self, base_url: str, *, clock: Clock, limiter: WeightLimiter, timeout_s: float = 10.0) -> None:
        self.base_url = base_url
        self.limiter = limiter
        self._clock = clock
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._local = threading.local()
        self._opened: list[Any] = []
        self._is_closed = False
        self._last_error: str | None = None
        self._last_ok_s: float | None = None
        self._requests = 0
        self._failures = 0
        # Called before every read but exchangeStatus; raises while the market behind the address may not be ours.
        self.gate: Callable[[], None] = _open

    # ------------------------------------------------------------ venue

    def now_ms(self) -> int:
        """Return the venue's time, as far as it is known."""
        return self._clock.now_ms()

    def connect(self) -> VenueStatus:
        """Make sure that a venue answers, and return its status; VenueAway says in one line what to do."""
        return self.exchange_status()

    def exchange_status(
        self, *, request_class: RequestClass = RequestClass.RECONCILE, timeout_s: float | None = None
    ) -> VenueStatus:
        """Return the venue's time and what it is."""
        payload = {"type": "exchangeStatus"}
        row = self.read(payload, WireStatus, weights.light_weight(), request_class, timeout_s=timeout_s)
        return status_of(row)

    def instruments(self, *, request_class: RequestClass = RequestClass.RECONCILE) -> tuple[Instrument, ...]:
        """Return every perp of the first dex; the position in the answer is the asset id."""
        meta = self.read({"type": "meta", "dex": ""}, WireMeta, weights.info_weight(), request_class)
        return instruments_of(meta)

    def contexts(
        self,
        *,
        request_class: RequestClass = RequestClass.MARKET,
        max_wait_s: float = DEFAULT_WAIT_S,
        timeout_s: float | None = None,
    ) -> tuple[AssetContext, ...]:
        """Return the context of every coin that has a mark and an oracle price (delisted coins have none)."""
        payload = {"type": "metaAndAssetCtxs"}
        meta, rows = self.read(
            payload,
            tuple[WireMeta, tuple[WireContext, ...]],
            weights.info_weight(),
            request_class,
            max_wait_s=max_wait_s,
            timeout_s=timeout_s,
        )
        if len(meta.universe) != len(rows):
            raise BadAnswer(f"{self.base_url}: metaAndAssetCtxs has {len(meta.universe)} coins, {len(rows)} contexts")
        now_ms = self._clock.now_ms()
        found = (context_of(coin.name, now_ms, row) for coin, row in zip(meta.universe, rows, strict=True))
        return tuple(context for context in found if context is not None)

    def book(
        self,
        symbol: str,
        *,
        request_class: RequestClass = RequestClass.MARKET,
        max_wait_s: float = DEFAULT_WAIT_S,
        timeout_s: float | None = None,
    ) -> Book:
        """Return the 20-level book; VenueRefused for a coin that the venue does not know."""
        payload = {"type": "l2Book", "coin": symbol, "nSigFigs": None, "mantissa": None}
        row = self.read(
            payload, WireBook | None, weights.light_weight(), request_class, max_wait_s=max_wait_s, timeout_s=timeout_s
        )
        if row is None:
            raise VenueRefused(f"{self.base_url} knows no coin {symbol!r}")
        return book_of(row)

    def all_mids(self, *, request_class: RequestClass = RequestClass.MARKET) -> dict[str, float]:
        """Return the mid of every coin, USD."""
        return dict(self.read({"type": "allMids"}, dict[str, Price], weights.light_weight(), request_class))

    # ------------------------------------------------------------ history

    def candles(
        self,
        symbol: str,
        timeframe: str,
        start_ms: int,
        end_ms: int,
        request_class: RequestClass = RequestClass.MARKET,
        *,
        max_wait_s: float = DEFAULT_WAIT_S,
        timeout_s: float | None = None,
    ) -> tuple[Candle, ...]:
        """Return candles that open in [start_ms, end_ms], oldest first; the newest may still be open.

        The venue has the 5,000 newest candles of an interval and cuts a longer range to its newest rows.

        Raises:
            BadAnswer: naming the row, when a row is not finite, contradicts itself, is off the grid or out of order.
        """
        expected = min(MAX_CANDLES, _candles_between(timeframe, start_ms, end_ms))
        request = {"coin": symbol, "interval": timeframe, "startTime": max(0, start_ms), "endTime": end_ms}
        weight = weights.candle_weight(expected)
        raw: list[Any] = self.read(
            {"type": "candleSnapshot", "req": request},
            list[Any],
            weight,
            request_class,
            max_wait_s=max_wait_s,
            timeout_s=timeout_s,
        )
        self.limiter.charge(weights.candle_weight(len(raw)) - weight)
        candles: tuple[Candle, ...] = self._guard(_checked_candles, symbol, timeframe, raw)
        return candles

    def funding_history(
        self,
        symbol: str,
        start_ms: int,
        end_ms: int,
        *,
        request_class: RequestClass = RequestClass.MARKET,
        max_wait_s: float = DEFAULT_WAIT_S,
        timeout_s: float | None = None,
    ) -> tuple[FundingRate, ...]:
        """Return the settled hourly rates of [start_ms, end_ms], oldest first, page by page.

        The next page starts at the last row's time, which the venue includes again; repeats are dropped.
        """
        rates: dict[int, FundingRate] = {}
        page_start_ms = start_ms
        while True:
            hours = min(FUNDING_PAGE, max(0, end_ms - page_start_ms) // timeframes.HOUR_MS + 1)
            weight = weights.row_weight(hours)
            rows = self.read(
                {"type": "fundingHistory", "coin": symbol, "startTime": page_start_ms, "endTime": end_ms},
                tuple[WireFunding, ...],
                weight,
                request_class,
                max_wait_s=max_wait_s,
                timeout_s=timeout_s,
            )
            self.limiter.charge(weights.row_weight(len(rows)) - weight)
            for row in rows:
                hour_ms = timeframes.open_of("1h", row.time)
                rates.setdefault(hour_ms, FundingRate(symbol, hour_ms, row.fundingRate, row.premium))
            if len(rows) < FUNDING_PAGE:
                return tuple(rates[hour_ms] for hour_ms in sorted(rates))
            if rows[-1].time <= page_start_ms:
                raise BadAnswer(f"{symbol}: a full page of fundingHistory does not go beyond {page_start_ms}")
            page_start_ms = rows[-1].time

    # ------------------------------------------------------------ accounts

    def user_rate_limit(self, address: str, *, request_class: RequestClass = RequestClass.RECONCILE) -> UserRateLimit:
        """Return the action budget of an address."""
        row = self.read({"type": "userRateLimit", "user": address}, WireRateLimit, weights.info_weight(), request_class)
        return UserRateLimit(row.cumVlm, row.nRequestsUsed, row.nRequestsCap)

    def clearinghouse_state(
        self, address: str, *, request_class: RequestClass = RequestClass.RECONCILE
    ) -> VenueAccount:
        """Return the perp account of an address; sizes and amounts are exact."""
        payload = {"type": "clearinghouseState", "user": address, "dex": ""}
        return account_of(self.read(payload, WireAccount, weights.light_weight(), request_class))

    # ------------------------------------------------------------ health and end

    def health(self) -> RestHealth:
        """Return how REST does."""
        with self._lock:
            age_s = None if self._last_ok_s is None else monotonic_s() - self._last_ok_s
            return RestHealth(self._last_error is None, self._last_error, age_s, self._requests, self._failures)

    def close(self) -> None:
        """Close the connections; a request under way ends by its own timeout."""
        self.limiter.close()
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, []
        for info in opened:
            info.session.close()

    # ------------------------------------------------------------ one request

    def read(
        self,
        payload: dict[str, Any],
        answer_type: Any,
        weight: int,
        request_class: RequestClass,
        *,
        max_wait_s: float = DEFAULT_WAIT_S,
        timeout_s: float | None = None,
    ) -> Any:
        """Post one read and return its answer as `answer_type`; `weight` is taken from the budget first."""
        if payload["type"] != "exchangeStatus":
            self.gate()
        self.limiter.acquire(weight, request_class, max_wait_s=max_wait_s)
        return self._guard(self._exchange, payload, answer_type, timeout_s or self._timeout_s)

    def _guard(self, call: Any, *arguments: Any) -> Any:
        """Run one step of a read and keep the health by its outcome."""
        try:
            result = call(*arguments)
        except VenueError as error:
            with self._lock:
                self._last_error = str(error)
                self._failures += 1
            raise
        with self._lock:
            self._last_error = None
            self._last_ok_s = monotonic_s()
        return result

    def _exchange(self, payload: dict[str, Any], answer_type: Any, timeout_s: float) -> Any:
        what = str(payload["type"])
        answer = self._post(payload, what, timeout_s)
        if isinstance(answer, dict) and str(answer.get("error", "")).startswith("Could not parse JSON"):
            begins = str(answer["error"])[len("Could not parse JSON: ") :][:60].replace("\n", " ")
            raise BadAnswer(f"{self.base_url} answered {what} with something that is not JSON; it begins {begins!r}")
        try:
            return msgspec.convert(answer, answer_type, strict=False)
        except msgspec.ValidationError as error:
            raise BadAnswer(f"{self.base_url} answered {what} in an unexpected form: {error}") from None

    def _post(self, payload: dict[str, Any], what: str, timeout_s: float) -> Any:
        import requests
        from hyperliquid.utils.error import ClientError, ServerError

        info = self._info()
        info.timeout = timeout_s
        with self._lock:
            self._requests += 1
        try:
            try:
                answer = info.post("/info", payload)
            except requests.exceptions.ConnectTimeout:
                raise
            except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
                # A kept-alive connection that the venue closed meanwhile looks like this; a read may be repeated.
                answer = info.post("/info", payload)
        except requests.exceptions.ReadTimeout:
            raise VenueTimeout(
                f"no answer from {self.base_url} to {what} within {timeout_s:g} s; the read can be repeated"
            ) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            if "read timed out" in str(error).lower():  # the body stalled: requests calls that a ConnectionError
                raise VenueTimeout(f"the answer of {self.base_url} to {what} stalled for {timeout_s:g} s") from None
            raise VenueAway(away_text(self.base_url)) from None
        except requests.exceptions.RequestException as error:
            raise VenueAway(f"{self.base_url} cannot be read: {error}") from None
        except ClientError as error:
            raise self._refusal(error.status_code, str(error.error_message), what) from None
        except ServerError as error:
            raise self._breakdown(error.status_code, str(error.message), what) from None
        except (KeyError, TypeError, AttributeError):
            # The SDK reads an error's body without looking at its shape.
            raise BadAnswer(f"{self.base_url} refused {what} with an answer of unknown form") from None
        self.limiter.forgive()
        return answer

    def _refusal(self, status: int, text: str, what: str) -> VenueError:
        if status == 429:
            pause_s = self.limiter.penalize()
            return RateLimited(f"{self.base_url} answered 429 to {what}: too many requests; holding back {pause_s:g} s")
        return VenueRefused(f"{self.base_url} refused {what}: {status} {text[:120]}")

    def _breakdown(self, status: int, text: str, what: str) -> VenueError:
        if status == 500:
            return BadAnswer(
                f"{self.base_url} answered {what} with 500 {text[:60]!r} (unknown coin, or a fault of the venue)"
            )
        return VenueAway(f"{self.base_url} is not serving: it answered {what} with {status}")

    def _info(self) -> Any:
        found = getattr(self._local, "info", None)
        if found is not None and not self._is_closed:
            return found
        if self._is_closed:
            raise VenueAway(f"the client of {self.base_url} is closed")
        from hyperliquid.info import Info

        nothing: dict[str, list[Any]] = {"universe": [], "tokens": []}
        found = Info(self.base_url, skip_ws=True, meta=nothing, spot_meta=nothing, timeout=self._timeout_s)
        self._local.info = found
        with self._lock:
            self._opened.append(found)
        return found


def _open() -> None:
    """Let every read pass."""


def away_text(base_url: str) -> str:
    """Return the one line that says that no venue answers, and what to do."""
    if base_url == BASE_URLS[PRACTICE] or urlsplit(base_url).hostname in ("127.0.0.1", "localhost", "::1"):
        return (
            f"no practice venue answers at {base_url}: start one with `perpbot practice serve`, "
            "or choose the real one with `--venue mainnet`"
        )
    return f"no venue answers at {base_url}: check the network, or try the practice venue (`perpbot practice serve`)"


def _candles_between(timeframe: str, start_ms: int, end_ms: int) -> int:
    length_ms = timeframes.FIXED_MS.get(timeframe, 28 * timeframes.DAY_MS)
    return max(1, (end_ms - start_ms) // length_ms + 1)


def _checked_candles(symbol: str, timeframe: str, raw: list[Any]) -> tuple[Candle, ...]:
    try:
        rows = msgspec.convert(raw, list[WireCandle], strict=False)
    except msgspec.ValidationError:
        raise BadAnswer(_first_bad_row(symbol, timeframe, raw)) from None
    candles: list[Candle] = []
    for index, row in enumerate(rows):
        if row.s != symbol or row.i != timeframe:
            raise BadAnswer(f"{symbol} {timeframe}: row {index} is of {row.s} {row.i}")
        if candles and row.t <= candles[-1].open_ms:
            raise BadAnswer(f"{symbol} {timeframe}: row {index} (t={row.t}) does not follow {candles[-1].open_ms}")
        candles.append(candle_of(row, CandleSource.REST))
    return tuple(candles)


def _first_bad_row(symbol: str, timeframe: str, raw: list[Any]) -> str:
    for index, row in enumerate(raw):
        try:
            msgspec.convert(row, WireCandle, strict=False)
        except msgspec.ValidationError as error:
            opened = row.get("t") if isinstance(row, dict) else None
            return f"{symbol} {timeframe}: candle row {index} (t={opened}) is unusable: {error}"
    return f"{symbol} {timeframe}: the answer is not a list of candles"
