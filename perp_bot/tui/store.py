"""The one view state and its reducer: readers report facts, this says what they make of the picture. Pure.

Every fact carries the monotonic second at which it was seen. Nothing here reads a clock, a file or a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from perp_bot.core.types import ClosedTrade, DecisionRecord, Order, Position
from perp_bot.ipc.state import PROTOCOL_VERSION, EventNote, StateSnapshot
from perp_bot.tui.freshness import FRAME, LOOP, Lens

MAX_NOTES = 200
MAX_OUTCOMES = 20
FIRST_STATE_WITHIN_S = 3.0


class Link(StrEnum):
    """What the socket reader last said."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSED = "closed"  # it was open and ended
    REFUSED = "refused"  # nobody listens, or no socket file
    INCOMPATIBLE = "incompatible"
    DENIED = "denied"


class Connection(StrEnum):
    """The state of the connection as shown; the value is the word on the chip."""

    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    LATE = "LATE"
    STALE = "STALE"
    UNRESPONSIVE = "UNRESPONSIVE"
    LOST = "LOST"
    NOT_RUNNING = "NOT RUNNING"
    IPC_DOWN = "IPC DOWN"
    INCOMPATIBLE = "INCOMPATIBLE"
    DENIED = "DENIED"

    @property
    def is_alive(self) -> bool:
        """Whether the values of the last frame may look alive."""
        return self in (Connection.LIVE, Connection.LATE)

    @property
    def is_offline(self) -> bool:
        """Whether the offline screen is shown."""
        return self in (Connection.NOT_RUNNING, Connection.IPC_DOWN, Connection.INCOMPATIBLE, Connection.DENIED)


class OutcomeState(StrEnum):
    """How far a command got."""

    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    DONE = "DONE"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is awaited."""
        return self in (OutcomeState.DONE, OutcomeState.FAILED, OutcomeState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one command of this viewer."""

    key: int
    verb: str
    state: OutcomeState
    text: str
    changed_s: float
    wall_ms: int
    is_seen: bool = False  # the operator cleared it from the outcome line


@dataclass(frozen=True, slots=True)
class Facts:
    """What the configuration says, known without a daemon."""

    mode: str
    venue: str
    source: str  # column `source` of the database: the mode
    socket: str
    db: str
    log: str
    command: str  # "perpbot" or "perpbot --config PATH", to copy
    utc: bool = True
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """A state of the daemon: `age_s` is how long the daemon had held it when it was sent."""

    snapshot: StateSnapshot
    age_s: float
    received_s: float

    def since_s(self, now_s: float) -> float:
        """Return the seconds since the daemon published it."""
        return max(0.0, self.age_s) + max(0.0, now_s - self.received_s)


@dataclass(frozen=True, slots=True)
class LastRun:
    """What the run record says about the last daemon; times are the machine's, ms."""

    pid: int | None
    started_ms: int | None
    ended_ms: int | None
    exit_code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Presence:
    """What lock, run record and latch say; read while the socket does not answer."""

    read_s: float
    lock_pid: int | None
    last_run: LastRun | None
    latched: str | None  # what the kill latch file says, None without one
    last_write_ms: int | None  # machine time of the database's last change
    wall_ms: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the events table."""

    venue_ms: int
    kind: str
    symbol: str | None
    text: str


@dataclass(frozen=True, slots=True)
class History:
    """What the database holds; newest first. `error` says why there is nothing."""

    read_s: float
    trades: tuple[ClosedTrade, ...] = ()
    decisions: tuple[DecisionRecord, ...] = ()
    events: tuple[StoredEvent, ...] = ()
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class ViewState:
    """Everything the panes are drawn from."""

    facts: Facts
    started_s: float
    link: Link = Link.CONNECTING
    link_since_s: float = 0.0
    link_reason: str = ""
    retry_at_s: float | None = None
    attempts: int = 0
    heard_s: float | None = None  # last line from the daemon
    frame: Frame | None = None
    slept: bool = False  # the machine slept and no frame has come since
    presence: Presence | None = None
    history: History | None = None
    notes: tuple[EventNote, ...] = ()  # newest first
    outcomes: tuple[Outcome, ...] = ()  # newest first
    armed_until_s: float | None = None  # F9 pressed once


# ---------------------------------------------------------------- facts from the readers


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The socket reader connects, connected or failed; `retry_in_s` None means no retry is planned."""

    link: Link
    at_s: float
    reason: str = ""
    retry_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class FrameArrived:
    """A state frame came."""

    snapshot: StateSnapshot
    age_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class NoteArrived:
    """An event was pushed."""

    note: EventNote
    at_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """Any other line came (a reply)."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Slept:
    """The machine slept: nothing known is fresh."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Armed:
    """F9 was pressed once (`until_s`), or disarmed (None)."""

    until_s: float | None


