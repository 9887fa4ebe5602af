"""Faults on request: each breaks what it says, where it says, and ends when told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from practice_socket import Socket, candle_rows

from perp_bot.core.errors import UsageError
from perp_bot.practice.app import serve
from perp_bot.practice.faults import NAMES, Faults
from perp_bot.practice.server.interventions import FIELDS
from perp_bot.practice.thread import PracticeServer

Connect = Callable[[PracticeServer], Socket]


def info(venue: PracticeServer, request_type: str = "allMids", **fields: Any) -> requests.Response:
    return requests.post(f"{venue.base_url}/info", json={"type": request_type, **fields}, timeout=5)


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [("status_429", 429, "null"), ("status_502", 502, "<html>"), ("null_500", 500, "null"), ("html", 200, "<html>")],
)
def test_false_answers(stepped: PracticeServer, fault: str, status: int, start: str) -> None:
    """429 null, 502 with HTML, 500 null, and HTML under a 200; then the truth again."""
    stepped.set_faults(**{fault: True})
    answer = info(stepped)
    assert answer.status_code == status
    assert answer.text.startswith(start)
    stepped.set_faults(**{fault: False})
    assert info(stepped).status_code == 200


def test_a_fault_can_strike_one_request_type(stepped: PracticeServer) -> None:
    """`on` names request types."""
    stepped.set_faults(status_502={"on": ["candleSnapshot"]})
    assert info(stepped).status_code == 200
    body = {"coin": "BTC", "interval": "1h", "startTime": 0, "endTime": 1}
    assert info(stepped, "candleSnapshot", req=body).status_code == 502


def test_a_fault_ends_by_itself() -> None:
    """`for_s` seconds later it is gone."""
    faults = Faults(1)
    faults.update({"status_502": {"for_s": 0.000001}, "html": {"for_s": 1000}})
    assert faults.find("status_502") is None
    assert faults.answer_for("info", "meta") == "html"


def test_a_silent_venue_keeps_sockets_open_and_says_nothing(stepped: PracticeServer, connect: Connect) -> None:
    """Half-open: no frame, no pong, no close; when it ends, what comes next is told and what was missed is not."""
    socket = connect(stepped)
    socket.subscribe(type="practiceClock")
    socket.until("practiceClock")
    stepped.set_faults(silent=True)
    socket.send({"method": "ping"})
    stepped.step("5m")
    assert stepped.connections == 1
    stepped.set_faults(clear=True)
    stepped.step("1m")
    assert socket.read()["data"]["step"] == 6


def test_all_sockets_can_be_cut(stepped: PracticeServer, connect: Connect) -> None:
    """close_sockets ends every socket without a close frame; new ones are welcome."""
    sockets = [connect(stepped), connect(stepped)]
    for socket in sockets:
        socket.subscribe(type="allMids")
    stepped.close_sockets()
    assert all(socket.ended() for socket in sockets)
    connect(stepped).subscribe(type="allMids")


def test_new_sockets_can_be_refused(stepped: PracticeServer, connect: Connect) -> None:
    """A 502 on "ws" refuses the upgrade, as an outage does."""
    stepped.set_faults(status_502={"on": ["info", "ws"]})
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(stepped)
    assert refused.value.status_code == 502
    assert info(stepped).status_code == 502


def test_a_candle_with_nan(stepped: PracticeServer) -> None:
    """The newest closed row of a candle answer has the close "NaN", for the coin asked for."""
    stepped.set_faults(nan_candle={"coin": "BTC"})
    assert [row["c"] for row in candle_rows(stepped, "BTC", "1m")].count("NaN") == 1
    assert [row["c"] for row in candle_rows(stepped, "ETH", "1m")].count("NaN") == 0


def test_a_coin_can_be_delisted_while_running(stepped: PracticeServer, connect: Connect) -> None:
    """It stays in the universe marked, its book empties, trades and candles stop; others go on; it can return."""
    socket = connect(stepped)
    for subscription in ({"type": "trades", "coin": "ETH"}, {"type": "candle", "coin": "ETH", "interval": "1m"}):
        socket.subscribe(**subscription)
    socket.subscribe(type="practiceClock")
    socket.until("practiceClock")
    stepped.set_faults(delist="ETH")
    since = stepped.now_ms
    stepped.step("5m")
    channels = {frame["channel"] for _ in range(5) for frame in socket.until("practiceClock")}
    assert channels == {"practiceClock"}
    meta, contexts = info(stepped, "metaAndAssetCtxs").json()
    assert meta["universe"][1] == {**meta["universe"][1], "name": "ETH", "isDelisted": True}
    assert contexts[1]["midPx"] is None
    assert info(stepped, "l2Book", coin="ETH").json()["levels"] == [[], []]
    assert candle_rows(stepped, "ETH", "1m")[-1]["T"] + 1 == since
    assert candle_rows(stepped, "BTC", "1m")[-1]["T"] + 1 == stepped.now_ms
    stepped.set_faults(delist=None)
    assert len(info(stepped, "l2Book", coin="ETH").json()["levels"][0]) == 20


def test_clock_skew_moves_the_told_time_only(stepped: PracticeServer) -> None:
    """exchangeStatus and books tell a wrong time; the candles stay where they are."""
    last = candle_rows(stepped, "BTC", "1m")[-1]
    stepped.set_faults(clock_skew_ms=90_000)
    assert info(stepped, "exchangeStatus").json()["time"] == stepped.now_ms + 90_000
    assert info(stepped, "l2Book", coin="BTC").json()["time"] == stepped.now_ms + 90_000
    assert candle_rows(stepped, "BTC", "1m")[-1] == last


@pytest.mark.slow
def test_answers_can_be_late(stepped: PracticeServer) -> None:
    """delay_ms holds an answer back: a client with less patience sees nothing."""
    stepped.set_faults(delay_ms={"amount": 2_000, "on": ["meta"]})
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{stepped.base_url}/info", json={"type": "meta"}, timeout=0.1)
    assert info(stepped).status_code == 200


@pytest.mark.parametrize(("fault", "expected"), [("drop", []), ("duplicate", [1, 1, 2, 2, 3, 3])])
def test_frames_can_be_lost_or_doubled(
    stepped: PracticeServer, connect: Connect, fault: str, expected: list[int]
) -> None:
    """drop and duplicate strike the channels named, with the probability given."""
    socket = connect(stepped)
    socket.subscribe(type="practiceClock")
    socket.until("practiceClock")
    stepped.set_faults(**{fault: {"amount": 1.0, "on": ["practiceClock"]}})
    stepped.step("1m", count=3)
    socket.send({"method": "ping"})
    steps = [frame["data"]["step"] for frame in socket.until("pong")[:-1]]
    assert steps == expected


def test_a_channel_can_fall_silent_for_one_coin(stepped: PracticeServer, connect: Connect) -> None:
    """mute: the channel and coin named are not sent, everything else is, and REST answers."""
    stepped.set_faults(mute={"channels": ["l2Book"], "coins": ["ETH"]})
    socket = connect(stepped)
    for coin in ("BTC", "ETH"):
        socket.subscribe(type="l2Book", coin=coin)
        socket.subscribe(type="activeAssetCtx", coin=coin)
    socket.subscribe(type="practiceClock")
    socket.until("practiceClock")
    stepped.step("1m")
    frames = socket.until("practiceClock")
    assert {frame["data"]["coin"] for frame in frames if frame["channel"] == "l2Book"} == {"BTC"}
    assert {frame["data"]["coin"] for frame in frames if frame["channel"] == "activeAssetCtx"} == {"BTC", "ETH"}
    assert len(info(stepped, "l2Book", coin="ETH").json()["levels"][0]) == 20
    stepped.set_faults(mute=None)
    stepped.step("1m")
    frames = socket.until("practiceClock")
    assert {frame["data"]["coin"] for frame in frames if frame["channel"] == "l2Book"} == {"BTC", "ETH"}


def test_a_loss_can_strike_one_coin() -> None:
    """`coin` limits a random fault of the stream to that coin's frames."""
    faults = Faults(1)
    faults.update({"drop": {"on": ["activeAssetCtx"], "coin": "ETH"}})
    assert faults.happens("drop", "activeAssetCtx", "ETH")
    assert not faults.happens("drop", "activeAssetCtx", "BTC")
    assert not faults.happens("drop", "l2Book", "ETH")


