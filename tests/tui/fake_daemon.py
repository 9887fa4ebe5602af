"""A daemon for tests and for looking at screens: a real Unix socket, the protocol, scripted answers.

By hand: `python tests/tui/fake_daemon.py FOLDER` makes FOLDER with a config, a database, a log and a lock, serves it,
and prints the command that opens the dashboard on it.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from perp_bot.ipc.state import (
    AccountState,
    Ages,
    Counters,
    EventNote,
    FastSignalState,
    LimitState,
    OrderStateRow,
    PositionState,
    PriceState,
    SignalState,
    StateSnapshot,
)

T0_MS = 1_795_239_067_000  # 2026-11-21 05:31:07 UTC
SILENT = object()  # an answer that never comes
Answer = Callable[[dict[str, Any]], Any]


def a_price(symbol: str = "BTC", mark: float | None = 64_250.0, **changes: Any) -> PriceState:
    """Return a price row."""
    found = PriceState(
        symbol=symbol,
        mark_px=mark,
        oracle_px=mark,
        mid_px=mark,
        best_bid=None if mark is None else mark * 0.9999,
        best_ask=None if mark is None else mark * 1.0001,
        funding_hourly=0.0000125,
        mark_age_s=0.2,
        book_age_s=0.3,
        sz_decimals=5 if symbol == "BTC" else 4,
    )
    return msgspec.structs.replace(found, **changes)


def a_position(symbol: str = "BTC", **changes: Any) -> PositionState:
    """Return a long position of 0.0156 BTC."""
    found = PositionState(
        symbol=symbol,
        side="long",
        size=0.0156,
        entry_px=64_300.5,
        mark_px=64_250.0,
        mark_age_s=0.2,
        notional_usd=1_002.3,
        unrealized_usd=-0.79,
        fees_usd=0.15,
        funding_usd=-0.01,
        stop_px=63_012.0,
        target_px=None,
        opened_ms=T0_MS - 4_320_000,
        timeout_ms=T0_MS + 82_080_000,
        strategy="mean_reversion",
    )
    return msgspec.structs.replace(found, **changes)


def a_signal(symbol: str = "BTC", **changes: Any) -> SignalState:
    """Return an evaluation that held because RSI was not extreme."""
    found = SignalState(
        symbol=symbol,
        strategy="mean_reversion",
        timeframe="15m",
        close_ms=T0_MS - 67_000,
        action="hold",
        reason="z 1.42 is inside +/-2.00",
        blocked_by=(),
        zscore=1.42,
        rsi=63.1,
        adx=18.2,
        bb_upper=64_900.0,
        bb_middle=64_000.0,
        bb_lower=63_100.0,
        close_px=64_250.0,
        entry_threshold=2.0,
        exit_threshold=0.3,
        stop_threshold=3.0,
        rsi_overbought=70.0,
        rsi_oversold=30.0,
        adx_threshold=25.0,
        conditions={"z": False, "rsi": False, "band": False, "adx": True},
        bars=1_412,
        warmup_bars=400,
        starved=None,
    )
    return msgspec.structs.replace(found, **changes)


def a_snapshot(**changes: Any) -> StateSnapshot:
    """Return a running paper daemon with one position."""
    found = StateSnapshot(
        protocol=1,
        boot_id="boot-1",
        seq=1,
        pid=4242,
        version="0.2.0",
        as_of_ms=T0_MS,
        started_ms=T0_MS - 11_000_000,
        uptime_s=11_000.0,
        mode="paper",
        venue="practice",
        venue_url="http://127.0.0.1:8642",
        venue_speed=1.0,
        venue_note="practice venue, seed 42, generated 1m path below recorded 1h candles",
        status="RUNNING",
        status_reasons=(),
        stream_connected=True,
        regime="NORMAL",
        ages=Ages(loop_s=0.1, stream_s=0.2, reconcile_s=12.0, db_write_s=1.5),
        account=AccountState(
            equity_usd=671.42,
            cash_usd=-331.5,
            realized_usd=3.1,
            unrealized_usd=-0.79,
            fees_usd=0.89,
            funding_usd=-0.01,
            day_start_equity_usd=670.0,
            day_realized_usd=2.21,
            session_peak_usd=673.0,
            peak_usd=673.0,
            margin_used_usd=334.1,
            accounting_error_usd=0.0,
            accounting_error_max_usd=0.0,
        ),
        counters=Counters(5_120, 96, 3, 2, 2, 0, 0.4, 1.2),
        prices=(a_price(), a_price("ETH", 3_120.5)),
        positions=(a_position(),),
        orders=(
            OrderStateRow(
                cloid="0x5e1fa1b2c3d4e5f60718293a4b5c6d7e",
                symbol="BTC",
                side="sell",
                role="stop",
                order_type="stop_market",
                size=0.0156,
                filled=0.0,
                limit_px=None,
                trigger_px=63_012.0,
                state="open",
                created_ms=T0_MS - 4_320_000,
                expires_ms=None,
                reduce_only=True,
            ),
        ),
        signals=(
            a_signal(),
            a_signal(
                "ETH",
                action="blocked",
                reason="short: z 2.31 > 2.00",
                zscore=2.31,
                rsi=74.2,
                adx=21.0,
                blocked_by=("max_positions: 1 of 1 positions open",),
                conditions={"z": True, "rsi": True, "band": True, "adx": True},
            ),
        ),
        fast_signals=(
            FastSignalState("BTC", 0.16, 1_250_000.0, 0.31, 0.00042, 1.0, 0.8),
            FastSignalState("ETH", 0.32, 830_000.0, 0.55, 0.00061, 1.0, 0.8),
        ),
        limits=(
            LimitState(
                "daily_loss",
                "risk.daily_loss_limit_pct",
                0.021,
                0.08,
                "fraction",
                False,
                "lost 2.1 % of 670.00 day-start equity, limit 8 %",
            ),
            LimitState(
                "session_drawdown",
                "risk.session_drawdown_pct",
                0.0023,
                0.05,
                "fraction",
                False,
                "down 0.2 % from the session's peak 673.00, limit 5 %",
            ),
            LimitState(
                "max_drawdown",
                "risk.max_drawdown_pct",
                0.0023,
                0.25,
                "fraction",
                False,
                "down 0.2 % from the peak 673.00, limit 25 %",
            ),
            LimitState("positions", "risk.max_positions", 1, 1, "count", True, "1 of 1 positions open"),
            LimitState(
                "cooldown", "risk.cooldown_seconds", 0, 1800, "seconds", False, "no stop in the last 30 minutes"
            ),
            LimitState("losing_weeks", "risk.losing_weeks", 1, 3, "count", False, "1 losing week in a row, limit 3"),
            LimitState(
                "margin", "trading.margin_usage_limit", 0.4987, 0.5, "fraction", False, "334.10 of 335.00 USD margin"
            ),
        ),
        viewers=1,
    )
    return msgspec.structs.replace(found, **changes)


def a_preview(action: str, **changes: Any) -> dict[str, Any]:
    """Return a preview of closing the BTC position."""
    return {
        "action": action,
        "scope": "symbol:BTC" if action == "close" else "all",
        "token": f"token-{action}",
        "expires_in_s": 10.0,
        "positions": [
            {
                "symbol": "BTC",
                "side": "long",
                "size": "0.0156",
                "notional_usd": 1002.3,
                "est_fee_usd": 0.45,
                "est_slippage_usd": 0.1,
            }
        ],
        "orders": [{"cloid": "0x5e1f", "symbol": "BTC", "side": "sell", "size": "0.0156", "role": "stop"}],
        "text": "closes 1 position, about 1,002.30 USD",
        "phrase": None,
    } | changes


class FakeDaemon:
    """Serves one socket. Every request is kept in `requests`; `answers[cmd]` may be replaced."""

    def __init__(self, path: Path, snapshot: StateSnapshot | None = None, *, heartbeat_s: float = 0.2) -> None:
        self.path = path
        self.snapshot = snapshot if snapshot is not None else a_snapshot()
        self.age_s = 0.0  # seconds since the loop published: grows when it hangs
        self.is_frozen = False  # like SIGSTOP: connected, silent
        self.protocol: object = 1
        self.requests: list[dict[str, Any]] = []
        self.answers: dict[str, Answer] = {
            "pause": lambda _args: {"status": "done", "text": "entries paused", "preview": None},
            "resume": lambda _args: {"status": "done", "text": "entries resumed", "preview": None},
            "kill": self._kill,
            "prepare": lambda args: {"status": "done", "text": "", "preview": a_preview(args["action"])},
            "commit": lambda _args: {"status": "flat", "text": "closed BTC, verified flat", "preview": None},
        }
        self._heartbeat_s = heartbeat_s
        self._listener: socket.socket | None = None
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()
        self._stopping = threading.Event()

    @staticmethod
    def _kill(args: dict[str, Any]) -> dict[str, Any]:
        preview = a_preview("flatten", token="token-after-kill") if args.get("flatten") else None
        return {"status": "killed", "text": "killed, entries blocked", "preview": preview}

    def __enter__(self) -> FakeDaemon:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        self._stopping.clear()
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.settimeout(0.05)
        self._spawn(self._accept)
        self._spawn(self._beat)

    def stop(self) -> None:
        """Close every connection and remove the socket, as a daemon that ends."""
        self._stopping.set()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(3.0)
        self._threads.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.path.unlink(missing_ok=True)

    def show(self, **changes: Any) -> None:
        """Change the state and send it at once."""
        self.snapshot = msgspec.structs.replace(self.snapshot, seq=self.snapshot.seq + 1, **changes)
        self.push_state()

    def push_state(self) -> None:
        """Send the state to every subscriber."""
        self.push({"push": "state", "age_s": self.age_s, "state": self.snapshot})

    def push_event(self, note: EventNote) -> None:
        """Send an event."""
        self.push({"push": "event", "event": note})

    def push(self, message: Any) -> None:
        """Send any line to every client, unless frozen."""
        line = message if isinstance(message, bytes) else msgspec.json.encode(message) + b"\n"
        with self._guard:
            if self.is_frozen:
                return
            for client in list(self._clients):
                with contextlib.suppress(OSError):
                    client.sendall(line)

    def sent(self, cmd: str) -> list[dict[str, Any]]:
        """Return the arguments of every `cmd` received."""
        return [request["args"] for request in self.requests if request["cmd"] == cmd]

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _beat(self) -> None:
        while not self._stopping.wait(self._heartbeat_s):
            self.push_state()

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(None)
        with client, client.makefile("rb") as lines:
            try:
                for line in lines:
                    self._answer(client, json.loads(line))
            except OSError:
                pass
            finally:
                with self._guard:
                    if client in self._clients:
                        self._clients.remove(client)

    def _answer(self, client: socket.socket, request: dict[str, Any]) -> None:
        cmd = request["cmd"]
        self.requests.append(request)
        if cmd == "hello":
            result: Any = {
                "protocol": self.protocol,
                "boot_id": self.snapshot.boot_id,
                "pid": self.snapshot.pid,
                "version": self.snapshot.version,
                "mode": self.snapshot.mode,
                "venue": self.snapshot.venue,
            }
        elif cmd == "subscribe":
            result = {}
            with self._guard:
                self._clients.append(client)
        else:
            result = self.answers[cmd](request["args"])
        if result is SILENT or self.is_frozen:
            return
        ok = not (isinstance(result, dict) and "code" in result)
        body = {"id": request["id"], "ok": ok, ("result" if ok else "error"): result}
        with self._guard:
            client.sendall(msgspec.json.encode(body) + b"\n")
        if cmd == "subscribe":
            self.push_state()


# ---------------------------------------------------------------- by hand


def _by_hand(folder: Path) -> None:
    from tui_rows import fill_database, write_log  # beside this file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("data:\n  db_path: perp_bot.db\n")
    fill_database(folder / "perp_bot.db")
    write_log(folder / "perp-bot.log", 400)
    daemon = FakeDaemon(folder / "perp-bot.sock", heartbeat_s=1.0)
    daemon.start()
    print(f"perpbot --config {folder / 'config.yaml'} tui", flush=True)
    started_s = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            passed_s = time.monotonic() - started_s
            mark = 64_250.0 + 40 * math.sin(passed_s / 7)
            daemon.show(
                as_of_ms=T0_MS + int(passed_s * 1000),
                uptime_s=11_000.0 + passed_s,
                prices=(a_price(mark=mark), a_price("ETH", 3_120.5 + math.sin(passed_s))),
                positions=(a_position(mark_px=mark, unrealized_usd=0.0156 * (mark - 64_300.5)),),
            )
            time.sleep(1.0)
    daemon.stop()


if __name__ == "__main__":
    _by_hand(Path(sys.argv[1]))