Fact = LinkChanged | FrameArrived | NoteArrived | Heard | Slept | Armed | Presence | History | Outcome


def reduce(view: ViewState, fact: Fact) -> ViewState:
    """Return the view after `fact`."""
    match fact:
        case FrameArrived():
            return _with_frame(view, fact)
        case LinkChanged():
            return _with_link(view, fact)
        case NoteArrived(note, at_s):
            return replace(view, notes=(note, *view.notes)[:MAX_NOTES], heard_s=at_s)
        case Heard(at_s):
            return replace(view, heard_s=at_s)
        case Slept():
            return replace(view, slept=True)
        case Armed(until_s):
            return replace(view, armed_until_s=until_s)
        case Presence():
            return replace(view, presence=fact)
        case History():
            return replace(view, history=_keep_rows(view.history, fact))
        case Outcome():
            others = tuple(item for item in view.outcomes if item.key != fact.key)
            return replace(view, outcomes=(fact, *others)[:MAX_OUTCOMES])


def _with_frame(view: ViewState, fact: FrameArrived) -> ViewState:
    held = view.frame
    new = fact.snapshot
    if held is not None and held.snapshot.boot_id == new.boot_id and new.seq < held.snapshot.seq:
        return replace(view, heard_s=fact.at_s)  # overtaken by a newer one
    frame = Frame(new, fact.age_s, fact.at_s)
    return replace(view, frame=frame, heard_s=fact.at_s, link=Link.OPEN, slept=False)


def _with_link(view: ViewState, fact: LinkChanged) -> ViewState:
    if fact.link is Link.CONNECTING:
        # The last failure stays on screen until the attempt ends: a flickering word helps nobody.
        kept = view.link if view.link is not Link.OPEN else Link.CLOSED
        return replace(view, link=kept, attempts=view.attempts + 1, retry_at_s=None)
    since_s = fact.at_s if fact.link is not view.link else view.link_since_s
    retry_at_s = None if fact.retry_in_s is None else fact.at_s + fact.retry_in_s
    if fact.link is Link.OPEN:
        return replace(
            view, link=Link.OPEN, link_since_s=fact.at_s, link_reason="", retry_at_s=None, attempts=0, heard_s=fact.at_s
        )
    return replace(view, link=fact.link, link_since_s=since_s, link_reason=fact.reason, retry_at_s=retry_at_s)


def _keep_rows(held: History | None, new: History) -> History:
    """Keep the rows last read when a read fails: they are history, and the error says how old."""
    if not new.error or held is None:
        return new
    return replace(held, error=new.error)


# ---------------------------------------------------------------- what it amounts to


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """The connection as shown: state, the age that matters, and a sentence."""

    state: Connection
    age_s: float | None
    text: str = field(default="")


def loop_age_s(frame: Frame, now_s: float) -> float:
    """Return seconds since the trading loop last finished a pass; a loop that never did counts from the frame."""
    return (frame.snapshot.ages.loop_s or 0.0) + frame.since_s(now_s)