def test_frames_can_swap_places(stepped: PracticeServer, connect: Connect) -> None:
    """reorder holds a frame back until after the next one; nothing is lost."""
    socket = connect(stepped)
    socket.subscribe(type="practiceClock")
    socket.until("practiceClock")
    stepped.set_faults(reorder={"amount": 1.0, "on": ["practiceClock"]})
    stepped.step("1m", count=4)
    assert [socket.read()["data"]["step"] for _ in range(4)] == [2, 1, 4, 3]


def test_random_faults_are_seeded() -> None:
    """The same seed loses the same frames."""

    def losses(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.update({"drop": 0.5})
        return [faults.happens("drop", "trades") for _ in range(50)]

    assert losses(1) == losses(1) != losses(2)
    assert 10 < sum(losses(1)) < 40


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"slow": True}, "unknown fault 'slow'"),
        ({"drop": 2}, "probability"),
        ({"delist": True}, "name a coin"),
        ({"delist": "NOPE"}, "NOPE"),
        ({"delay_ms": {"ms": 4}}, "unknown option 'ms'"),
        ({"html": {"for_s": -1}}, "for_s"),
        ({"html": {"on": 3}}, "list of names"),
        ({"mute": True}, "name the channels"),
        ({"mute": {"channel": "l2Book"}}, "unknown option 'channel'"),
    ],
)
def test_a_wrong_fault_is_refused_and_changes_nothing(
    stepped: PracticeServer, change: dict[str, Any], told: str
) -> None:
    """400 with one line; the faults in force stay as they were."""
    stepped.set_faults(delay_ms=1)
    refused = requests.post(f"{stepped.base_url}/practice/faults", json=change, timeout=5)
    assert refused.status_code == 400
    assert told in refused.json()["error"]
    status = requests.get(f"{stepped.base_url}/practice/status", timeout=5).json()
    assert set(status["faults"]) == {"delay_ms"}


