"""A market without a server, a stepped venue and open sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from practice_socket import PLENTY, Socket

from perp_bot.practice.market.hours import RECORDED_START_MS
from perp_bot.practice.market.market import Market
from perp_bot.practice.thread import PracticeServer


@pytest.fixture(scope="session")
def market() -> Market:
    """The market of seed 42 at its recorded place in time."""
    return Market(42, RECORDED_START_MS)


@pytest.fixture(scope="module")
def shared() -> Iterator[PracticeServer]:
    """A stepped venue for tests that only read; nobody steps it."""
    with PracticeServer(speed=None, limits=PLENTY) as venue:
        yield venue


@pytest.fixture
def stepped() -> Iterator[PracticeServer]:
    """A stepped venue of one's own."""
    with PracticeServer(speed=None, limits=PLENTY) as venue:
        yield venue


@pytest.fixture
def connect() -> Iterator[Callable[[PracticeServer], Socket]]:
    """Open sockets that are closed after the test."""
    opened: list[Socket] = []

    def opening(venue: PracticeServer) -> Socket:
        opened.append(Socket(venue.ws_url))
        return opened[-1]

    yield opening
    for socket in opened:
        socket.close()


@pytest.fixture
def ask() -> Iterator[Callable[..., Any]]:
    """POST to /info and return the decoded answer."""
    with requests.Session() as session:

        def asking(venue: PracticeServer, request_type: str, **fields: Any) -> Any:
            answer = session.post(f"{venue.base_url}/info", json={"type": request_type, **fields}, timeout=10)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield asking
