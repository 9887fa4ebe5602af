"""Commands: sent, answered, refused, unknown; a preview is committed only as it was shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from fake_daemon import a_preview

from perp_bot.core.clock import monotonic_s
from perp_bot.ipc.protocol import ErrorBody, Preview
from perp_bot.tui.controls import ControlDesk, Prepared, Trouble, same_effect
from perp_bot.tui.sources.socket import ReplyArrived
from perp_bot.tui.store import Outcome


class Wire:
    """Takes what the desk sends, and answers when told."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str, dict[str, Any]]] = []
        self.outcomes: list[Outcome] = []
        self.is_open = True
        self.desk = ControlDesk(self.send, self.outcomes.append)

    def send(self, cmd: str, args: dict[str, Any]) -> int | None:
        """Keep a request."""
        if not self.is_open:
            return None
        self.sent.append((len(self.sent) + 101, cmd, args))
        return self.sent[-1][0]

    def answer(self, result: dict[str, Any], index: int = -1) -> None:
        """Answer a request."""
        self.desk.on_reply(ReplyArrived(self.sent[index][0], True, msgspec.json.encode(result), None, monotonic_s()))

    def refuse(self, code: str, message: str, index: int = -1) -> None:
        """Refuse a request."""
        reply = ReplyArrived(self.sent[index][0], False, b"null", ErrorBody(code, message), monotonic_s())
        self.desk.on_reply(reply)

    @property
    def last(self) -> tuple[str, str, str]:
        """Verb, state and text of the newest outcome."""
        newest = self.outcomes[-1]
        return newest.verb, newest.state.value, newest.text

    @property
    def commands(self) -> list[str]:
        """What was sent."""
        return [cmd for _, cmd, _ in self.sent]


@pytest.fixture
def wire() -> Wire:
    """Return a fresh wire."""
    return Wire()


def prepared(action: str, *, old: bool = False, **changes: Any) -> Prepared:
    """Return a preview that was shown, just now or too long ago."""
    preview = msgspec.convert(a_preview(action, **changes), Preview)
    return Prepared(preview, monotonic_s() - (20.0 if old else 0.0))


