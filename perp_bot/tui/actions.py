"""The one table of actions: keys, footer, help and documentation read it, and nothing else binds a key.

Tiers: T0 looks only; T1 reversible; T2 market-impacting and risk-reducing; KILL latches; no T3 is offered here
(`perpbot unkill` asks for its phrase). No T2 or KILL action acts on one key press: its key opens a dialog or arms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from perp_bot.tui.store import Connection, ViewState, bot_status, connection


class Tier(StrEnum):
    """How much an action can do."""

    LOOK = "T0"
    REVERSIBLE = "T1"
    MARKET = "T2"
    KILL = "KILL"


class Effect(StrEnum):
    """What one press of the key does."""

    ACTS = "acts"
    OPENS = "opens a dialog"
    ARMS = "arms; a second press within 3 s acts"


Gate = Callable[[ViewState, float], str | None]  # the reason why it is disabled, or None


def always(_view: ViewState, _now_s: float) -> str | None:
    """Enable an action in every state."""
    return None


def _control(view: ViewState, now_s: float, *, in_states: tuple[Connection, ...], what: str) -> str | None:
    if view.facts.read_only:
        return f"{what}: this dashboard is read-only"
    found = connection(view, now_s)
    if found.state in in_states:
        return None
    if found.state is Connection.UNRESPONSIVE:
        return f"{what}: the trading loop does not answer; kill still works (k or F9 F9)"
    return f"{what}: no daemon to ask ({found.state}); see the command line: {view.facts.command} --help"


_REDUCING = (Connection.LIVE, Connection.LATE, Connection.STALE)
_ALIVE = (Connection.LIVE, Connection.LATE)


def can_pause(view: ViewState, now_s: float) -> str | None:
    """Allow a pause whenever a daemon may hear it."""
    return _control(view, now_s, in_states=_REDUCING, what="pause")


def can_resume(view: ViewState, now_s: float) -> str | None:
    """Allow a resume only on fresh values, and only from a pause."""
    refused = _control(view, now_s, in_states=_ALIVE, what="resume")
    if refused is None and bot_status(view) == "KILLED":
        return f"resume: killed; only `{view.facts.command} unkill` comes back from a kill"
    return refused


def can_close(view: ViewState, now_s: float) -> str | None:
    """Allow a close when there is something to close."""
    refused = _control(view, now_s, in_states=_REDUCING, what="close")
    if refused is None and (view.frame is None or not view.frame.snapshot.positions):
        return "close: no open position"
    return refused


def can_kill(view: ViewState, _now_s: float) -> str | None:
    """Open the kill dialog in every state; without a daemon it offers the command line."""
    return "kill: this dashboard is read-only" if view.facts.read_only else None


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a key does."""

    id: str
    keys: tuple[str, ...]
    shown: str  # the key as printed
    label: str  # one word for the footer
    help: str
    tier: Tier = Tier.LOOK
    effect: Effect = Effect.ACTS
    enabled: Gate = always
    footer: int | None = None  # order of importance in the footer, None = help only
    everywhere: bool = False  # works in dialogs too


ACTIONS: tuple[Action, ...] = (
    Action("help", ("question_mark", "f1"), "?", "Help", "Show every key.", footer=1),
    Action(
        "pause",
        ("p",),
        "p",
        "Pause",
        "Pause entries at once; stops, exits and reconciliation go on. Undo with r.",
        Tier.REVERSIBLE,
        Effect.ACTS,
        can_pause,
        footer=2,
    ),
    Action(
        "resume",
        ("r",),
        "r",
        "Resume",
        "Resume entries after a pause; asks y/n. Not from a kill.",
        Tier.REVERSIBLE,
        Effect.OPENS,
        can_resume,
        footer=4,
    ),
    Action(
        "close",
        ("e",),
        "e",
        "Close",
        "Open the close dialog: the daemon's preview, then type the coin.",
        Tier.MARKET,
        Effect.OPENS,
        can_close,
        footer=3,
    ),
    Action(
        "kill",
        ("k",),
        "k",
        "Kill",
        "Open the kill dialog: type kill (block entries, latched) or flatten (kill, then close everything).",
        Tier.KILL,
        Effect.OPENS,
        can_kill,
        footer=2,
    ),
    Action(
        "arm_kill",
        ("f9",),
        "F9 F9",
        "KILL",
        "Twice within 3 s, from anywhere: KILL. Entries blocked and cancelled, protective stops stay. esc disarms.",
        Tier.KILL,
        Effect.ARMS,
        can_kill,
        footer=1,
        everywhere=True,
    ),
    Action("next_pane", ("tab",), "tab", "Panes", "Next pane (next tab on a narrow terminal).", footer=5),
    Action("previous_pane", ("shift+tab",), "shift+tab", "Back", "Previous pane."),
    Action("show_overview", ("1",), "1", "Overview", "All panes."),
    Action("show_positions", ("2",), "2", "Positions", "Open positions, full size."),
    Action("show_orders", ("3",), "3", "Orders", "Orders that can still fill."),
    Action("show_trades", ("4",), "4", "Trades", "Closed trades."),
    Action("show_signals", ("5",), "5", "Signals", "Signals against their thresholds, and why no trade."),
    Action("show_decisions", ("6",), "6", "Decisions", "Every evaluation with its reason."),
    Action("show_risk", ("7",), "7", "Risk", "Limits with the full sentence."),
    Action("show_events", ("8",), "8", "Events", "What happened, and what this viewer sent."),
    Action("show_log", ("9",), "9", "Log", "The log over all its rotations."),
    Action("full_pane", ("f",), "f", "Full", "Give the focused pane the whole screen, and back."),
    Action("filter", ("slash",), "/", "Filter", "Filter the log by text (! first: lines without it).", footer=6),
    Action("raise_level", ("greater_than_sign",), ">", "Level up", "Log: show fewer levels."),
    Action("lower_level", ("less_than_sign",), "<", "Level down", "Log: show more levels."),
    Action("health", ("H", "shift+h"), "H", "Health", "The age of every source, with its thresholds."),
    Action("copy_row", ("y",), "y", "Copy", "Copy the row under the cursor (by the terminal's clipboard)."),
    Action("retry", ("ctrl+r",), "ctrl+r", "Retry", "Reconnect and re-read now.", footer=7),
    Action("dismiss", ("escape",), "esc", "Dismiss", "Close or clear; it never quits and never confirms."),
    Action("quit", ("q",), "q", "Quit", "Leave the dashboard; the bot goes on.", footer=3),
    Action(
        "interrupt", ("ctrl+c", "ctrl+q"), "ctrl+c", "Quit", "Leave the dashboard, from a dialog too.", everywhere=True
    ),
)

BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}


def blocked(action_id: str, view: ViewState, now_s: float) -> str | None:
    """Return why the action is disabled now, or None."""
    return BY_ID[action_id].enabled(view, now_s)


def clashes(actions: tuple[Action, ...] = ACTIONS) -> list[str]:
    """Return one sentence for every key that two actions claim."""
    owner: dict[str, str] = {}
    found = []
    for action in actions:
        for key in action.keys:
            if key in owner:
                found.append(f"key {key} is claimed by {owner[key]} and {action.id}")
            owner[key] = action.id
    return found
