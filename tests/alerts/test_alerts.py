"""Alerts against stand-ins of Discord and Telegram: delivery, limits, outages, and secrets that stay secret."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from perp_bot.config.model import Secrets
from perp_bot.ops.alert_queue import AlertKind
from perp_bot.ops.alerts import HEARTBEAT_S, Alerts

TOKEN = "123456789:CANARYtelegramTOKENcanaryTELEGRAMtoken0"
WEBHOOK_TOKEN = "CANARYwebhookTOKENcanaryWEBHOOKtokenCANARYwebhookTOKEN"
PRIVATE_KEY = "0x" + "c0ffee42" * 8


class FakeTime:
    """A clock that moves when someone sleeps on it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


class Places:
    """Stand-ins of both services: answer with the next prepared answer, else with success."""

    def __init__(self) -> None:
        self.base_url = ""
        self.discord: list[dict[str, Any]] = []
        self.telegram: list[dict[str, Any]] = []
        self.at_s: list[float] = []
        self.clock: Callable[[], float] = lambda: 0.0
        self.next_discord: list[Callable[[], web.Response] | str] = []
        self.next_telegram: list[Callable[[], web.Response] | str] = []
        self.let_go = asyncio.Event()

    async def on_discord(self, request: web.Request) -> web.Response:
        assert request.match_info["token"] == WEBHOOK_TOKEN
        self.discord.append(await request.json())
        self.at_s.append(self.clock())
        return await self._answer(self.next_discord, web.Response(status=204))

    async def on_telegram(self, request: web.Request) -> web.Response:
        assert request.match_info["token"] == TOKEN
        self.telegram.append(await request.json())
        return await self._answer(self.next_telegram, web.json_response({"ok": True, "result": {"message_id": 42}}))

    async def _answer(self, prepared: list[Callable[[], web.Response] | str], usual: web.Response) -> web.Response:
        if not prepared:
            return usual
        chosen = prepared.pop(0)
        if isinstance(chosen, str):
            await self.let_go.wait()
            return usual
        return chosen()

    def texts(self) -> list[str]:
        return [message["content"] for message in self.discord]


@pytest.fixture
async def places() -> AsyncIterator[Places]:
    made = Places()
    app = web.Application()
    app.router.add_post("/api/webhooks/77/{token}", made.on_discord)
    app.router.add_post("/bot{token}/sendMessage", made.on_telegram)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.let_go.set()
    await runner.cleanup()


