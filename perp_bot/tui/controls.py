"""Commands of this viewer: sent, answered, or unknown after five seconds. No Textual, no clock of its own.

A prepared control (close, flatten) shows the daemon's preview first. When its token is too old at the time of the
commit, a new preview is asked for, and committed only if it says the same; otherwise the operator looks again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from perp_bot.core.clock import monotonic_s, wall_ms
from perp_bot.ipc.protocol import ControlResult, Preview
from perp_bot.tui.sources.socket import ReplyArrived
from perp_bot.tui.store import Outcome, OutcomeState

ANSWER_WITHIN_S = 5.0
TOKEN_MARGIN_S = 1.0
REASON = "operator at the dashboard"

Send = Callable[[str, dict[str, Any]], int | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A preview and when it came."""

    preview: Preview
    at_s: float

    def is_spendable(self, now_s: float) -> bool:
        """Return whether its token will still be good when the commit arrives."""
        return now_s - self.at_s < self.preview.expires_in_s - TOKEN_MARGIN_S


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no preview."""

    text: str


OnPreview = Callable[[Prepared | Trouble], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    sent_s: float
    outcome_key: int | None
    verb: str
    on_result: Callable[[ControlResult], None]
    on_trouble: Callable[[str], None]
    lost_text: str


def same_effect(shown: Preview, fresh: Preview) -> bool:
    """Return whether `fresh` does what was shown: the same positions by side and size, and no order beyond those shown.

    Fewer orders are no surprise: a kill cancels the entry orders that the flatten would have cancelled.
    """

    def positions(preview: Preview) -> list[tuple[str, str, str]]:
        return sorted((str(p.get("symbol")), str(p.get("side")), str(p.get("size"))) for p in preview.positions)

    def orders(preview: Preview) -> set[str]:
        return {str(order.get("cloid")) for order in preview.orders}

    if (shown.action, shown.scope) != (fresh.action, fresh.scope):
        return False
    return positions(shown) == positions(fresh) and orders(fresh) <= orders(shown)


class ControlDesk:
    """Sends the controls and keeps an outcome for each; lives on the UI thread."""

    def __init__(
        self, send: Send, report: Callable[[Outcome], None], *, status_command: str = "perpbot status"
    ) -> None:
        self._send = send
        self._report = report
        self._status_command = status_command
        self._waiting: dict[int, _Waiting] = {}
        self._late: dict[int, _Waiting] = {}  # called unknown; an answer may still come
        self._next_key = 1

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._waiting)

    # ------------------------------------------------------------ single-phase controls

    def pause(self) -> None:
        """Pause entries."""
        self._single("PAUSE", "pause", {"reason": REASON})

    def resume(self) -> None:
        """Resume entries from a pause."""
        self._single("RESUME", "resume", {"reason": REASON})

    def kill(self) -> None:
        """Latch the kill: entries blocked and cancelled, protective stops stay."""
        self._single("KILL", "kill", {"reason": REASON, "flatten": False})

    # ------------------------------------------------------------ prepared controls

    def prepare(self, action: str, symbol: str | None, on_preview: OnPreview) -> None:
        """Ask for the daemon's preview of `close` or `flatten`; harmless."""
        args: dict[str, Any] = {"action": action, "reason": REASON}
        if symbol is not None:
            args["symbol"] = symbol

        def take(result: ControlResult) -> None:
            if result.preview is None:
                on_preview(Trouble(result.text or "the daemon sent no preview"))
            else:
                on_preview(Prepared(result.preview, monotonic_s()))

        self._ask("prepare", args, None, "PREVIEW", take, lambda text: on_preview(Trouble(text)), "no preview")

    def close(self, symbol: str, shown: Prepared, on_changed: OnPreview) -> None:
        """Close a position as previewed; `on_changed` gets a preview that differs, and nothing is sent then."""
        key = self._begin(f"CLOSE {symbol}", "asked the daemon")
        self._commit_as_shown(key, f"CLOSE {symbol}", "close", symbol, shown, on_changed)

    def kill_and_flatten(self, shown: Prepared | None, on_changed: OnPreview) -> None:
        """Latch the kill at once, then flatten as previewed; `on_changed` gets a preview that differs."""
        verb = "KILL + FLATTEN"
        key = self._begin(verb, "kill sent")

        def latched(result: ControlResult) -> None:
            preview = result.preview
            if preview is None:
                self._settle(key, verb, OutcomeState.FAILED, f"killed, but NOT flattened: {result.text}")
                return
            self._settle(key, verb, OutcomeState.ACCEPTED, f"killed; {preview.text}")
            fresh = Prepared(preview, monotonic_s())
            if shown is None or not same_effect(shown.preview, preview):
                self._settle(key, verb, OutcomeState.ACCEPTED, "killed; the flatten differs from what was shown")
                on_changed(fresh)
                return
            self._commit(key, verb, fresh)

        self._ask(
            "kill",
            {"reason": REASON, "flatten": True},
            key,
            verb,
            latched,
            lambda text: self._settle(key, verb, OutcomeState.FAILED, text),
            "the kill may have latched",
        )

    def commit_flatten(self, shown: Prepared, on_changed: OnPreview) -> None:
        """Flatten as previewed, after a kill that has latched."""
        verb = "FLATTEN"
        key = self._begin(verb, "asked the daemon")
        self._commit_as_shown(key, verb, "flatten", None, shown, on_changed)

    def _commit_as_shown(
        self, key: int, verb: str, action: str, symbol: str | None, shown: Prepared, on_changed: OnPreview
    ) -> None:
        if shown.is_spendable(monotonic_s()):
            self._commit(key, verb, shown)
            return

        def again(found: Prepared | Trouble) -> None:
            if isinstance(found, Trouble):
                self._settle(key, verb, OutcomeState.FAILED, f"nothing sent: {found.text}")
            elif same_effect(shown.preview, found.preview):
                self._commit(key, verb, found)
            else:
                self._settle(key, verb, OutcomeState.FAILED, "nothing sent: it changed since it was shown; look again")
                on_changed(found)

        self.prepare(action, symbol, again)

    def _commit(self, key: int, verb: str, prepared: Prepared) -> None:
        self._ask(
            "commit",
            {"token": prepared.preview.token, "reason": REASON},
            key,
            verb,
            lambda result: self._finish(key, verb, result),
            lambda text: self._settle(key, verb, OutcomeState.FAILED, text),
            "it may have been done",
        )

    # ------------------------------------------------------------ answers

    def on_reply(self, reply: ReplyArrived) -> None:
        """Take the daemon's answer. One that comes after its deadline corrects the outcome, and starts nothing more."""
        waiting = self._waiting.pop(reply.id, None)
        if waiting is None:
            self._on_late_reply(reply)
            return
        if not reply.ok:
            code = reply.error.code if reply.error is not None else "failed"
            text = reply.error.message if reply.error is not None else "the daemon refused without a reason"
            if code == "timeout" and waiting.outcome_key is not None:
                self._settle(waiting.outcome_key, waiting.verb, OutcomeState.UNKNOWN, f"{text}; {self._advice()}")
            else:
                waiting.on_trouble(text)
            return
        try:
            result = msgspec.json.decode(reply.result, type=ControlResult)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            text = f"the answer cannot be read ({error}); {self._advice()}"
            if waiting.outcome_key is None:
                waiting.on_trouble(text)
            else:
                self._settle(waiting.outcome_key, waiting.verb, OutcomeState.UNKNOWN, text)
            return
        waiting.on_result(result)

    def _on_late_reply(self, reply: ReplyArrived) -> None:
        waiting = self._late.pop(reply.id, None)
        if waiting is None or waiting.outcome_key is None:
            return
        key, verb = waiting.outcome_key, waiting.verb
        if not reply.ok:
            text = reply.error.message if reply.error is not None else "refused without a reason"
            state = (
                OutcomeState.UNKNOWN
                if reply.error is not None and reply.error.code == "timeout"
                else OutcomeState.FAILED
            )
            self._settle(key, verb, state, f"late answer: {text}")
            return
        try:
            result = msgspec.json.decode(reply.result, type=ControlResult)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return  # it stays unknown
        if result.preview is not None:
            self._settle(key, verb, OutcomeState.FAILED, f"late answer: killed, but NOT flattened: {result.text}")
            return
        self._finish(key, verb, result)

    def on_lost(self) -> None:
        """The connection ended: whatever was not answered is unknown."""
        self._give_up(list(self._waiting), "the connection ended before the answer")
        self._late.clear()  # request ids mean nothing on another connection

    def tick(self, now_s: float) -> None:
        """Call what was not answered in time unknown."""
        late = [key for key, waiting in self._waiting.items() if now_s - waiting.sent_s > ANSWER_WITHIN_S]
        self._give_up(late, f"no answer in {ANSWER_WITHIN_S:.0f} s")

    def _give_up(self, request_ids: list[int], why: str) -> None:
        for request_id in request_ids:
            waiting = self._waiting.pop(request_id)
            self._late[request_id] = waiting
            if waiting.outcome_key is None:
                waiting.on_trouble(why)
                continue
            text = f"{why}; {waiting.lost_text}; {self._advice()}"
            self._settle(waiting.outcome_key, waiting.verb, OutcomeState.UNKNOWN, text)

    def _advice(self) -> str:
        return f"check with `{self._status_command}`"

    # ------------------------------------------------------------ outcomes

    def _single(self, verb: str, cmd: str, args: dict[str, Any]) -> None:
        key = self._begin(verb, "sent to the daemon")
        self._ask(
            cmd,
            args,
            key,
            verb,
            lambda result: self._finish(key, verb, result),
            lambda text: self._settle(key, verb, OutcomeState.FAILED, text),
            "it may have been done",
        )

    def _ask(
        self,
        cmd: str,
        args: dict[str, Any],
        outcome_key: int | None,
        verb: str,
        on_result: Callable[[ControlResult], None],
        on_trouble: Callable[[str], None],
        lost_text: str,
    ) -> None:
        request_id = self._send(cmd, args)
        if request_id is None:
            on_trouble("nothing sent: there is no connection to the daemon")
            return
        self._waiting[request_id] = _Waiting(monotonic_s(), outcome_key, verb, on_result, on_trouble, lost_text)

    def _begin(self, verb: str, text: str) -> int:
        key = self._next_key
        self._next_key += 1
        self._settle(key, verb, OutcomeState.SENT, text)
        return key

    def _finish(self, key: int, verb: str, result: ControlResult) -> None:
        state = {"unknown": OutcomeState.UNKNOWN, "partly_flat": OutcomeState.FAILED}.get(
            result.status, OutcomeState.DONE
        )
        prefix = {"partly_flat": "NOT flat: ", "already": "already so: "}.get(result.status, "")
        self._settle(key, verb, state, prefix + result.text)

    def _settle(self, key: int, verb: str, state: OutcomeState, text: str) -> None:
        self._report(Outcome(key, verb, state, text, monotonic_s(), wall_ms()))
