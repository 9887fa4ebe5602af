"""Controls from a script and from a terminal: previews, confirmations, scopes, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_run import RunCommand
from ipc_samples import HungLoop, Loop, serving

from perp_bot.core.errors import IpcError
from perp_bot.ipc.control import ControlRequest, Outcome
from perp_bot.ipc.protocol import ControlResult, Preview
from perp_bot.ipc.tokens import TokenStore


class PreparingLoop(Loop):
    """A loop that previews, gives tokens and takes them back; `refuse_first` answers the first commit with a code."""

    def __init__(
        self, refuse_first: str | None = None, commit_status: str = "flat", *, holds_position: bool = True
    ) -> None:
        super().__init__(self._handle)
        self._holds_position = holds_position
        self._tokens = TokenStore("boot-1")
        self._refuse_first = refuse_first
        self._commit_status = commit_status

    def commands(self) -> list[str]:
        return [request.cmd for request in self.seen]

    def _handle(self, request: ControlRequest) -> Outcome:
        if request.cmd == "prepare":
            return ControlResult("done", "preview", self._preview(str(request.args.action), request.args.scope))
        if request.cmd == "kill":
            preview = self._preview("flatten", request.args.scope) if request.args.flatten else None
            return ControlResult("killed", "killed; 0 entry orders cancelled", preview)
        if request.cmd == "commit":
            if self._refuse_first is not None:
                code, self._refuse_first = self._refuse_first, None
                return IpcError("the preview is out of date", code=code)
            assert request.args.token is not None
            prepared = self._tokens.spend(request.args.token)
            return ControlResult(self._commit_status, f"{prepared.action} {prepared.scope} committed")
        return ControlResult("done", f"{request.cmd} {request.args.scope}")

    def _preview(self, action: str, scope: str) -> Preview:
        if not self._holds_position:
            return Preview(action, scope, self._tokens.issue(action, scope, ""), 10.0, (), (), "nothing is open")
        return Preview(
            action=action,
            scope=scope,
            token=self._tokens.issue(action, scope, "long"),
            expires_in_s=10.0,
            positions=({"symbol": "BTC", "side": "long", "size": 0.015, "notional_usd": 975.0, "est_fee_usd": None},),
            orders=({"cloid": "0xab", "symbol": "BTC", "role": "entry"},),
            text=f"{action} would sell 0.015 BTC at the market",
        )


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_pause_and_resume_act_at_once_with_a_scope(perpbot: RunCommand, tmp_path: Path, name: str) -> None:
    """Single-phase and idempotent: nothing is asked."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        everything = perpbot(name)
        coin = perpbot(name, "--symbol", "btcusdt", "--reason", "thin book", "--json")
        strategy = perpbot(name, "--strategy", "mean_reversion")
    assert (everything.code, everything.out, everything.err) == (0, f"{name} all\n", "")
    assert json.loads(coin.out) == {"status": "done", "text": f"{name} symbol:BTC", "preview": None}
    assert strategy.out == f"{name} strategy:mean_reversion\n"
    assert [request.args.reason for request in loop.seen] == [None, "thin book", None]


@pytest.mark.parametrize("arguments", [["close", "BTC"], ["cancel-orders"]])
def test_what_moves_money_needs_yes_where_nobody_can_be_asked(
    perpbot: RunCommand, tmp_path: Path, arguments: list[str]
) -> None:
    """Refused in one line, before the daemon hears of it."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"perpbot: {arguments[0]} asks before it acts, and this is not a terminal: add --yes\n"
    assert loop.seen == []


def test_yes_shows_the_preview_and_commits(perpbot: RunCommand, tmp_path: Path) -> None:
    """--yes does both phases; the preview is talk (stderr), the outcome data."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot("close", "BTC-PERP", "--yes", "--json", "--reason", "done for today")
    assert ran.code == 0
    assert json.loads(ran.out)["text"] == "close symbol:BTC committed"
    assert "close would sell 0.015 BTC at the market" in ran.err
    assert "notional_usd 975.00  est_fee_usd unknown" in ran.err
    assert loop.commands() == ["prepare", "commit"]
    assert loop.seen[0].args.action == "close"


def test_on_a_terminal_it_asks_and_no_is_the_default(perpbot: RunCommand, tmp_path: Path) -> None:
    """Enter alone does nothing."""
    for typed in ("\n", "n\n"):
        loop = PreparingLoop()
        with serving(tmp_path, loop):
            ran = perpbot("close", "BTC", typed=typed)
        assert (ran.code, ran.out) == (1, "close: not done, you said no\n")
        assert "Do it? [y/N]" in ran.err
        assert loop.commands() == ["prepare"]


