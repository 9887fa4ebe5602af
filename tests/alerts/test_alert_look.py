"""Looking at a channel: would it take a message? Stand-ins of both services that count what they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from perp_bot.ops.alert_channels import Delivery, Discord, Telegram
from perp_bot.ops.http import HttpClient

TOKEN = "123456789:CANARYtelegramTOKENcanaryTELEGRAMtoken0"
CHAT = "-1009876543210"
WEBHOOK_TOKEN = "CANARYwebhookTOKENcanaryWEBHOOKtokenCANARYwebhookTOKEN"


class Places:
    """Both services as they answer: the webhook itself, the chat; a message would be counted."""

    def __init__(self) -> None:
        self.base_url = ""
        self.messages = 0
        self.status: int | None = None  # of every answer, where it is set

    async def webhook(self, request: web.Request) -> web.Response:
        is_known = request.match_info["token"] == WEBHOOK_TOKEN
        return web.json_response({"name": "perpbot"}, status=self.status or (200 if is_known else 404))

    async def chat(self, request: web.Request) -> web.Response:
        if request.match_info["token"] != TOKEN:
            return web.json_response({"ok": False, "description": "Unauthorized"}, status=401)
        if (await request.json())["chat_id"] != CHAT:
            return web.json_response({"ok": False, "description": "Bad Request: chat not found"}, status=400)
        return web.json_response({"ok": True, "result": {"id": CHAT}}, status=self.status or 200)

    async def message(self, request: web.Request) -> web.Response:
        self.messages += 1
        return web.Response(status=204)


@pytest.fixture
async def places() -> AsyncIterator[Places]:
    made = Places()
    app = web.Application()
    app.router.add_get("/api/webhooks/77/{token}", made.webhook, allow_head=False)
    app.router.add_post("/api/webhooks/77/{token}", made.message)
    app.router.add_post("/bot{token}/getChat", made.chat)
    app.router.add_post("/bot{token}/sendMessage", made.message)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def look(channel: Discord | Telegram) -> Delivery:
    http = HttpClient()
    try:
        return await channel.look(http, timeout_s=2.0)
    finally:
        await http.close()


async def test_a_channel_that_would_take_a_message_is_sent_none(places: Places) -> None:
    """The webhook is there; the bot sees the chat. One that only asks for a pause is there too."""
    discord = Discord(f"{places.base_url}/api/webhooks/77/{WEBHOOK_TOKEN}")
    telegram = Telegram(TOKEN, CHAT, places.base_url)
    for places.status in (None, 429):
        assert (await look(discord)).is_delivered
        assert (await look(telegram)).is_delivered
    assert places.messages == 0


async def test_what_is_wrong_is_named_without_the_token(places: Places) -> None:
    """A deleted webhook, a revoked token, a chat that the bot does not see, nobody at the address."""
    wrong = "999999999:WRONGwrongWRONGwrongWRONGwrongWRONG"
    for channel, says in (
        (Discord(f"{places.base_url}/api/webhooks/77/{wrong}"), "status 404"),
        (Telegram(wrong, CHAT, places.base_url), "status 401 Unauthorized"),
        (Telegram(TOKEN, "1", places.base_url), "status 400 Bad Request: chat not found"),
        (Discord(f"http://127.0.0.1:9/api/webhooks/77/{WEBHOOK_TOKEN}"), "nothing answers"),
        (Telegram(TOKEN, CHAT, "http://127.0.0.1:9"), "nothing answers"),
    ):
        found = await look(channel)
        assert (found.is_delivered, says in found.problem) == (False, True), found
        assert not {wrong, TOKEN, WEBHOOK_TOKEN} & set(found.problem.replace("/", " ").split())
    assert places.messages == 0
