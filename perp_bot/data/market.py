"""MarketData: everything the daemon needs to know of the market, behind one door."""

from __future__ import annotations

import difflib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from perp_bot.config.model import Config
from perp_bot.config.venues import base_url, ws_url
from perp_bot.core import timeframes
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import ConfigError
from perp_bot.core.events import MarketSink, MissedMinutes, StreamStatus
from perp_bot.core.types import Candle, FundingRate, Instrument
from perp_bot.data.answers import VenueStatus
from perp_bot.data.candles import CandleManager, LateCandles
from perp_bot.data.client import VenueClient
from perp_bot.data.db.rows import AssetMinute, CandleRows, FundingRateRow
from perp_bot.data.funding_desk import FundingDesk
from perp_bot.data.gap_fill import GapFill
from perp_bot.data.history import closed_history
from perp_bot.data.ingest import StreamIngest
from perp_bot.data.limiter import RequestClass, WeightLimiter
from perp_bot.data.meta import meta_row
from perp_bot.data.rest_worker import RestWorker
from perp_bot.data.same_market import SameMarket
from perp_bot.data.stand_in import SilentChannel, StandIn
from perp_bot.data.store_ports import CandleReader, RowWriter
from perp_bot.data.upkeep import FIRST_ROWS, FUNDING, SeriesUpkeep, StoredSeries
from perp_bot.data.venue_watch import VenueWatch
from perp_bot.data.ws_client import MarketStream, StreamListener, StreamTimings, Subscription

log = logging.getLogger(__name__)

NO_DATA_S = 60.0  # the socket answers pings, but no subscription brings anything
SETTLE_MARGIN_S = 1.0


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """How the market side does; ages in wall seconds, None = never."""

    connected: bool
    reconnects: int
    last_message_age_s: float | None
    ages_s: Mapping[tuple[str, str], float]  # (channel, coin); candles as "candle:15m"
    messages: int
    bad_frames: int
    future_frames: int
    subscriptions: int
    subscriptions_confirmed: int
    last_stream_problem: str | None
    rest_ok: bool
    last_rest_error: str | None
    last_rest_ok_age_s: float | None
    weight_used: int
    weight_limit: int
    clock_skew_ms: float | None  # venue against the carried-forward venue clock
    wall_skew_ms: float | None  # venue against this machine's clock; real-time venues only
    silent: tuple[SilentChannel, ...] = ()  # subscriptions that bring nothing, the longest first


