"""The venue as a process, and its clock."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from perp_bot.core.errors import PerpBotError, UsageError
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.practice.app import serve
from perp_bot.practice.clock import PracticeClock, origin_for, parse_start
from perp_bot.practice.market.hours import RECORDED_START_MS
from perp_bot.practice.server.http import PortTaken
from perp_bot.practice.thread import PracticeServer

SERVE = "from perp_bot.practice.app import serve; serve(port=0, speed={speed}, start='400.5', seed=7)"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_when_it_is_ready_and_ends_cleanly(number: signal.Signals) -> None:
    """One line on stderr with address, speed, seed and time; SIGINT and SIGTERM end it with nothing more to say."""
    process = subprocess.Popen([sys.executable, "-c", SERVE.format(speed=None)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "speed step, seed 7, venue time 2026-01-15T03:30:00Z" in line
        address = line.split()[3].rstrip(":")
        assert requests.get(f"{address}/practice/status", timeout=5).json()["seed"] == 7
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def test_a_taken_port_is_one_clear_error() -> None:
    """A port in use names the address and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PerpBotError, match=rf"127\.0\.0\.1:{port}.*--port"), PracticeServer(port=port):
            pass


@pytest.mark.slow
def test_a_taken_port_ends_serve_too() -> None:
    """The command raises the same error, without a traceback of its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match="--port"):
        serve(port=taken.getsockname()[1], speed=None)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        (None, 400),
        ("12.5", 12.5),
        ("2026-01-01T11:00:00Z", 72),
        ("2026-01-01T11:00", 72),
        (str(RECORDED_START_MS + HOUR_MS), 1),
    ],
)
def test_a_start_is_hours_or_a_time(text: str | None, hours: float) -> None:
    """Hours into the recording, ISO (UTC unless said) or epoch ms; 400 hours by default."""
    assert parse_start(text) == RECORDED_START_MS + int(hours * HOUR_MS)


@pytest.mark.parametrize("text", ["soon", "0.2", "2020-01-01", "-5", "nan"])
def test_an_impossible_start_is_refused(text: str) -> None:
    """One line names --start, the value and what is allowed."""
    with pytest.raises(UsageError, match="--start"):
        parse_start(text)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_an_impossible_speed_is_refused(speed: float) -> None:
    """A speed is above zero."""
    with pytest.raises(UsageError, match="--speed"):
        serve(port=0, speed=speed)


def test_at_speed_one_the_recording_is_moved_to_now_by_whole_hours() -> None:
    """The venue's time is the wall's; minutes of the hour stay, so that candle boundaries do."""
    wall_ms = RECORDED_START_MS + 9_999 * HOUR_MS + 1_234_567
    origin_ms, start_ms = origin_for(RECORDED_START_MS + 400 * HOUR_MS, 1.0, wall_ms)
    assert start_ms == wall_ms
    assert origin_ms % HOUR_MS == RECORDED_START_MS % HOUR_MS == 0
    assert (start_ms - origin_ms) // HOUR_MS == 400
    assert origin_for(RECORDED_START_MS + 400 * HOUR_MS, 20.0, wall_ms) == (
        RECORDED_START_MS,
        RECORDED_START_MS + 400 * HOUR_MS,
    )


def test_at_speed_one_the_venue_has_the_wall_clocks_time() -> None:
    """exchangeStatus and the wall agree within the time of a request."""
    with PracticeServer(speed=1.0) as venue:
        before = time.time_ns() // 1_000_000
        told = requests.post(f"{venue.base_url}/info", json={"type": "exchangeStatus"}, timeout=5).json()["time"]
        after = time.time_ns() // 1_000_000
        assert before - 50 <= told <= after + 50


def test_a_stepped_clock_only_goes_forwards() -> None:
    """It stands until set, and is never set back."""
    clock = PracticeClock(1_000, None)
    assert clock.now_ms() == 1_000
    clock.set(2_000)
    assert clock.now_ms() == 2_000
    with pytest.raises(AssertionError):
        clock.set(1_999)
    with pytest.raises(AssertionError):
        PracticeClock(0, 5.0).set(10)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/info", "/exchange", "/ws"])
def test_a_held_clock_stands_until_the_first_client_comes(path: str) -> None:
    """Whoever looks at the control requests is no client; the first request of one begins the time."""
    arguments = "port=0, speed=100_000.0, start='400', held=True"
    code = f"from perp_bot.practice.app import serve; serve({arguments})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "speed 100000x from the first client on" in line
        address = line.split()[3].rstrip(":")

        def passed_ms() -> int:
            told = requests.get(f"{address}/practice/status", timeout=5).json()
            return int(told["now_ms"] - told["start_ms"])

        time.sleep(0.05)
        assert (passed_ms(), passed_ms()) == (0, 0)
        requests.request("GET" if path == "/ws" else "POST", address + path, timeout=5)
        assert passed_ms() > 0
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
