"""POST /exchange: what is read, who may act, which nonces, until when, and what it costs of the IP's weight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hyperliquid.utils import signing as sdk
from practice_socket import Socket
from signed_rig import (
    ACCOUNTS,
    AGENT,
    MASTER,
    PLENTY,
    STRANGER,
    USER,
    act,
    info,
    next_nonce,
    order,
    orders,
    post,
    px_at,
    signed,
)

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.thread import PracticeServer

Connect = Callable[[PracticeServer], Socket]
NOOP = {"type": "noop"}
OK = {"status": "ok", "response": {"type": "default"}}
GONE = "0x" + "9" * 40


@pytest.fixture(scope="module")
def strict() -> Iterator[PracticeServer]:
    """A stepped, strict venue of one funded master with an agent."""
    with PracticeServer(speed=None, limits=PLENTY, accounts=ACCOUNTS) as venue:
        yield venue


def refusal(reply: dict[str, Any]) -> str:
    assert reply["status"] == "err"
    text: str = reply["response"]
    return text


def test_the_master_and_its_agent_may_act(strict: PracticeServer) -> None:
    """Either signature is accepted; the agent's order is its master's."""
    assert act(strict, NOOP) == OK
    assert act(strict, NOOP, AGENT) == OK
    placed = act(strict, orders(order(px_at(strict, 0.9))), AGENT)
    oid = placed["response"]["data"]["statuses"][0]["resting"]["oid"]
    assert oid in [row["oid"] for row in info(strict, "openOrders", user=USER)]
    assert info(strict, "openOrders", user=AGENT.address) == []


def test_a_stranger_does_not_exist(strict: PracticeServer) -> None:
    """The venue's own refusal names the address that it recovered."""
    assert refusal(act(strict, NOOP, STRANGER)) == f"User or API Wallet {STRANGER.address.lower()} does not exist."


@pytest.mark.parametrize("part", ["r", "s"])
def test_one_flipped_byte_of_a_signature_is_refused(strict: PracticeServer, part: str) -> None:
    """It is somebody else's signature, or nobody's; nothing is placed."""
    before = info(strict, "openOrders", user=USER)
    body = signed(orders(order(px_at(strict, 0.9))))
    body["signature"][part] = hex(int(body["signature"][part], 16) ^ (1 << 40))
    told = refusal(post(strict, body).json())
    assert "does not exist." in told or told == "Unable to recover signer."
    assert USER not in told
    assert info(strict, "openOrders", user=USER) == before


def test_a_changed_action_is_refused(strict: PracticeServer) -> None:
    """The signature covers price and size: another size is signed by nobody known here."""
    body = signed(orders(order(px_at(strict, 0.9))))
    body["action"]["orders"][0]["s"] = "0.02"
    assert "does not exist." in refusal(post(strict, body).json())


def test_a_signature_of_nobody_is_refused(strict: PracticeServer) -> None:
    """Zeros recover no address."""
    body = {**signed(NOOP), "signature": {"r": "0x0", "s": "0x0", "v": 27}}
    assert refusal(post(strict, body).json()) == "Unable to recover signer."


def test_the_same_request_again_is_a_used_nonce(strict: PracticeServer) -> None:
    """A byte-identical resend is refused and does nothing."""
    body = signed(orders(order(px_at(strict, 0.9))))
    assert post(strict, body).json()["status"] == "ok"
    count = len(info(strict, "openOrders", user=USER))
    assert refusal(post(strict, body).json()) == f"Invalid nonce: duplicate nonce {body['nonce']}"
    assert len(info(strict, "openOrders", user=USER)) == count


def test_a_noop_burns_its_nonce(strict: PracticeServer) -> None:
    """What is signed with the same nonce afterwards can no longer land: so an unknown outcome is settled."""
    nonce = next_nonce()
    assert act(strict, NOOP, nonce=nonce) == OK
    late = act(strict, orders(order(px_at(strict, 0.9))), nonce=nonce)
    assert refusal(late) == f"Invalid nonce: duplicate nonce {nonce}"


def test_master_and_agent_have_nonces_of_their_own(strict: PracticeServer) -> None:
    """Nonces belong to the signer, not to the account."""
    nonce = next_nonce()
    assert act(strict, NOOP, nonce=nonce) == OK
    assert act(strict, NOOP, AGENT, nonce=nonce) == OK