def test_status_tells_the_faults_in_force(stepped: PracticeServer) -> None:
    """GET /practice/status reports state, limits, cadence and faults."""
    stepped.set_faults(drop={"amount": 0.25, "on": "trades"}, delist=["SOL"])
    status = requests.get(f"{stepped.base_url}/practice/status", timeout=5).json()
    assert status["faults"]["drop"] == {"amount": 0.25, "on": ["trades"], "coins": [], "left_s": None}
    assert status["faults"]["delist"]["coins"] == ["SOL"]
    assert status["limits"]["idle_close_s"] == 60.0
    assert status["cadence"]["book_ms"] == 5_400


def test_the_documentation_names_every_fault() -> None:
    """The pages of venue and exchange list each fault, and what happens once, by its name."""
    docs = Path(__file__).parents[2] / "docs"
    text = "".join((docs / name).read_text() for name in ("practice-venue.md", "practice-exchange.md"))
    assert [name for name in sorted(NAMES | set(FIELDS)) if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("text", "told"), [("{", "not JSON"), ("[]", "expected an object"), ('{"x": 1}', "unknown fault")]
)
def test_a_wrong_fault_file_ends_the_start(tmp_path: Path, text: str, told: str) -> None:
    """`--faults FILE` is read before anything is served; what is wrong is said in one line."""
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        serve(port=0, faults=path)
