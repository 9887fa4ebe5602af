"""A stand-in for the venue's /info on 127.0.0.1: answers with what it is told, or misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web


class StandIn:
    """Answers POST /info from `answers` (key: request type and coin); counts what was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.base_url = ""
        self.released: asyncio.Event = asyncio.Event()
        self.hanging = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def release(self) -> None:
        """Let the hanging requests end."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.released.set)

    async def info(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        key = (body["type"], body.get("coin", ""))
        self.asked.append(key)
        answer = self.answers.get(key)
        if answer == "hang":
            self.hanging.set()
            await self.released.wait()
            return web.Response(text="null", content_type="application/json")
        if answer == "html":
            return web.Response(text="<html>maintenance</html>", content_type="text/html")
        if isinstance(answer, int):
            return web.Response(status=answer, text="null", content_type="application/json")
        if isinstance(answer, list) and answer and isinstance(answer[0], int):  # statuses first, then an answer
            self.answers[key] = answer[1:] if len(answer) > 2 else answer[-1]
            return web.Response(status=answer[0], text="null", content_type="application/json")
        if isinstance(answer, str) and answer.startswith("raw:"):
            return web.Response(text=answer[4:], content_type="application/json")
        return web.Response(text=json.dumps(answer), content_type="application/json")

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        app = web.Application()
        app.router.add_post("/info", self.info)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{port}"
        ready.set()
        await stop.wait()
        self.released.set()
        await runner.cleanup()


@contextmanager
def running_stand_in() -> Iterator[StandIn]:
    """Run a stand-in on its own thread."""
    stand_in = StandIn()
    ready = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def run() -> None:
        async def main() -> None:
            stop = asyncio.Event()
            running.append((asyncio.get_running_loop(), stop))
            await stand_in.serve(ready, stop)

        asyncio.run(main())

    thread = threading.Thread(target=run, name="stand-in", daemon=True)
    thread.start()
    assert ready.wait(5)
    try:
        yield stand_in
    finally:
        loop, stop = running[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        assert not thread.is_alive()


def book(coin: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], time_ms: int) -> dict[str, Any]:
    """Return a book in the venue's shape."""
    levels = [[{"px": px, "sz": sz, "n": 1} for px, sz in side] for side in (bids, asks)]
    return {"coin": coin, "time": time_ms, "levels": levels}
