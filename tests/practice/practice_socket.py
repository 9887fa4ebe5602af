"""A small socket client, and limits that do not get in a test's way."""

from __future__ import annotations

import json
from typing import Any

import requests
import websocket

from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer

PLENTY = Limits(weight_per_minute=1_000_000, new_connections_per_minute=1_000)


class Socket:
    """A bare client: sends objects, reads frames in order."""

    def __init__(self, url: str) -> None:
        self.ws = websocket.create_connection(url, timeout=8, skip_utf8_validation=True)

    def send(self, message: object) -> None:
        self.ws.send(json.dumps(message))

    def subscribe(self, **subscription: Any) -> dict[str, Any]:
        """Subscribe and return the acknowledgement."""
        self.send({"method": "subscribe", "subscription": subscription})
        return self.until("subscriptionResponse")[-1]

    def read(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.ws.recv())
        return frame

    def until(self, channel: str, most: int = 20_000) -> list[dict[str, Any]]:
        """Read up to and including the next frame of a channel."""
        frames = []
        for _ in range(most):
            frames.append(self.read())
            if frames[-1]["channel"] == channel:
                return frames
        raise AssertionError(f"no {channel} frame among {most}")

    def ended(self) -> bool:
        """Read until the venue hangs up; return whether it did so without a close frame."""
        try:
            while True:
                opcode, _ = self.ws.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return False
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return True

    def close(self) -> None:
        self.ws.close()


def candle_rows(
    venue: PracticeServer, coin: str, interval: str, start_ms: int = 0, end_ms: int | None = None
) -> list[dict[str, Any]]:
    """Return the candleSnapshot rows of a range; None ends it now."""
    asked = {
        "coin": coin,
        "interval": interval,
        "startTime": start_ms,
        "endTime": venue.now_ms if end_ms is None else end_ms,
    }
    answer = requests.post(f"{venue.base_url}/info", json={"type": "candleSnapshot", "req": asked}, timeout=10)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows
