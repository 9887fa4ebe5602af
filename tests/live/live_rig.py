"""A daemon that trades live on a practice exchange, judged by the venue's own books."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account
from rig import LIVELY, Rig
from venue_books import ZERO, Books, coverage_of, positions_of

from perp_bot.practice.market.coins import COINS
from perp_bot.practice.settings import Limits

OWNER_KEY, AGENT_KEY = "0x" + "11" * 32, "0x" + "22" * 32
OWNER: str = Account.from_key(OWNER_KEY).address.lower()
AGENT: str = Account.from_key(AGENT_KEY).address.lower()
OTHER_AGENT: str = Account.from_key("0x" + "33" * 32).address.lower()
ASSETS = tuple(coin.name for coin in COINS)
PLENTY = Limits(weight_per_minute=1_200, new_connections_per_minute=1_000, connections=100)
CENT = Decimal("0.01")
BREAKERS = ("latency:", "order_failures:", "stale_stream:", "error_rate:")
FIGURES_VARIABLE = "PERPBOT_LIVE_FIGURES"  # a file that every scenario appends what it measured to

Json = dict[str, Any]

# With LIVELY an ETH short of 0.303 is decided at the first close from here on, rests half a minute, is taken in the
# minute after, and is left at the next close.
ETH_SHORT = "430.25"
# A BTC long of 0.01053 is decided at the first close, filled as maker in the minute after, left six closes later.
BTC_LONG = "431.25"
SETTINGS: Json = {
    "signals": LIVELY,
    "trading": {"symbols": ["ETH"]},
    "data": {"timeframes": ["15m"], "close_confirm_timeout_seconds": 15.0},  # a loaded machine is no fault
}


class LiveRig(Rig):
    """One venue with one account, one agent's key, one daemon at a time."""

    mode = "live"
    flags = ("--live", "--yes")

    def __init__(
        self,
        folder: Path,
        *,
        speed: float | None = None,
        start: str = ETH_SHORT,
        settings: Json | None = None,
        usd: float = 10_000,
        positions: tuple[Json, ...] = (),
        name: str = "",
    ) -> None:
        super().__init__(folder, speed=speed, start=start, settings=_merged(SETTINGS, settings or {}))
        account: Json = {"address": OWNER, "usd": usd, "agents": [{"address": AGENT, "name": "bot"}]}
        if positions:
            account["positions"] = list(positions)
        self.seen = Books(OWNER, ASSETS)
        self._venue_options |= {"accounts": {"accounts": [account]}, "witness": self.seen, "limits": PLENTY}
        self.environment = {"XDG_STATE_HOME": str(folder / "state")}
        self._name = name or os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].split(" ")[0]
        self._began_s = time.monotonic()
        self._is_to_live = False  # while it is judged
        self.recoveries: list[
            float
        ] = []  # seconds from a start with positions until they are covered and all is settled
        self.kills: list[float] = []  # seconds from `kill --flatten` to the venue flat

    def write_config(self) -> None:
        super().write_config()
        (self.folder / ".env").write_text(f"HL_PRIVATE_KEY={AGENT_KEY}\nHL_WALLET_ADDRESS={OWNER}\n")

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._note_figures(exc[0] is None)

    def _note_figures(self, is_passed: bool) -> None:
        path = os.environ.get(FIGURES_VARIABLE)
        if path is None:
            return
        seen = self.seen
        figures = {
            "scenario": self._name,
            "passed": is_passed,
            "seconds": time.monotonic() - self._began_s,
            "bare": [(bare.by_fill, bare.ended, round(bare.seconds, 4)) for bare in seen.bare],
            "requests_a_minute": seen.requests_a_minute(),
            "requests": dict(seen.kinds()),
            "actions": seen.trading_actions,
            "round_trips": seen.round_trips,
            "recoveries": self.recoveries,
            "kills": self.kills,
        }
        with Path(path).open("a") as file:
            file.write(json.dumps(figures) + "\n")

    # ------------------------------------------------------------ the venue's books

    @property
    def held(self) -> dict[str, Decimal]:
        """Signed sizes at the venue, by coin."""
        return self.venue.look(lambda venue: positions_of(venue.exchange, OWNER))

    @property
    def covered(self) -> dict[str, Decimal]:
        """What resting reduce-only stops at the venue would close, by coin."""
        return self.venue.look(lambda venue: coverage_of(venue.exchange, OWNER))

    @property
    def resting(self) -> list[Json]:
        """The venue's open orders."""
        return self.venue.look(lambda venue: venue.exchange.frontend_open_orders(OWNER))

    @property
    def resting_entries(self) -> list[Json]:
        """The venue's open orders that add exposure."""
        return [order for order in self.resting if not order["reduceOnly"]]

    @property
    def stops(self) -> list[Json]:
        """The venue's resting stops."""
        return [order for order in self.resting if order["isTrigger"] and order["reduceOnly"]]

    @property
    def venue_fills(self) -> list[Json]:
        """The account's fills at the venue, oldest first."""
        return self.venue.look(lambda venue: venue.exchange.user_fills(OWNER))[::-1]

    @property
    def venue_cash(self) -> Decimal:
        """The venue's totalRawUsd."""

        def read(venue: Any) -> str:
            return str(venue.exchange.clearinghouse_state(OWNER)["marginSummary"]["totalRawUsd"])

        return Decimal(self.venue.look(read))

    @property
    def orphans(self) -> list[Json]:
        """Resting stops of coins that are not held."""

        def read(venue: Any) -> list[Json]:
            held = positions_of(venue.exchange, OWNER)
            orders = venue.exchange.frontend_open_orders(OWNER)
            return [order for order in orders if order["isTrigger"] and order["coin"] not in held]

        return self.venue.look(read)

    def is_protected(self) -> bool:
        """Whether every position at the venue is covered whole by resting stops."""
        covered = self.covered
        return all(covered.get(coin, ZERO) >= abs(size) for coin, size in self.held.items())

    # ------------------------------------------------------------ the bot's books, from its store

    @property
    def booked(self) -> dict[str, Decimal]:
        """Signed sizes by the bot's stored fills."""
        held: dict[str, Decimal] = {}
        for symbol, side, size in self.rows("SELECT symbol, side, size FROM fills WHERE source = 'live'"):
            held[symbol] = held.get(symbol, ZERO) + (1 if side == "buy" else -1) * Decimal(size)
        return {symbol: size for symbol, size in held.items() if size}

    @property
    def booked_cash(self) -> Decimal:
        """Cash by the bot's store: what it began with, its fills, fees and funding."""
        ((start,),) = self.rows("SELECT value_json FROM bot_state WHERE key = 'start_cash:live'")
        cash = Decimal(json.loads(start))
        for side, px, size, fee in self.rows("SELECT side, px, size, fee_usd FROM fills WHERE source = 'live'"):
            cash -= (1 if side == "buy" else -1) * Decimal(size) * Decimal(px) + Decimal(fee)
        paid = self.rows("SELECT usd FROM funding_payments WHERE source = 'live' AND usd IS NOT NULL")
        return cash + sum((Decimal(usd) for (usd,) in paid), ZERO)

    @property
    def position_error(self) -> dict[str, Decimal]:
        """What the bot's stored positions differ from the venue's, by coin."""
        ours, theirs = self.booked, self.held
        differ = {coin: ours.get(coin, ZERO) - theirs.get(coin, ZERO) for coin in ours.keys() | theirs.keys()}
        return {coin: size for coin, size in differ.items() if size}

    # ------------------------------------------------------------ going on

    def await_held(self, coin: str = "ETH") -> None:
        """Step one minute, in which an entry fills or is taken, and wait until the venue holds its position, covered.

        What the stream does not tell is asked for in the wall's time, while the venue's stands.
        """
        if coin not in self.held:
            self.step("1m")
        self.until(f"{coin} is held", lambda: coin in self.held)
        self.until("it is covered", self.is_protected)

    def to_entry(self, **faults: Any) -> None:
        """Start, set faults, and step to the close at which the ETH short is decided."""
        self.start()
        self.venue.set_faults(**faults)
        self.step("15m")

    def hold_eth(self, *, env: dict[str, str] | None = None) -> None:
        """Start and step until the venue holds the ETH short."""
        self.start(env=env)
        self.step("15m")
        self.await_held("ETH")

    def restart(self, *, env: dict[str, str] | None = None) -> None:
        """Start the daemon again; what is held is covered within ten seconds. Note when it was and all is settled."""
        began_s, is_held = time.monotonic(), bool(self.held)
        self.spawn(env=env)
        self.until("every position is covered", self.is_protected, 10.0)
        self.await_ready()
        if is_held:
            self.recoveries.append(time.monotonic() - began_s)

    def await_sound(self, timeout_s: float = 40.0) -> None:
        """Wait until nothing is wrong any more but a breaker's pause, which ends by the venue's clock."""

        def is_sound() -> bool:
            state = self.state()
            reasons = [reason for reason in state.status_reasons if not reason.startswith(BREAKERS)]
            return state.stream_connected and state.status in ("RUNNING", "DEGRADED") and not reasons

        self.until("all is sound again", is_sound, timeout_s)

    @contextmanager
    def stale(self) -> Iterator[None]:
        """Call the data stale: nothing that adds exposure may come to the venue meanwhile."""
        self.seen.is_stale = True
        yield
        self.seen.is_stale = False

    def owner_trades(self, coin: str, size: str, *, reduce_only: bool = False) -> Json:
        """Trade as the owner does in the web app, at the market; a negative size sells."""
        signed = Decimal(size)
        px = self._mark(coin) * (Decimal("1.05") if signed > 0 else Decimal("0.95"))
        order = {
            "a": ASSETS.index(coin), "b": signed > 0, "p": f"{Decimal(f'{px:.5g}'):f}", "s": f"{abs(signed):f}",
            "r": reduce_only, "t": {"limit": {"tif": "FrontendMarket"}},
        }  # fmt: skip
        return self.owner_acts({"type": "order", "orders": [order], "grouping": "na"})

    def owner_acts(self, action: Json) -> Json:
        """Do something as the owner, by hand."""
        reply: Json = self.venue.set_faults(act={"user": OWNER, "action": action})["act"]
        assert reply["status"] == "ok", reply
        for status in reply["response"].get("data", {}).get("statuses", ()):
            assert "error" not in status, reply
        return reply

    def _mark(self, coin: str) -> Decimal:
        def read(venue: Any) -> str:
            return str(venue.exchange.active_asset_data(OWNER, coin)["markPx"])

        return Decimal(self.venue.look(read))

    def told(self, *words: str) -> bool:
        """Whether an event or the log says all of these words in one line."""
        return any(all(word in text for word in words) for text in self.events())

    # ------------------------------------------------------------ the verdict

    def check(self, *, is_alive: bool = True, cash: bool = True) -> None:
        """Assert, from the venue's books: nothing differs, nothing is doubled, nothing is bare, nothing was stale."""
        self._is_to_live = is_alive
        if is_alive:
            self.check_alive()
        self._until("the stored positions are the venue's", lambda: not self.position_error)
        self._until("every position is covered", self.is_protected)
        assert self.seen.doubled == {}, self._context()
        assert self.seen.flips == [], self._context()
        assert self.seen.stale_entries == 0, self._context()
        self._until("no stop is left behind", lambda: not self.orphans)
        if cash:
            self._until("the books' cash is the venue's", lambda: abs(self.booked_cash - self.venue_cash) < CENT)

    def _until(self, what: str, is_true: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait until `is_true`; DaemonDied when a daemon that is to live does not."""
        deadline_s = time.monotonic() + timeout_s
        while not is_true():
            if self._is_to_live:
                self.check_alive()
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {timeout_s:g} s: {what}: {self._context()}")
            time.sleep(0.02)

    def _context(self) -> str:
        seen = {"doubled": self.seen.doubled, "flips": self.seen.flips, "stale entries": self.seen.stale_entries}
        cash = (self.booked_cash, self.venue_cash)
        return f"venue {self.held}, store {self.booked}, {seen}, cash {cash}, {self.resting}; {self.talk[-3000:]}"


def _merged(first: Json, second: Json) -> Json:
    """Return settings with those of `second` in each section before those of `first`."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in first.keys() | second.keys()}