class Rig:
    """Alerts whose coroutines run on the test's own loop, on a fake clock."""

    def __init__(self, places: Places, *, discord: bool = True, telegram: bool = False, **options: Any) -> None:
        self.time = FakeTime()
        places.clock = self.time
        self.tasks: list[asyncio.Task[None]] = []
        secrets = Secrets(
            hl_private_key=PRIVATE_KEY,
            discord_webhook_url=f"{places.base_url}/api/webhooks/77/{WEBHOOK_TOKEN}" if discord else None,
            telegram_bot_token=TOKEN if telegram else None,
            telegram_chat_id="-1009876543210" if telegram else None,
        )
        self.alerts = Alerts(
            secrets, self.submit, telegram_base_url=places.base_url, clock=self.time, sleep=self.time.sleep, **options
        )

    def submit(self, make: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        self.tasks.append(asyncio.ensure_future(make()))
        return True

    async def settle(self) -> None:
        """Wait until every pump has nothing left to do."""
        while any(not task.done() for task in self.tasks):
            await asyncio.wait_for(asyncio.gather(*self.tasks), 10)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.alerts._http is not None:
            await self.alerts._http.close()


@pytest.fixture
async def make(places: Places) -> AsyncIterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def build(**options: Any) -> Rig:
        rigs.append(Rig(places, **options))
        return rigs[-1]

    yield build
    for rig in rigs:
        await rig.end()


async def test_an_alert_reaches_both_places(places: Places, make: Callable[..., Rig]) -> None:
    """Kind, coin and text arrive; nobody is mentioned by accident; Telegram gets plain text for the chat."""
    rig = make(telegram=True, label="paper practice")
    rig.alerts.send(AlertKind.OPEN, "long 0.0085 at 78,901.0,\n stop 76,500.0 @everyone", "BTC")
    await rig.settle()
    (discord,), (telegram,) = places.discord, places.telegram
    assert discord["content"].startswith("[paper practice] ")
    assert discord["content"].endswith("Z OPEN BTC: long 0.0085 at 78,901.0, stop 76,500.0 @everyone")
    assert discord["allowed_mentions"] == {"parse": []}
    assert telegram["chat_id"] == "-1009876543210"
    assert telegram["text"] == discord["content"]
    assert telegram["disable_notification"] is False
    assert [channel.sent for channel in rig.alerts.state().channels] == [1, 1]


async def test_routine_alerts_make_no_sound(places: Places, make: Callable[..., Rig]) -> None:
    """A reconnect is read when people look; a kill is heard."""
    rig = make(telegram=True)
    rig.alerts.send(AlertKind.RECONNECT, "after 3 s")
    await rig.settle()
    rig.alerts.send(AlertKind.KILLED, "by operator")
    await rig.settle()
    assert [message["disable_notification"] for message in places.telegram] == [True, False]
    assert [message.get("flags") for message in places.discord] == [4096, None]


async def test_lines_that_wait_together_go_out_as_one_message(places: Places, make: Callable[..., Rig]) -> None:
    """Fifty fills make few messages, all lines in order, none longer than the place takes."""
    rig = make()
    for number in range(50):
        rig.alerts.send(AlertKind.OPEN, f"fill {number} " + "x" * 100, "BTC")
    await rig.settle()
    assert len(places.discord) < 10
    assert all(len(text) <= 2_000 for text in places.texts())
    lines = "\n".join(places.texts()).splitlines()
    assert [row.split("fill ")[1].split()[0] for row in lines] == [str(number) for number in range(50)]


async def test_discord_is_never_sent_more_than_five_messages_in_two_seconds(
    places: Places, make: Callable[..., Rig]
) -> None:
    """By the fake clock, over 23 messages sent one after the other."""
    rig = make()
    for number in range(23):
        rig.alerts.send(AlertKind.OPEN, f"fill {number}")
        await rig.settle()
    assert len(places.at_s) == 23
    assert all(places.at_s[index] - places.at_s[index - 5] >= 2.0 for index in range(5, 23))


async def test_telegram_waits_a_second_between_messages_and_a_minute_after_twenty(
    places: Places, make: Callable[..., Rig]
) -> None:
    """22 single messages take over a minute by the fake clock."""
    rig = make(discord=False, telegram=True)
    start_s = rig.time.now_s
    for number in range(22):
        rig.alerts.send(AlertKind.OPEN, f"fill {number}")
        await rig.settle()
    assert len(places.telegram) == 22
    assert rig.time.now_s - start_s >= 61.0


async def test_a_429_waits_as_long_as_the_place_asks_and_sends_the_same_again(
    places: Places, make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """Discord's retry_after comes in the body, Telegram's in `parameters`; being limited is no outage."""
    rig = make(telegram=True)
    limited = {"message": "You are being rate limited.", "retry_after": 7.5, "global": False}
    places.next_discord = [lambda: web.json_response(limited, status=429)]
    error = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 30}}
    places.next_telegram = [lambda: web.json_response(error, status=429)]
    rig.alerts.send(AlertKind.HALTED, "daily loss")
    await rig.settle()
    assert [len(places.discord), len(places.telegram)] == [2, 2]
    assert places.texts()[0] == places.texts()[1]
    assert rig.time.now_s >= 1_030.0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_exhausted_allowance_announced_by_discord_is_heeded(places: Places, make: Callable[..., Rig]) -> None:
    """`X-RateLimit-Remaining: 0` with a reset in 9 s: the next message waits for it."""
    rig = make()
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "9"}
    places.next_discord = [lambda: web.Response(status=204, headers=headers)]
    rig.alerts.send(AlertKind.OPEN, "one")
    await rig.settle()
    rig.alerts.send(AlertKind.OPEN, "two")
    await rig.settle()
    assert places.at_s[1] - places.at_s[0] >= 9.0


