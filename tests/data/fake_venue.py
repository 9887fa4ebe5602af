"""A tiny venue for the data tests: real HTTP and WebSocket on 127.0.0.1, answers set by the test."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

Answer = Callable[[dict[str, Any]], Any]


class Raw:
    """An answer with a status and a body of its own."""

    def __init__(self, status: int, text: str, content_type: str = "application/json") -> None:
        self.status = status
        self.text = text
        self.content_type = content_type


class FakeVenue:
    """Answer `/info` from `answers[type]` and keep every socket open, pushing what the test says."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        self.connections = 0
        self.accept_sockets = True
        self.answer_pings = True
        self.port = 0
        self._sockets: list[web.WebSocketResponse] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="fake-venue", daemon=True)

    def __enter__(self) -> FakeVenue:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def push(self, *frames: dict[str, Any] | str) -> None:
        """Send frames to every open socket."""

        async def send() -> None:
            for frame in frames:
                text = frame if isinstance(frame, str) else json.dumps(frame)
                for socket in list(self._sockets):
                    await socket.send_str(text)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(5)

    def close_sockets(self) -> None:
        """Cut every socket without a close frame, as the venue does."""

        async def cut() -> None:
            for socket in list(self._sockets):
                transport = socket._req.transport if socket._req is not None else None
                if transport is not None:
                    transport.abort()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(5)

    def subscriptions(self) -> list[dict[str, Any]]:
        return [frame["subscription"] for frame in self.received if frame.get("method") == "subscribe"]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_post("/info", self._info)
        app.router.add_get("/ws", self._ws)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        for socket in list(self._sockets):
            await socket.close()
        await runner.cleanup()

    async def _info(self, request: web.Request) -> web.Response:
        payload = await request.json()
        self.requests.append(payload)
        answer = self.answers.get(payload["type"])
        if answer is None:
            return web.Response(status=422, text="Failed to deserialize the JSON body into the target type")
        result = answer(payload)
        if asyncio.iscoroutine(result):
            result = await result
        if isinstance(result, Raw):
            return web.Response(status=result.status, text=result.text, content_type=result.content_type)
        return web.json_response(result)

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if not self.accept_sockets:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self._sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(socket, json.loads(message.data))
        finally:
            self._sockets.remove(socket)
        return socket

    async def _take(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        self.received.append(frame)
        if frame["method"] == "ping" and self.answer_pings:
            await socket.send_str('{"channel":"pong"}')
        if frame["method"] == "subscribe":
            answer = {"method": "subscribe", "subscription": frame["subscription"]}
            await socket.send_str(json.dumps({"channel": "subscriptionResponse", "data": answer}))