def done(status: str = "done", text: str = "ok", preview: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a control result."""
    return {"status": status, "text": text, "preview": preview}


def test_a_control_is_sent_then_done(wire: Wire) -> None:
    """SENT before the answer, DONE with the daemon's own words after it."""
    wire.desk.kill()
    assert wire.last == ("KILL", "SENT", "sent to the daemon")
    assert wire.sent[0][1:] == ("kill", {"reason": "operator at the dashboard", "flatten": False})
    wire.answer(done("killed", "killed, 1 entry cancelled"))
    assert wire.last == ("KILL", "DONE", "killed, 1 entry cancelled")
    assert not wire.desk.is_waiting


def test_a_refusal_is_failed_with_the_daemons_reason(wire: Wire) -> None:
    """FAILED says why."""
    wire.desk.pause()
    wire.refuse("refused", "already killed")
    assert wire.last == ("PAUSE", "FAILED", "already killed")


def test_no_answer_in_five_seconds_is_unknown_and_never_assumed(wire: Wire) -> None:
    """UNKNOWN names the command that tells."""
    wire.desk.kill()
    now_s = monotonic_s()
    wire.desk.tick(now_s + 4.9)
    assert wire.last[1] == "SENT"
    wire.desk.tick(now_s + 5.2)
    assert wire.last == ("KILL", "UNKNOWN", "no answer in 5 s; it may have been done; check with `perpbot status`")


def test_a_late_answer_corrects_an_unknown(wire: Wire) -> None:
    """What really happened replaces what was not known."""
    wire.desk.kill()
    wire.desk.tick(monotonic_s() + 6)
    wire.answer(done("killed", "killed"))
    assert wire.last == ("KILL", "DONE", "killed")


def test_a_late_answer_to_kill_and_flatten_commits_nothing(wire: Wire) -> None:
    """Nobody looks any more: the kill is reported, the flatten is not sent."""
    wire.desk.kill_and_flatten(prepared("flatten"), lambda _changed: None)
    wire.desk.tick(monotonic_s() + 6)
    wire.answer(done("killed", "killed", a_preview("flatten")))
    assert wire.commands == ["kill"]
    assert wire.last[1] == "FAILED"
    assert "NOT flattened" in wire.last[2]


def test_the_loops_timeout_is_unknown(wire: Wire) -> None:
    """The socket thread's `timeout` means that nobody knows yet."""
    wire.desk.resume()
    wire.refuse("timeout", "the trading loop does not answer")
    assert wire.last[1] == "UNKNOWN"


def test_a_lost_connection_leaves_what_was_sent_unknown(wire: Wire) -> None:
    """An answer that can no longer come is unknown at once."""
    wire.desk.pause()
    wire.desk.on_lost()
    assert wire.last[1] == "UNKNOWN"
    assert "connection ended" in wire.last[2]


def test_without_a_connection_nothing_is_sent_and_that_is_said(wire: Wire) -> None:
    """FAILED, not UNKNOWN: it never left."""
    wire.is_open = False
    wire.desk.kill()
    assert wire.last == ("KILL", "FAILED", "nothing sent: there is no connection to the daemon")


def test_partly_flat_is_a_failure_and_unknown_stays_unknown(wire: Wire) -> None:
    """Flat means flat."""
    wire.desk.commit_flatten(prepared("flatten"), lambda _changed: None)
    wire.answer(done("partly_flat", "BTC closed, ETH not"))
    assert wire.last == ("FLATTEN", "FAILED", "NOT flat: BTC closed, ETH not")
    wire.desk.kill()
    wire.answer(done("unknown", "the loop did not answer"))
    assert wire.last[1] == "UNKNOWN"


def test_a_garbled_answer_is_unknown(wire: Wire) -> None:
    """An answer that cannot be read is no answer."""
    wire.desk.kill()
    wire.answer({"nonsense": 1})
    assert wire.last[1] == "UNKNOWN"


def test_a_preview_is_asked_for_and_handed_over(wire: Wire) -> None:
    """prepare is harmless and leaves no outcome row."""
    found: list[Prepared | Trouble] = []
    wire.desk.prepare("close", "BTC", found.append)
    wire.answer(done(preview=a_preview("close")))
    assert isinstance(found[0], Prepared)
    assert found[0].preview.token == "token-close"
    wire.desk.prepare("close", "BTC", found.append)
    wire.refuse("refused", "no position in BTC")
    assert found[1] == Trouble("no position in BTC")
    assert wire.outcomes == []


def test_close_commits_the_token_that_was_shown(wire: Wire) -> None:
    """commit spends the token of the preview on screen."""
    wire.desk.close("BTC", prepared("close"), lambda _changed: None)
    assert wire.sent[-1][1:] == ("commit", {"token": "token-close", "reason": "operator at the dashboard"})
    wire.answer(done("done", "closed BTC at 64,240"))
    assert wire.last == ("CLOSE BTC", "DONE", "closed BTC at 64,240")


def test_an_old_preview_is_asked_for_again_and_committed_when_it_says_the_same(wire: Wire) -> None:
    """A token lives 10 s; reading the dialog may take longer."""
    wire.desk.close("BTC", prepared("close", old=True), lambda _changed: None)
    assert wire.commands == ["prepare"]
    wire.answer(done(preview=a_preview("close", token="token-2")))
    assert wire.sent[-1][1:] == ("commit", {"token": "token-2", "reason": "operator at the dashboard"})


@pytest.mark.parametrize(
    "changed",
    [
        {"positions": []},
        {"orders": [{"cloid": "0x5e1f"}, {"cloid": "0xnew"}]},
        {"positions": [{"symbol": "BTC", "side": "short", "size": "0.0156"}]},
        {"positions": [{"symbol": "BTC", "side": "long", "size": "0.0157"}]},
        {"scope": "all"},
    ],
)
def test_a_preview_that_changed_is_not_committed(wire: Wire, changed: dict[str, Any]) -> None:
    """What the operator did not see is not done."""
    again: list[Prepared | Trouble] = []
    wire.desk.close("BTC", prepared("close", old=True), again.append)
    wire.answer(done(preview=a_preview("close", **changed)))
    assert wire.commands == ["prepare"]
    assert wire.last[1] == "FAILED"
    assert "look again" in wire.last[2]
    assert isinstance(again[0], Prepared)


def test_kill_and_flatten_latches_first_and_commits_when_the_preview_is_the_same(wire: Wire) -> None:
    """The kill latches at once; the preview concerns the flatten alone."""
    wire.desk.kill_and_flatten(prepared("flatten"), lambda _changed: None)
    assert wire.sent[0][1:] == ("kill", {"reason": "operator at the dashboard", "flatten": True})
    wire.answer(done("killed", "killed", a_preview("flatten", token="t2")))
    assert wire.last[:2] == ("KILL + FLATTEN", "ACCEPTED")
    assert wire.sent[1][1:] == ("commit", {"token": "t2", "reason": "operator at the dashboard"})
    wire.answer(done("flat", "flat, verified twice"))
    assert wire.last == ("KILL + FLATTEN", "DONE", "flat, verified twice")


def test_a_flatten_that_differs_after_the_kill_asks_again(wire: Wire) -> None:
    """The kill holds; what would be closed is shown again before it is."""
    again: list[Prepared | Trouble] = []
    wire.desk.kill_and_flatten(prepared("flatten"), again.append)
    wire.answer(done("killed", "killed", a_preview("flatten", positions=[])))
    assert wire.commands == ["kill"]
    assert len(again) == 1
    assert wire.last == ("KILL + FLATTEN", "ACCEPTED", "killed; the flatten differs from what was shown")


def test_a_kill_whose_flatten_has_no_preview_says_not_flattened(wire: Wire) -> None:
    """Killed and flat are two things."""
    wire.desk.kill_and_flatten(prepared("flatten"), lambda _changed: None)
    wire.answer(done("killed", "the loop does not answer"))
    assert wire.last == ("KILL + FLATTEN", "FAILED", "killed, but NOT flattened: the loop does not answer")


def test_previews_compare_by_what_they_do_and_not_by_their_estimates() -> None:
    """Prices move all the time; positions, sides, sizes and orders are what was agreed to."""
    one = prepared("close").preview
    assert same_effect(one, prepared("close", token="other", text="other words").preview)
    assert same_effect(one, prepared("close", orders=[]).preview)
    assert not same_effect(one, prepared("flatten").preview)
