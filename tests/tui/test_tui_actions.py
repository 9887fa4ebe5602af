"""The registry: one table of keys, no control on one key press, a reason for everything that is off."""

from __future__ import annotations

from typing import Any

import pytest
from fake_daemon import a_snapshot

from perp_bot.tui.actions import ACTIONS, BY_ID, Action, Effect, Tier, blocked, clashes
from perp_bot.tui.app import DashboardApp, MainScreen
from perp_bot.tui.layout import VIEWS
from perp_bot.tui.panes import chrome
from perp_bot.tui.store import Facts, FrameArrived, Link, LinkChanged, ViewState, reduce

FACTS = Facts("paper", "practice", "paper", "/s", "/d", "/l", "perpbot")


def a_view(read_only: bool = False, age_s: float = 0.0, **changes: Any) -> ViewState:
    """Return a connected view."""
    facts = Facts("paper", "practice", "paper", "/s", "/d", "/l", "perpbot", read_only=read_only)
    view = reduce(ViewState(facts, 0.0), LinkChanged(Link.OPEN, 1.0))
    return reduce(view, FrameArrived(a_snapshot(**changes), age_s, 1.0))


def test_no_two_actions_claim_a_key() -> None:
    """A clash is an error, and the check can see one."""
    assert clashes() == []
    assert clashes((ACTIONS[0], ACTIONS[0])) != []


@pytest.mark.parametrize("action", [item for item in ACTIONS if item.tier in (Tier.MARKET, Tier.KILL)])
def test_no_market_or_kill_action_acts_on_one_key(action: Action) -> None:
    """T2 and KILL open a dialog or arm; only a second, different step acts."""
    assert action.effect in (Effect.OPENS, Effect.ARMS)


def test_the_keys_of_issue_two_are_bound_as_promised() -> None:
    """p pause, r resume, e close dialog, k kill dialog, ? help, q quit."""
    keys = {key: action.id for action in ACTIONS for key in action.keys}
    promised = {
        "p": "pause",
        "r": "resume",
        "e": "close",
        "k": "kill",
        "question_mark": "help",
        "q": "quit",
        "f9": "arm_kill",
    }
    assert {key: keys[key] for key in promised} == promised


def test_every_key_that_is_bound_comes_from_the_table() -> None:
    """One registry: neither the app nor the screen binds anything else."""
    bound = {binding.action for owner in (DashboardApp, MainScreen) for binding in owner.BINDINGS}  # type: ignore[union-attr]
    assert bound == {f"app.run('{action.id}')" for action in ACTIONS}
    assert DashboardApp._merge_bindings().key_to_bindings.keys() == {
        key for action in ACTIONS if action.everywhere for key in action.keys
    }


def test_every_action_can_be_run() -> None:
    """The table promises nothing that the app does not have."""
    for action in ACTIONS:
        name = action.id.removeprefix("show_")
        assert name in VIEWS if action.id.startswith("show_") else hasattr(DashboardApp, f"_do_{action.id}")


def test_every_action_is_in_the_help() -> None:
    """Help is the table."""
    shown = " ".join(row.text for row in chrome.help_content(100).rows)
    for action in ACTIONS:
        assert f"{action.shown:<9} {action.label:<10}".rstrip() in shown
        assert action.help.split()[0] in shown


@pytest.mark.parametrize("action_id", ["pause", "resume", "close"])
def test_without_a_daemon_controls_are_off_with_a_reason(action_id: str) -> None:
    """A disabled action says why."""
    reason = blocked(action_id, ViewState(FACTS, 0.0), 1.0)
    assert reason is not None
    assert "no daemon to ask" in reason


def test_risk_reducing_controls_work_on_stale_values_and_resume_does_not() -> None:
    """STALE: risk-reducing only."""
    view = a_view()
    assert [blocked(name, view, 8.0) is None for name in ("pause", "close", "kill", "resume")] == [
        True,
        True,
        True,
        False,
    ]
    assert [blocked(name, view, 1.5) is None for name in ("pause", "close", "kill", "resume")] == [True] * 4


def test_behind_a_hung_loop_only_kill_is_left() -> None:
    """UNRESPONSIVE: kill latches on the socket thread; the rest needs the loop."""
    view = a_view(age_s=12.0)
    assert blocked("kill", view, 1.5) is None
    assert "trading loop does not answer" in (blocked("close", view, 1.5) or "")
    assert "trading loop does not answer" in (blocked("pause", view, 1.5) or "")


def test_read_only_removes_every_control() -> None:
    """Looking cannot touch."""
    view = a_view(read_only=True)
    for action in ACTIONS:
        expected = action.tier is Tier.LOOK
        assert (blocked(action.id, view, 1.5) is None) is expected, action.id


def test_close_needs_a_position_and_resume_no_kill() -> None:
    """The reasons are the bot's."""
    assert blocked("close", a_view(positions=()), 1.5) == "close: no open position"
    assert "unkill" in (blocked("resume", a_view(status="KILLED"), 1.5) or "")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_footer_keeps_kill_help_and_quit_at_every_width(width: int) -> None:
    """The most important keys stay; what is off is greyed, not gone."""
    found = chrome.footer(a_view(), 1.5, width)
    assert len(found.text) <= width
    for text in ("? Help", "F9 F9 KILL", "k Kill", "p Pause", "q Quit"):
        assert text in found.text
    assert ("p", "off") in chrome.footer(ViewState(FACTS, 0.0), 1.0, width).spans


def test_actions_are_found_by_id() -> None:
    """Ids are unique."""
    assert len(BY_ID) == len(ACTIONS)