async def test_an_outage_is_logged_once_and_the_alert_arrives_when_it_ends(
    places: Places, make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """Six 500s with growing pauses, then it works: one warning, one all-clear, one delivered line."""
    caplog.set_level(logging.INFO)
    rig = make()
    places.next_discord = [lambda: web.Response(status=500, text="<html>oops</html>")] * 6
    rig.alerts.send(AlertKind.STOP, "stopped", "ETH")
    await rig.settle()
    assert len(places.discord) == 7
    assert rig.time.naps[0] >= 0.5
    assert max(rig.time.naps) >= 16.0
    assert caplog.text.count("Discord takes no alerts: status 500") == 1
    assert caplog.text.count("takes alerts again") == 1
    assert rig.alerts.state().channels[0].is_working is True


async def test_a_refused_alert_is_dropped_stated_and_the_next_message_says_so(
    places: Places, make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """404 Unknown Webhook: sending the same again cannot help."""
    rig = make()
    unknown = {"message": "Unknown Webhook", "code": 10015}
    places.next_discord = [lambda: web.json_response(unknown, status=404)]
    rig.alerts.send(AlertKind.OPEN, "lost")
    await rig.settle()
    state = rig.alerts.state().channels[0]
    assert (state.is_working, state.dropped, state.problem) == (False, 1, "status 404")
    rig.alerts.send(AlertKind.OPEN, "kept")
    await rig.settle()
    assert "(1 earlier alerts were dropped)" in places.texts()[1]
    assert "kept" in places.texts()[1]
    assert caplog.text.count("takes no alerts") == 1


async def test_one_place_that_hangs_costs_the_other_nothing(places: Places, make: Callable[..., Rig]) -> None:
    """Telegram never answers; Discord has its message."""
    rig = make(telegram=True, request_timeout_s=30.0)
    places.next_telegram = ["hang"]
    rig.alerts.send(AlertKind.KILLED, "by operator")
    async with asyncio.timeout(10):
        while not (places.discord and places.telegram):  # noqa: ASYNC110 - the servers' lists have no event
            await asyncio.sleep(0.002)
    states = {channel.name: channel for channel in rig.alerts.state().channels}
    assert states["Telegram"].waiting == 1
    places.let_go.set()
    await rig.settle()
    assert rig.alerts.state().channels[1].sent == 1


async def test_a_hanging_place_is_given_up_and_tried_again(
    places: Places, make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """After its timeout the message is sent again: an alert twice is better than none."""
    rig = make(request_timeout_s=0.05)
    places.next_discord = ["hang"]
    rig.alerts.send(AlertKind.OPEN, "patience")
    await rig.settle()
    assert len(places.discord) == 2
    assert "no answer within 0.05 s" in caplog.text


async def test_no_secret_leaves_by_an_alert_or_a_log_line(
    places: Places, make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """Canaries in the text are blanked in messages; outages of both places log neither token nor webhook."""
    caplog.set_level(logging.DEBUG)
    rig = make(telegram=True)
    error = {"ok": False, "error_code": 401, "description": f"Unauthorized {TOKEN}"}
    places.next_telegram = [lambda: web.json_response(error, status=401)]
    places.next_discord = [lambda: web.Response(status=502)]
    webhook = f"{places.base_url}/api/webhooks/77/{WEBHOOK_TOKEN}"
    rig.alerts.send(AlertKind.HALTED, f"key {PRIVATE_KEY} {PRIVATE_KEY[2:].upper()} token {TOKEN} hook {webhook}")
    await rig.settle()
    rig.alerts.send(AlertKind.HALTED, "again")
    await rig.settle()
    out = str(places.discord) + str(places.telegram) + caplog.text + str(rig.alerts.state()) + repr(rig.alerts)
    assert "takes no alerts" in caplog.text
    for secret in (PRIVATE_KEY[2:], TOKEN, TOKEN.split(":")[1], WEBHOOK_TOKEN):
        assert secret.lower() not in out.lower()


def test_without_secrets_alerts_are_off_and_say_how_to_turn_them_on() -> None:
    """Sending is allowed and does nothing; half a set-up is named."""

    def refuse(make: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        raise AssertionError("nothing may be submitted")

    alerts = Alerts(Secrets(), refuse)
    alerts.send(AlertKind.OPEN, "nobody hears")
    alerts.start_heartbeat(lambda: "alive")
    assert alerts.close(0.1)
    assert alerts.state().is_on is False
    assert alerts.state().text == (
        "alerts off: set DISCORD_WEBHOOK_URL, or TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, in .env"
    )
    half = Alerts(Secrets(telegram_bot_token=TOKEN, discord_webhook_url="my-webhook"), refuse)
    assert half.state().text == (
        "alerts off: DISCORD_WEBHOOK_URL is not an address that starts with https://; "
        "TELEGRAM_CHAT_ID is not set, Telegram is off"
    )


def test_sending_never_raises_whatever_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown kind, a text that is none, a loop that is gone: a log line, and the caller goes on."""

    def gone(make: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        raise RuntimeError("the loop is closed")

    alerts = Alerts(Secrets(discord_webhook_url="https://discord.test/api/webhooks/1/x"), gone)
    alerts.send("NO_SUCH_KIND", "x")
    alerts.send(AlertKind.OPEN, None)  # type: ignore[arg-type]
    alerts.send(AlertKind.OPEN, "fine")
    assert caplog.text.count("an alert was lost") == 3


async def test_the_heartbeat_comes_every_thirty_minutes_even_when_its_text_fails(
    places: Places, make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """Three beats: by the clock 1,800 s apart; the second one's text cannot be made and says so."""
    rig = make()
    texts = iter(["flat, equity 670.00", None, "long BTC"])
    beats: list[float] = []

    def status() -> str:
        beats.append(rig.time.now_s)
        text = next(texts)
        if text is None:
            raise ValueError("no state yet")
        return text

    async def nap(seconds: float) -> None:
        if seconds == HEARTBEAT_S and len(beats) == 3:
            await asyncio.Event().wait()
        await rig.time.sleep(seconds)

    rig.alerts._sleep = nap
    rig.alerts.start_heartbeat(status)
    async with asyncio.timeout(10):
        while "long BTC" not in "".join(places.texts()):  # noqa: ASYNC110 - the server's list has no event
            await asyncio.sleep(0.002)
    assert beats == [1_000.0 + HEARTBEAT_S * count for count in (1, 2, 3)]
    assert "the heartbeat's text could not be made" in caplog.text


def test_close_waits_for_what_is_queued_and_releases_the_connections(caplog: pytest.LogCaptureFixture) -> None:
    """From another thread: the last alert goes out before the daemon ends; nothing is left open."""
    received: list[dict[str, Any]] = []
    loop = asyncio.new_event_loop()
    ready, port = threading.Event(), []

    async def serve() -> web.AppRunner:
        async def take(request: web.Request) -> web.Response:
            received.append(await request.json())
            return web.Response(status=204)

        app = web.Application()
        app.router.add_post("/{tail:.*}", take)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.append(runner.addresses[0][1])
        ready.set()
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(5)
    alerts = Alerts(
        Secrets(discord_webhook_url=f"http://127.0.0.1:{port[0]}/api/webhooks/1/abc"),
        lambda make: asyncio.run_coroutine_threadsafe(make(), loop),
    )
    alerts.send(AlertKind.STOP, "the last word")
    assert alerts.close(10.0)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    assert "the last word" in received[0]["content"]


def test_close_keeps_to_its_time_when_nothing_can_be_sent(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that does not turn: close ends after its time and says what is left."""
    alerts = Alerts(Secrets(discord_webhook_url="http://127.0.0.1:9/api/webhooks/1/abc"), lambda make: False)
    alerts.send(AlertKind.STOP, "stuck")
    start_s = time.monotonic()
    assert alerts.close(0.05) is False
    assert time.monotonic() >= start_s + 0.05
    assert "alerts not delivered at the end: 1" in caplog.text