def test_on_a_terminal_y_commits(perpbot: RunCommand, tmp_path: Path) -> None:
    """The operator saw the preview and said yes."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot("cancel-orders", "--symbol", "BTC", typed="y\n")
    assert (ran.code, ran.out) == (0, "cancel_orders symbol:BTC committed\n")


@pytest.mark.parametrize("code", ["token_expired", "changed"])
def test_a_preview_that_got_old_is_shown_again_and_asked_again(perpbot: RunCommand, tmp_path: Path, code: str) -> None:
    """Nobody confirms what is no longer true."""
    loop = PreparingLoop(refuse_first=code)
    with serving(tmp_path, loop):
        ran = perpbot("close", "BTC", typed="y\ny\n")
    assert ran.code == 0
    assert loop.commands() == ["prepare", "commit", "prepare", "commit"]
    assert ran.err.count("would sell 0.015 BTC") == 2


def test_with_yes_a_changed_world_is_refused_not_retried(perpbot: RunCommand, tmp_path: Path) -> None:
    """A script must not close something it never saw."""
    loop = PreparingLoop(refuse_first="changed")
    with serving(tmp_path, loop):
        ran = perpbot("close", "BTC", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert "perpbot: the preview is out of date" in ran.err
    assert loop.commands() == ["prepare", "commit"]


def test_nothing_to_do_is_said_and_not_asked(perpbot: RunCommand, tmp_path: Path) -> None:
    """No preview, no question."""
    loop = Loop(lambda request: ControlResult("already", "no position in BTC"))
    with serving(tmp_path, loop):
        ran = perpbot("close", "BTC", typed="")
    assert (ran.code, ran.out) == (0, "no position in BTC\n")


@pytest.mark.parametrize("status", ["unknown", "partly_flat"])
def test_an_uncertain_outcome_is_exit_code_1(perpbot: RunCommand, tmp_path: Path, status: str) -> None:
    """Only what is certain is a success."""
    with serving(tmp_path, PreparingLoop(commit_status=status)):
        assert perpbot("close", "BTC", "--yes").code == 1


def test_an_interrupt_at_the_question_does_nothing(perpbot: RunCommand, tmp_path: Path) -> None:
    """Ctrl-D or Ctrl-C: 130, no commit."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot("close", "BTC", typed="")
    assert ran.code == 130
    assert loop.commands() == ["prepare"]


@pytest.mark.slow
def test_a_hung_loop_is_an_error_with_an_unknown_outcome(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says that kill works."""
    monkeypatch.setattr("perp_bot.ipc.control.CONTROL_TIMEOUT_S", 0.3)
    with serving(tmp_path, HungLoop()):
        ran = perpbot("pause")
    assert (ran.code, ran.err) == (1, "perpbot: the trading loop does not answer; kill works\n")


def test_without_a_daemon_controls_are_exit_code_3(perpbot: RunCommand) -> None:
    """One line each."""
    for arguments in (["pause"], ["resume"], ["close", "BTC", "--yes"], ["cancel-orders", "--yes"]):
        ran = perpbot(*arguments)
        assert (ran.code, ran.out) == (3, ""), arguments
        assert ran.err.count("\n") == 1


# ---------------------------------------------------------------- unkill


def test_unkill_needs_the_phrase_and_yes_never_stands_in(perpbot: RunCommand, tmp_path: Path) -> None:
    """Not from a script without --phrase, not with the wrong one."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        without = perpbot("unkill", "--yes")
        wrong = perpbot("unkill", "--yes", "--phrase", "resume mainnet")
        typed_wrong = perpbot("unkill", typed="yes\n")
    assert [ran.code for ran in (without, wrong, typed_wrong)] == [2, 2, 2]
    assert "--yes does not stand in for it" in without.err
    assert "the phrase is `resume practice`" in wrong.err
    assert loop.seen == []


@pytest.mark.parametrize("how", ["typed", "option"])
def test_unkill_with_the_phrase_previews_and_commits(perpbot: RunCommand, tmp_path: Path, how: str) -> None:
    """The phrase goes to the daemon, which is the judge."""
    loop = PreparingLoop(commit_status="done")
    with serving(tmp_path, loop):
        if how == "typed":
            ran = perpbot("unkill", typed="resume practice\n")
        else:
            ran = perpbot("unkill", "--phrase", "resume practice")
    assert (ran.code, ran.out) == (0, "unkill all committed\n")
    assert loop.seen[0].args.phrase == "resume practice"
    assert "unkill would" in ran.err