def connection(view: ViewState, now_s: float) -> ConnectionView:
    """Return the state of the connection at `now_s`."""
    if view.link is Link.OPEN:
        return _open_connection(view, now_s)
    since_s = now_s - view.link_since_s
    reason = view.link_reason
    match view.link:
        case Link.INCOMPATIBLE:
            return ConnectionView(Connection.INCOMPATIBLE, since_s, reason)
        case Link.DENIED:
            return ConnectionView(Connection.DENIED, since_s, reason)
        case Link.REFUSED if view.presence is not None and view.presence.read_s >= view.link_since_s:
            return _refused(view, since_s)
        case Link.CLOSED | Link.REFUSED:
            return ConnectionView(Connection.LOST, since_s, reason or "the daemon closed the connection")
        case _:
            return ConnectionView(Connection.CONNECTING, now_s - view.started_s, f"connecting to {view.facts.socket}")


def _refused(view: ViewState, since_s: float) -> ConnectionView:
    presence = view.presence
    pid = presence.lock_pid if presence is not None else None
    if pid is None:
        return ConnectionView(Connection.NOT_RUNNING, since_s, "no daemon runs on this database")
    return ConnectionView(
        Connection.IPC_DOWN, since_s, f"the daemon lives (pid {pid}) but its socket does not answer: {view.link_reason}"
    )


def _open_connection(view: ViewState, now_s: float) -> ConnectionView:
    frame = view.frame
    if view.slept:
        return ConnectionView(Connection.STALE, None, "the machine slept; every value is from before")
    if frame is None or (frame.received_s < view.link_since_s and now_s - view.link_since_s < FIRST_STATE_WITHIN_S):
        waited_s = now_s - view.link_since_s
        text = "connected; waiting for the first state"
        if waited_s > FIRST_STATE_WITHIN_S:
            text = "connected, but the daemon sends no state"
        return ConnectionView(Connection.CONNECTING, waited_s, text)
    heard_s = view.heard_s if view.heard_s is not None else frame.received_s
    silent_s = max(0.0, now_s - heard_s)
    # State frames carry the heartbeat: replies alone do not make the values fresh.
    frame_silent_s = max(silent_s, now_s - frame.received_s)
    if frame_silent_s > FRAME.stale_s:
        return ConnectionView(Connection.STALE, frame_silent_s, "the daemon is silent; every value is old")
    loop_s = loop_age_s(frame, now_s)
    if loop_s > LOOP.stale_s:
        return ConnectionView(Connection.UNRESPONSIVE, loop_s, "the daemon answers, its trading loop does not")
    if frame_silent_s > FRAME.late_s:
        return ConnectionView(Connection.LATE, frame_silent_s, "the daemon is late")
    return ConnectionView(Connection.LIVE, frame_silent_s, "")


def lens(view: ViewState, now_s: float) -> Lens:
    """Return the reader of the frame's ages; without a frame everything is stale."""
    if view.frame is None:
        return Lens(0.0, all_stale=True)
    return Lens(view.frame.since_s(now_s), all_stale=not connection(view, now_s).state.is_alive)


def bot_status(view: ViewState) -> str:
    """Return the bot's state as last reported, KILLED when the latch lies on disk, `?` when nothing is known."""
    offline = view.link is not Link.OPEN
    if offline and view.presence is not None and view.presence.latched is not None:
        return "KILLED"
    return view.frame.snapshot.status if view.frame is not None else "?"


def protocol_mismatch(protocol: object) -> str | None:
    """Return the sentence for a daemon that speaks another protocol, None when it speaks ours."""
    if protocol == PROTOCOL_VERSION:
        return None
    older = "this dashboard" if isinstance(protocol, int) and protocol > PROTOCOL_VERSION else "the daemon"
    return (
        f"the daemon speaks protocol {protocol}, this dashboard {PROTOCOL_VERSION}; upgrade {older}"
        " (history and log still work)"
    )