@pytest.mark.parametrize(("days", "told"), [(-2.01, "too low"), (1.01, "too high"), (-1.99, None), (0.99, None)])
def test_nonces_lie_around_the_wall_clock(strict: PracticeServer, days: float, told: str | None) -> None:
    """The venue's own time (here: of the recording) does not matter."""
    reply = act(strict, NOOP, nonce=time.time_ns() // 1_000_000 + int(days * DAY_MS))
    assert (reply == OK) if told is None else (told in refusal(reply))


def test_an_expired_action_is_cancelled_and_costs_five_times(strict: PracticeServer) -> None:
    """expiresAfter is read by the venue's clock; the nonce is used up and the address budget pays five times."""
    action = orders(order(px_at(strict, 0.9)), order(px_at(strict, 0.8)))
    assert act(strict, action, expires=strict.now_ms + 60_000)["status"] == "ok"
    used = info(strict, "userRateLimit", user=USER)["nRequestsUsed"]
    count = len(info(strict, "openOrders", user=USER))
    nonce = next_nonce()
    assert refusal(act(strict, action, nonce=nonce, expires=strict.now_ms - 1)) == "Action already expired"
    assert len(info(strict, "openOrders", user=USER)) == count
    assert info(strict, "userRateLimit", user=USER)["nRequestsUsed"] == used + 10
    assert "duplicate" in refusal(act(strict, action, nonce=nonce))


def test_a_vault_is_refused_before_its_nonce_is_used(strict: PracticeServer) -> None:
    """There are no vaults here; the text is the venue's."""
    nonce = next_nonce()
    assert refusal(act(strict, NOOP, nonce=nonce, vault=GONE)) == f"Vault not registered: {GONE}"
    assert act(strict, NOOP, nonce=nonce) == OK


@pytest.mark.parametrize(
    ("content", "headers", "status", "text"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415, "Expected request with `Content-Type: application/json`"),
        (b"{", {"Content-Type": "application/json"}, 400, "Failed to parse the request body as JSON"),
        (
            b"{}",
            {"Content-Type": "application/json"},
            422,
            "Failed to deserialize the JSON body into the target type",
        ),
        (
            b"[1]",
            {"Content-Type": "application/json"},
            422,
            "Failed to deserialize the JSON body into the target type",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_as_http(
    strict: PracticeServer, content: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    """Content type, JSON and fields fail with the venue's status and text, as on /info."""
    answer = requests.post(f"{strict.base_url}/exchange", data=content, headers=headers, timeout=5)
    assert (answer.status_code, answer.text) == (status, text)


@pytest.mark.parametrize("kind", ["order", "launchRocket"])
def test_an_action_without_its_fields_is_not_read(strict: PracticeServer, kind: str) -> None:
    """A missing field and an unknown type are the same to the venue: 422."""
    assert post(strict, {**signed(NOOP), "action": {"type": kind}}).status_code == 422


def test_exchange_cannot_be_fetched(strict: PracticeServer) -> None:
    """GET is not allowed."""
    assert requests.get(f"{strict.base_url}/exchange", timeout=5).status_code == 405


def test_what_the_practice_venue_does_not_carry_out_is_said(strict: PracticeServer) -> None:
    """An action of the real venue that is missing here is refused by its name, after the signature was checked."""
    reply = act(strict, {"type": "twapCancel", "a": 0, "t": 1})
    assert refusal(reply) == "The practice venue does not carry out twapCancel."


def transfer(wallet: Any, chain: str = "Testnet", nonce: int | None = None) -> dict[str, Any]:
    nonce = next_nonce() if nonce is None else nonce
    action = {"type": "usdSend", "destination": GONE, "amount": "1", "time": nonce}
    signature = sdk.sign_usd_transfer_action(wallet, action, chain == "Mainnet")
    return {"action": action, "nonce": nonce, "signature": signature}


def test_user_signed_actions_are_checked_before_they_are_refused(strict: PracticeServer) -> None:
    """The master's is not carried out, a stranger or an agent must deposit, another network's is told apart."""
    assert refusal(post(strict, transfer(MASTER)).json()) == "The practice venue does not carry out usdSend."
    for wallet in (STRANGER, AGENT):
        told = refusal(post(strict, transfer(wallet)).json())
        assert told == f"Must deposit before performing actions. User: {wallet.address.lower()}"
    told = refusal(post(strict, transfer(MASTER, "Mainnet")).json())
    assert told == "Mainnet and testnet require different signature."
    body = transfer(MASTER)
    assert refusal(post(strict, {**body, "nonce": body["nonce"] + 1}).json()) == "Nonce mismatch."
    assert "expiresAfter" in refusal(post(strict, {**transfer(MASTER), "expiresAfter": 5}).json())


def test_an_account_without_money_must_deposit() -> None:
    """A master that never had any is known, and can do nothing; nor can its agent."""
    poor = [{**ACCOUNTS[0], "usd": 0}]
    with PracticeServer(speed=None, accounts=poor) as venue:
        for wallet in (MASTER, AGENT):
            assert refusal(act(venue, NOOP, wallet)) == f"Must deposit before performing actions. User: {USER}"


def test_actions_cost_weight_of_the_ip() -> None:
    """1 and one more for every 40 entries, of the 1,200 a minute that /info spends from too; over it 429 null."""
    with PracticeServer(speed=None, accounts=ACCOUNTS) as venue:

        def used() -> int:
            spent: int = requests.get(f"{venue.base_url}/practice/status", timeout=5).json()["weight_used"]
            return spent

        act(venue, NOOP)
        assert used() == 1
        cancels = [{"a": 0, "o": number} for number in range(120)]
        act(venue, {"type": "cancel", "cancels": cancels})
        assert used() == 1 + 1 + 3
        act(venue, {"type": "cancel", "cancels": cancels[:39]})
        assert used() == 6
        venue.set_limits(weight_per_minute=6)
        answer = post(venue, signed(NOOP))
        assert (answer.status_code, answer.text) == (429, "null")
        venue.step("3m")
        assert act(venue, NOOP) == OK


def test_open_accounts_give_every_new_signer_money() -> None:
    """Only when asked for: a stranger trades at once, with 10,000 USDC."""
    with PracticeServer(speed=None, open_accounts=True) as venue:
        stranger = STRANGER.address.lower()
        assert info(venue, "userRole", user=stranger) == {"role": "missing"}
        assert act(venue, NOOP, STRANGER) == OK
        assert float(info(venue, "clearinghouseState", user=stranger)["marginSummary"]["accountValue"]) == 10_000
        assert requests.get(f"{venue.base_url}/practice/status", timeout=5).json()["open_accounts"] is True


def test_money_can_be_given_by_address() -> None:
    """`fund` opens an account, or adds to one of `accounts`."""
    with PracticeServer(speed=None, accounts=ACCOUNTS, fund={STRANGER.address: 250, USER: "0.5"}) as venue:
        for user, usd in ((STRANGER.address, 250), (USER, 10_000.5)):
            assert float(info(venue, "clearinghouseState", user=user)["withdrawable"]) == usd


def test_roles_and_agents_are_told(strict: PracticeServer) -> None:
    """userRole knows users, agents and nobody; extraAgents lists a master's named agents."""
    assert info(strict, "userRole", user=USER) == {"role": "user"}
    assert info(strict, "userRole", user=AGENT.address) == {"role": "agent", "data": {"user": USER}}
    assert info(strict, "userRole", user=GONE) == {"role": "missing"}
    assert [(row["name"], row["address"]) for row in info(strict, "extraAgents", user=USER)] == [
        ("bot", AGENT.address.lower())
    ]


def test_the_socket_takes_actions_too(strict: PracticeServer, connect: Connect) -> None:
    """A post of type action answers like /exchange; what cannot be read is an error payload."""
    socket = connect(strict)

    def posted(number: int, payload: object) -> Any:
        request = {"type": "action", "payload": payload}
        socket.send({"method": "post", "id": number, "request": request})
        answer = socket.until("post")[-1]["data"]
        assert answer["id"] == number
        return answer["response"]

    assert posted(1, signed(NOOP)) == {"type": "action", "payload": OK}
    told = f"User or API Wallet {STRANGER.address.lower()} does not exist."
    assert posted(2, signed(NOOP, STRANGER)) == {"type": "action", "payload": {"status": "err", "response": told}}
    assert posted(3, {"action": NOOP})["type"] == "error"