class MarketData(StreamListener):
    """Connect, give history, then feed the sink until stopped.

    Order of use: `connect`, `history` for every deciding series, `start`, `stop`. `deciding` names the series that
    decisions are made on, in config order; the other configured series are only stored.
    """

    def __init__(
        self,
        config: Config,
        clock: VenueClock,
        writer: RowWriter,
        reader_factory: Callable[[], CandleReader],
        sink: MarketSink,
        *,
        deciding: tuple[tuple[str, str], ...],
        timings: StreamTimings | None = None,
        client: VenueClient | None = None,
        account: str | None = None,
    ) -> None:
        """`account`: the address whose orders, fills and funding are followed as well."""
        self._config = config
        self._account = account
        self._clock = clock
        self._writer = writer
        self._reader_factory = reader_factory
        self._sink = sink
        self._deciding = deciding
        self._timings = timings
        self._confirm_timeout_s = config.data.close_confirm_timeout_seconds
        self.base_url = base_url(config.venue)
        self.client = client or VenueClient(self.base_url, clock=clock, limiter=WeightLimiter(clock))
        self.status: VenueStatus | None = None
        self._instruments: dict[str, Instrument] = {}
        self._stopping = threading.Event()
        self._lost_ms = 0
        self._candles = CandleManager(
            deciding,
            client=self.client,
            clock=clock,
            sink=sink,
            store=self._store_candles,
            confirm_timeout_s=self._confirm_timeout_s,
            is_listed=self._is_listed,
        )
        self._funding = FundingDesk(client=self.client, clock=clock, sink=sink, store=self._store_funding)
        self._gap = GapFill(self._candles, sink, self._missed_minutes)
        self._watch = VenueWatch(client=self.client, clock=clock, on_instruments=self._take_instruments)
        self._stand_in = StandIn(
            client=self.client,
            clock=clock,
            sink=sink,
            coins=self._listed_coins,
            ages_s=self._ages_s,
            on_silent=self._on_empty_book,
        )
        self._same_market = SameMarket(self.client, clock)
        self._is_refusal_told = False
        self._rest_problem: str | None = None  # as it was before the market was asked for: that answer says nothing
        self._worker: RestWorker | None = None
        self._ingest: StreamIngest | None = None
        self._stream: MarketStream | None = None

    # ------------------------------------------------------------ before the start

    def connect(self) -> VenueStatus:
        """Find the venue, take its time, read its coins.

        Raises:
            VenueAway: in one line that says what to do, when no venue answers.
            ConfigError: when a configured coin is not listed there.
        """
        status = self.client.connect()
        practice = status.practice
        self._clock.reset(status.time_ms, practice.speed if practice is not None else 1.0)
        self.status = status
        self._same_market.begin(status)
        self.client.gate = self._same_market.gate
        self._take_instruments(self.client.instruments())
        self._check_symbols()
        return status

    @property
    def is_practice(self) -> bool:
        """Whether the venue is a practice one: its prices are generated between recorded hours."""
        return self.status is not None and self.status.practice is not None

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What the venue's meta says, by coin; refreshed every few minutes (a coin may be delisted)."""
        return self._instruments

    def history(self, symbol: str, timeframe: str, bars: int) -> tuple[Candle, ...]:
        """Return the newest closed candles, at most `bars`, oldest first: from the store, completed by REST.

        Raises:
            VenueError: when REST keeps failing.
        """
        reader = self._reader_factory()
        try:
            rows = closed_history(
                symbol,
                timeframe,
                bars,
                client=self.client,
                reader=reader,
                clock=self._clock,
                store=self._store_candles,
                stop=self._stopping,
            )
        finally:
            reader.close()
        if rows:
            self._candles.prime(symbol, timeframe, rows[-1].close_ms)
        return rows

    # ------------------------------------------------------------ running

    def start(self) -> None:
        """Start the socket and the REST worker; the newest closed boundary of each timeframe is reported first."""
        upkeep = SeriesUpkeep(
            self._other_series(),
            client=self.client,
            clock=self._clock,
            store_candles=self._store_candles,
            store_funding=self._store_funding,
        )
        late = LateCandles(self._candles)
        self._candles.begin()
        chores = (self._stand_in, self._candles, self._funding, self._gap, late, self._watch, upkeep)
        self._worker = RestWorker(chores)
        self._ingest = StreamIngest(
            clock=self._clock,
            sink=self._sink,
            candles=self._candles,
            worker=self._worker,
            store_minute=self._store_minute,
            settle_timeout_s=self._confirm_timeout_s + SETTLE_MARGIN_S,
            on_empty_book=self._on_empty_book,
        )
        self._stream = MarketStream(ws_url(self.base_url), self._subscriptions(), self, timings=self._timings)
        self._worker.start()
        self._stream.start()

    def request_funding(self, symbol: str, hour_ms: int) -> None:
        """Ask for the rate that settled at `hour_ms`; it comes as a FundingSettled event once the venue has it."""
        self._funding.request(symbol, hour_ms)
        if self._worker is not None:
            self._worker.wake()

    def is_settled(self) -> bool:
        """Return whether no confirmation, funding read or gap read is due or under way."""
        return self._worker is None or self._worker.is_settled()

    def health(self) -> FeedHealth:
        """Return how the market side does."""
        stream, ingest, rest = self._stream, self._ingest, self.client.health()
        skew = self._watch.skew
        return FeedHealth(
            connected=stream is not None and stream.is_connected,
            reconnects=0 if stream is None else stream.reconnects,
            last_message_age_s=None if stream is None else stream.age_s,
            ages_s=self._ages_s(),
            messages=0 if stream is None else stream.messages,
            bad_frames=0 if ingest is None else ingest.bad_frames,
            future_frames=0 if ingest is None else ingest.future_frames,
            subscriptions=len(self._subscriptions()),
            subscriptions_confirmed=0 if ingest is None else len(ingest.confirmed),
            last_stream_problem=self._stream_problem(),
            rest_ok=rest.is_ok,
            last_rest_error=rest.last_error,
            last_rest_ok_age_s=rest.last_ok_age_s,
            weight_used=self.client.limiter.used(),
            weight_limit=self.client.limiter.limit,
            clock_skew_ms=skew.to_venue_clock_ms,
            wall_skew_ms=skew.to_wall_ms,
            silent=self._stand_in.silent(),
        )

    def stop(self) -> None:
        """Close the stream, end the threads, store the minutes under way; safe to call twice and at any time."""
        self._stopping.set()
        self._candles.stop()
        if self._worker is not None:
            self._worker.stopping.set()
            self._worker.wake()
        has_ended = self._stream is None or self._stream.stop(2.0)
        if has_ended and self._ingest is not None:
            self._ingest.drain_minutes()
        self.client.close()
        if self._worker is not None and not self._worker.stop(1.5):
            log.warning("market data: a REST read is still under way; it ends by its time-out")

    # ------------------------------------------------------------ the stream's listener (socket thread)

    def on_message(self, payload: memoryview) -> None:
        """Take one message."""
        assert self._ingest is not None
        self._ingest.take(payload)

    def on_connected(self, outage_s: float | None, subscriptions: int) -> None:
        """Report the stream; after an outage the gap is filled first."""
        assert self._stream is not None
        assert self._worker is not None
        assert self._ingest is not None
        self._ingest.confirmed.clear()
        self._ingest.last_data_s = monotonic_s()
        self._stand_in.stream_is_up()
        self._is_refusal_told = False
        if outage_s is None:
            self._sink.put_event(StreamStatus(True, 0, f"connected, {subscriptions} subscriptions"))
            return
        self._gap.request(self._lost_ms, outage_s, subscriptions, self._stream.reconnects, self._rest_problem)
        self._watch.look_soon()
        self._worker.wake()

    def on_disconnected(self, reason: str) -> None:
        """Report the loss at once."""
        assert self._stream is not None
        self._same_market.doubt()
        if not self._gap.is_pending():
            self._lost_ms = self._clock.now_ms()  # a gap that is not filled yet began earlier
        self._sink.put_event(StreamStatus(False, self._stream.reconnects, f"stream lost: {reason}"))

    def why_not_connect(self) -> str | None:
        """Say when another market is behind the address now; told once, asked again before every attempt."""
        assert self._stream is not None
        self._rest_problem = self.client.health().last_error
        refused = self._same_market.why_not()
        if refused is not None and self._same_market.is_another and not self._is_refusal_told:
            self._is_refusal_told = True
            self._sink.put_event(StreamStatus(False, self._stream.reconnects, f"stream lost: {refused}"))
        return refused

    def why_stale(self) -> str | None:
        """Say when the socket lives but brings no data, or a channel of it (at `step` silence is normal)."""
        ingest = self._ingest
        if self._clock.stepped or ingest is None or ingest.last_data_s is None or not self._subscriptions():
            return None
        age_s = monotonic_s() - ingest.last_data_s
        if age_s > NO_DATA_S:
            return f"no market data for {age_s:.0f} s though the socket answers"
        return self._stand_in.why_reconnect()

    def _on_empty_book(self, coin: str) -> None:
        """Look at the venue's list of coins now rather than within five minutes."""
        assert self._worker is not None
        if self._is_listed(coin):
            self._watch.look_soon()
            self._worker.wake()

    # ------------------------------------------------------------ what is watched and stored

    def _stream_problem(self) -> str | None:
        by_ingest = None if self._ingest is None else self._ingest.last_problem
        if self._stream is None:
            return by_ingest
        own = self._stream.last_error
        return (by_ingest or own) if self._stream.is_connected else (own or by_ingest)

    def _subscriptions(self) -> tuple[Subscription, ...]:
        """Contexts, books and trades of every listed coin, candles of the deciding series, the practice clock last.

        A coin that the venue does not know would close the whole socket, so only listed ones are named.
        """
        coins = self._listed_coins()
        wanted: list[Subscription] = []
        for coin in coins:
            wanted += [{"type": channel, "coin": coin} for channel in ("activeAssetCtx", "l2Book", "trades")]
        wanted += [
            {"type": "candle", "coin": coin, "interval": timeframe}
            for coin, timeframe in self._deciding
            if self._is_listed(coin)
        ]
        if self._account is not None:
            wanted += [{"type": kind, "user": self._account} for kind in ("orderUpdates", "userFills", "userFundings")]
        if self.is_practice:
            wanted.append({"type": "practiceClock"})
        return tuple(wanted)

    def _listed_coins(self) -> tuple[str, ...]:
        return tuple(coin for coin in self._config.trading.symbols if self._is_listed(coin))

    def _ages_s(self) -> dict[tuple[str, str], float]:
        return {} if self._ingest is None else self._ingest.ages_s()

    def _is_listed(self, coin: str) -> bool:
        found = self._instruments.get(coin)
        return found is not None and not found.is_delisted

    def _other_series(self) -> tuple[StoredSeries, ...]:
        """Return the configured series that nobody decides on, each from where the store ends."""
        now_ms = self._clock.now_ms()
        reader = self._reader_factory()
        try:
            found: list[StoredSeries] = []
            for coin in self._config.trading.symbols:
                for timeframe in self._config.data.timeframes:
                    if (coin, timeframe) in self._deciding:
                        continue
                    span = reader.candle_span(coin, timeframe)
                    length_ms = timeframes.FIXED_MS.get(timeframe, 31 * timeframes.DAY_MS)
                    first_ms = timeframes.open_of(timeframe, now_ms - FIRST_ROWS * length_ms)
                    next_ms = first_ms if span is None else timeframes.close_of(timeframe, span[1])
                    found.append(StoredSeries(coin, timeframe, next_ms))
                rates = reader.funding_rates(coin, now_ms - 30 * timeframes.DAY_MS, now_ms)
                week_ago_ms = timeframes.open_of("1h", now_ms - 7 * timeframes.DAY_MS)
                next_hour_ms = rates[-1].hour_ms + timeframes.HOUR_MS if rates else week_ago_ms
                found.append(StoredSeries(coin, FUNDING, next_hour_ms))
        finally:
            reader.close()
        return tuple(found)

    def _missed_minutes(self, since_ms: int) -> tuple[MissedMinutes, ...]:
        """Read the whole minutes between `since_ms` and now of every listed coin."""
        first_ms = timeframes.open_of("1m", since_ms - 1) + timeframes.MINUTE_MS
        now_ms = self._clock.now_ms()
        if self._clock.stepped:
            # The clock stood still while the stream was away; the newest minute is sent again, with its marks.
            now_ms = self.client.exchange_status().time_ms - timeframes.MINUTE_MS
        until_ms = timeframes.open_of("1m", now_ms)
        if until_ms <= first_ms:
            return ()
        found = []
        for coin in self._config.trading.symbols:
            if self._is_listed(coin):
                rows = self.client.candles(coin, "1m", first_ms, until_ms - 1, RequestClass.RECONCILE)
                whole = tuple(row for row in rows if row.open_ms >= first_ms and row.close_ms <= until_ms)
                found.append(MissedMinutes(coin, whole))
        return tuple(found)

    def _store_candles(self, candles: tuple[Candle, ...]) -> None:
        self._writer.put(CandleRows(candles, generated=self.is_practice))

    def _store_funding(self, rates: tuple[FundingRate, ...]) -> None:
        self._writer.put(*(FundingRateRow(rate) for rate in rates))

    def _store_minute(self, row: AssetMinute) -> None:
        self._writer.put(row)

    def _take_instruments(self, instruments: tuple[Instrument, ...]) -> None:
        before = self._instruments
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        # The first ones are the daemon's to store: the database may belong to another market.
        if before and before != self._instruments:
            self._writer.put(meta_row(instruments, self._clock.now_ms()))
        for coin in self._config.trading.symbols:
            was, now = before.get(coin), self._instruments.get(coin)
            if now is not None and now.is_delisted and (was is None or not was.is_delisted):
                log.warning("%s is delisted at %s: no entries, exits only", coin, self.base_url)

    def _check_symbols(self) -> None:
        for coin in self._config.trading.symbols:
            if coin not in self._instruments:
                near = difflib.get_close_matches(coin, list(self._instruments), n=1)
                hint = f"; nearest: {near[0]}" if near else ""
                where = self._config.source_path or "settings"
                raise ConfigError(f"{where}: trading.symbols: {coin!r} is not listed at {self.base_url}{hint}")
