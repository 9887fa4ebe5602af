"""The dashboard: another process than the daemon, disposable, without keys to anything.

Readers (socket, database, log, presence) run in threads and put facts into a mailbox; the one handler here reduces
them into the view state and draws. Nothing on this thread reads a file or waits for a socket.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.message import Message
from textual.screen import Screen

from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import EXIT_OK, UsageError
from perp_bot.tui import layout, plain, terminal
from perp_bot.tui.actions import ACTIONS, blocked
from perp_bot.tui.controls import ControlDesk, Prepared
from perp_bot.tui.dialogs.base import Dialog
from perp_bot.tui.dialogs.controls import CloseDialog, KillDialog, ResumeDialog
from perp_bot.tui.dialogs.reading import FilterDialog, HealthDialog, HelpDialog
from perp_bot.tui.freshness import SuspendWatch
from perp_bot.tui.layout import LABELS, OFFLINE, OVERVIEW, PANES, VIEWS
from perp_bot.tui.look import THEME
from perp_bot.tui.panes import chrome, header, history, offline, positions, risk, signals
from perp_bot.tui.sources.history import HistorySource
from perp_bot.tui.sources.log_filter import LogFilter
from perp_bot.tui.sources.log_reader import LogPage, LogRequest, LogSource
from perp_bot.tui.sources.mailbox import Mailbox
from perp_bot.tui.sources.presence import PresenceSource
from perp_bot.tui.sources.socket import ReplyArrived, SocketSource
from perp_bot.tui.spans import PaneContent, Row, row
from perp_bot.tui.store import (
    Armed,
    Connection,
    Fact,
    Facts,
    Link,
    LinkChanged,
    Outcome,
    Slept,
    ViewState,
    bot_status,
    connection,
    reduce,
)
from perp_bot.tui.widgets.line_view import Lines, Pane
from perp_bot.tui.widgets.log_view import LogView

TICK_S = 0.25
REDRAW_S = 0.95  # ages move at 1 Hz; a changed connection, armed bars, outcomes and dialogs at every tick
ARMED_S = 3.0

News = Fact | ReplyArrived | LogPage


class MailCame(Message):
    """Facts wait in the mailbox."""


class MainScreen(Screen[None], inherit_bindings=False):
    """Header, panes, footer; every key comes from the table of actions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(action.keys), f"app.run('{action.id}')", action.label, show=False)
        for action in ACTIONS
        if not action.everywhere
    ]

    def compose(self) -> ComposeResult:
        """Create every widget once; the layout places and hides them."""
        app = self.app
        assert isinstance(app, DashboardApp)
        for name in ("header", "strip", "tabs", "outcome", "footer"):
            yield Lines(id=name)
        yield Pane(id=OFFLINE)
        for name in PANES:
            if name == "log":
                yield LogView(id="log", ask=app.ask_log, level=app.config.tui.log_level)
            else:
                yield Pane(id=name)

    def on_resize(self, _event: events.Resize) -> None:
        """Place everything for the new size."""
        if isinstance(self.app, DashboardApp):
            self.app.draw()


class DashboardApp(App[int], inherit_bindings=False):
    """The application: sources, state, drawing, actions."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "perpbot"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(action.keys), f"app.run('{action.id}')", action.label, show=False, priority=True)
        for action in ACTIONS
        if action.everywhere
    ]

    def __init__(
        self,
        config: Config,
        paths: RuntimePaths | None = None,
        *,
        screen: str | None = None,
        read_only: bool = False,
        for_s: float | None = None,
        encoding: str | None = None,
    ) -> None:
        super().__init__()
        self._plain_filters = plain.filters_for(encoding or plain.terminal_encoding(), no_color=self.no_color)
        self._for_s = for_s
        self.config = config
        self.paths = paths if paths is not None else RuntimePaths(config.data.db_path)
        self.animation_level = "none"
        self.register_theme(THEME)
        self.theme = THEME.name
        self.facts = facts_of(config, self.paths, read_only=read_only or config.tui.read_only)
        self.view = ViewState(self.facts, monotonic_s(), link_since_s=monotonic_s())
        self.shown_view = screen if screen in VIEWS else OVERVIEW
        self._main = MainScreen()
        self._arrangement: layout.Arrangement | None = None
        self._is_ready = False
        self._alerts: list[Row] = []
        self._drawn_s = 0.0
        self._drawn_state: Connection | None = None
        self._drawn_inputs: dict[str, tuple[Any, ...]] = {}
        self._sleep_watch = SuspendWatch(monotonic_s(), _boottime_s())
        self.mailbox: Mailbox[News] = Mailbox(self._wake)
        self.socket = SocketSource(self.paths.socket, self.mailbox.put, interval_s=config.tui.refresh_seconds)
        self.presence = PresenceSource(self.paths, self.mailbox.put)
        self.history = HistorySource(self.paths.db, config.mode, self.mailbox.put)
        self.log_source = LogSource(self.paths.log, self.mailbox.put, utc=config.tui.utc)
        self.desk = ControlDesk(self.socket.send, self.take, status_command=f"{self.facts.command} status")

    # ------------------------------------------------------------ life

    def get_default_screen(self) -> Screen[Any]:
        """Return the one screen under the dialogs."""
        return self._main

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return what every line goes through before it is written; `NO_COLOR` leaves no colour, grey included."""
        usual = () if self.no_color else super().get_line_filters()
        return [*usual, *self._plain_filters]

    def on_mount(self) -> None:
        """Draw what is known (nothing yet), then let the readers start."""
        terminal.catch_signals(self._leave_by_signal)
        self.set_interval(TICK_S, self._tick)
        if self._for_s is not None:
            self.set_timer(self._for_s, self._do_quit)
        if terminal.controlling_fd() is not None and not self.is_headless:
            self.set_interval(terminal.CHECK_S, self._check_terminal)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._is_ready = True
        self.draw()
        self._focus_first()
        for source in (self.socket, self.presence, self.history, self.log_source):
            source.start()

    async def on_unmount(self) -> None:
        """End every reader."""
        terminal.release_signals()
        self._stop_sources()

    def _stop_sources(self) -> None:
        for source in (self.socket, self.presence, self.history, self.log_source):
            source.stop()

    def _leave_by_signal(self, code: int) -> None:
        if code == terminal.EXIT_HANGUP:
            terminal.end_after_hangup()
        self.exit(code, return_code=code)

    def _check_terminal(self) -> None:
        fd = terminal.controlling_fd()
        if fd is None or terminal.is_terminal_gone(fd):
            self._leave_by_signal(terminal.EXIT_HANGUP)

    # ------------------------------------------------------------ facts in

    def _wake(self) -> None:
        if self._is_ready and self.is_running:
            self.post_message(MailCame())

    def on_mail_came(self, _message: MailCame) -> None:
        """Take everything that came, then draw once."""
        pages: list[LogPage] = []
        is_changed = False
        for news in self.mailbox.drain():
            if isinstance(news, LogPage):
                pages.append(news)
            elif isinstance(news, ReplyArrived):
                self.desk.on_reply(news)
                is_changed = True
            else:
                if isinstance(news, LinkChanged) and news.link not in (Link.OPEN, Link.CONNECTING):
                    self.desk.on_lost()
                self.view = reduce(self.view, news)
                is_changed = True
        if pages:
            self.log_view.show_page(pages[-1])
        if is_changed:
            self.draw()

    def take(self, outcome: Outcome) -> None:
        """Take the outcome of a command; the caller draws."""
        self.view = reduce(self.view, outcome)
        if self._is_ready:
            self.draw()

    def ask_log(self, request: LogRequest) -> None:
        """Ask the log thread for a page."""
        self.log_source.ask(request)

    def _tick(self) -> None:
        if not self.is_running:  # the last tick of an app that is closing, whose widgets go one by one
            return
        now_s = monotonic_s()
        if self._sleep_watch.slept_s(now_s, _boottime_s()):
            self.view = reduce(self.view, Slept(now_s))
            self.socket.retry_now(drop=True)
        self.desk.tick(now_s)
        armed_until_s = self.view.armed_until_s
        if armed_until_s is not None and now_s >= armed_until_s:
            self.view = reduce(self.view, Armed(None))
        is_moving = armed_until_s is not None or self.desk.is_waiting or self._dialog is not None
        has_changed = connection(self.view, now_s).state is not self._drawn_state
        if is_moving or has_changed or now_s - self._drawn_s >= REDRAW_S:
            self.draw()

    # ------------------------------------------------------------ drawing

    @property
    def log_view(self) -> LogView:
        """The log pane."""
        return self._main.query_one("#log", LogView)

    @property
    def _dialog(self) -> Dialog | None:
        return self.screen if isinstance(self.screen, Dialog) else None

    def lines(self, name: str) -> Lines:
        """Return a block of the frame: header, strip, tabs, outcome or footer."""
        return self._main.query_one(f"#{name}", Lines)

    def pane(self, name: str) -> Pane:
        """Return a pane."""
        return self._main.query_one(f"#{name}", Pane)

    def draw(self) -> None:
        """Draw everything from the view state; what did not change is not repainted."""
        if not self._is_ready or not self.is_running or not self._main.is_attached:
            return
        now_s = monotonic_s()
        width, height = self.size.width, self.size.height
        if width <= 0 or height <= 0:
            return
        self._drawn_s, self._drawn_state = now_s, connection(self.view, now_s).state
        self._alerts = header.alert_rows(self.view, now_s, width, layout.alert_lines(height))
        self._place(width, height, now_s)
        arrangement = self._arrangement
        if arrangement is None:
            return
        is_killed = bot_status(self.view) == "KILLED"
        head = self.lines("header")
        head.set_class(is_killed, "killed")
        if arrangement.is_card:
            head.show_rows(chrome.card(self.view, now_s, width, arrangement.header_lines))
        else:
            head.show_rows(header.lines(self.view, now_s, width, arrangement.header_lines))
        self.lines("strip").show_rows(self._alerts)
        self.lines("outcome").show_rows([row("outcome", *header.outcome_line(self.view, now_s))])
        self.lines("footer").show_rows([chrome.footer(self.view, now_s, width)])
        self.lines("tabs").show_rows([chrome.tabs(self.shown_view, width)])
        for name, box in arrangement.panes.items():
            self._draw_pane(name, box, now_s)
        dialog = self._dialog
        if dialog is not None and dialog.is_attached:
            dialog.update(self.view, now_s)

    def _place(self, width: int, height: int, now_s: float) -> None:
        frame = self.view.frame
        is_offline = connection(self.view, now_s).state.is_offline
        wants = layout.Wants(
            view=self.shown_view,
            is_offline=is_offline,
            alerts=len(self._alerts),
            has_outcome=bool(header.outcome_line(self.view, now_s)),
            positions=len(frame.snapshot.positions) if frame is not None else 0,
            limits=max(1, len(frame.snapshot.limits)) if frame is not None else 7,
            coins=max(1, len(frame.snapshot.signals)) if frame is not None else 2,
        )
        arrangement = layout.arrange(width, height, wants)
        if arrangement == self._arrangement:
            return
        had_focus = self._main.focused
        self._arrangement = arrangement
        self._drawn_inputs.clear()
        self.lines("header").place(arrangement.header)
        self.lines("footer").place(arrangement.footer)
        self.lines("strip").place(arrangement.strip)
        self.lines("outcome").place(arrangement.outcome)
        self.lines("tabs").place(arrangement.tabs)
        for name in (OFFLINE, *PANES):
            self.pane(name).place(arrangement.panes.get(name))
        if had_focus is None or had_focus.id not in arrangement.panes:
            self._focus_first()

    def _draw_pane(self, name: str, box: layout.Box, now_s: float) -> None:
        if name == "log":
            self.log_view.request()
            return
        pane = self.pane(name)
        width, lines = box.width, max(1, box.height - 1)
        view = self.view
        if name in _HISTORY_PANES:
            # Rows of history change with their inputs only: no ages in them once they are read.
            inputs = (view.history, view.notes, view.outcomes, width)
            if view.history is not None and self._drawn_inputs.get(name) == inputs:
                return
            self._drawn_inputs[name] = inputs
        pane.show(_content(name, view, now_s, width, lines))

    def _focus_first(self) -> None:
        if self._arrangement is None or not self._arrangement.order:
            return
        first = OFFLINE if OFFLINE in self._arrangement.panes else self._arrangement.order[0]
        self._main.set_focus(self.pane(first))

    # ------------------------------------------------------------ actions

    def action_run(self, action_id: str) -> None:
        """Run an action of the table, or say why it is disabled."""
        reason = blocked(action_id, self.view, monotonic_s())
        if reason is not None:
            self.say(reason, severity="warning")
            return
        if action_id.startswith("show_"):
            self._show(action_id.removeprefix("show_"))
            return
        act: Callable[[], None] = getattr(self, f"_do_{action_id}")
        act()

    def say(self, text: str, *, severity: str = "information") -> None:
        """Show a short message, never through markup."""
        self.notify(text, severity=severity, markup=False, timeout=6)  # type: ignore[arg-type]

    def _show(self, name: str) -> None:
        self.shown_view = name
        self.draw()
        self._focus_first()

    def _do_help(self) -> None:
        self._open(HelpDialog())

    def _do_health(self) -> None:
        self._open(HealthDialog())

    def _open(self, dialog: Dialog) -> None:
        self.push_screen(dialog)
        self.call_after_refresh(self.draw)

    def _do_pause(self) -> None:
        self.desk.pause()

    def _do_resume(self) -> None:
        self._open(ResumeDialog(self.desk))

    def _do_close(self) -> None:
        frame = self.view.frame
        if frame is None or not frame.snapshot.positions:
            return
        symbols = tuple(item.symbol for item in frame.snapshot.positions)
        under_cursor = self.pane("positions").cursor_key
        chosen = under_cursor if under_cursor in symbols else symbols[0]
        self._open(CloseDialog(self.desk, symbols, chosen))

    def _do_kill(self) -> None:
        self._open(KillDialog(self.desk, self.copy_text, on_changed=self._flatten_changed))

    def _flatten_changed(self, changed: Prepared) -> None:
        self._open(KillDialog(self.desk, self.copy_text, latched=changed, on_changed=self._flatten_changed))

    def _do_arm_kill(self) -> None:
        now_s = monotonic_s()
        if not self._can_send_kill(now_s):
            if not isinstance(self.screen, KillDialog):
                self._do_kill()
            return
        armed_until_s = self.view.armed_until_s
        if armed_until_s is None or now_s >= armed_until_s:
            self.view = reduce(self.view, Armed(now_s + ARMED_S))
            if self._dialog is not None:
                self.say(f"F9 again within {ARMED_S:.0f} s = KILL; esc disarms", severity="error")
            self.draw()
            return
        self.view = reduce(self.view, Armed(None))
        self.desk.kill()

    def _can_send_kill(self, now_s: float) -> bool:
        return self.view.link is Link.OPEN and not connection(self.view, now_s).state.is_offline

    def _do_next_pane(self) -> None:
        self._turn(1)

    def _do_previous_pane(self) -> None:
        self._turn(-1)

    def _turn(self, step: int) -> None:
        """Go to the next pane; where only one is shown, to the next tab."""
        arrangement = self._arrangement
        if arrangement is None:
            return
        if arrangement.tabs is not None:
            index = VIEWS.index(self.shown_view)
            self._show(VIEWS[(index + step) % len(VIEWS)])
            return
        if not arrangement.order:
            return
        focused = self._main.focused
        at = arrangement.order.index(focused.id) if focused is not None and focused.id in arrangement.order else -1
        self._main.set_focus(self.pane(arrangement.order[(at + step) % len(arrangement.order)]))

    def _do_full_pane(self) -> None:
        focused = self._main.focused
        if self.shown_view != OVERVIEW:
            self._show(OVERVIEW)
        elif focused is not None and focused.id in PANES:
            self._show(focused.id)

    def _do_filter(self) -> None:
        self._open(FilterDialog(self.log_view.wanted.text, self._filter_log))

    def _filter_log(self, text: str) -> None:
        self.log_view.set_filter(LogFilter(self.log_view.wanted.level, text))

    def _do_raise_level(self) -> None:
        self._shift_level(1)

    def _do_lower_level(self) -> None:
        self._shift_level(-1)

    def _shift_level(self, steps: int) -> None:
        self.log_view.set_filter(self.log_view.wanted.shifted(steps))
        self.say(f"log: level {self.log_view.wanted.level} and above")

    def _do_copy_row(self) -> None:
        focused = self._main.focused
        if isinstance(focused, Pane) and focused.cursor_row is not None:
            found = focused.cursor_row
            self.copy_text(
                found.key.removeprefix("command:") if found.key.startswith("command:") else found.text.strip()
            )

    def copy_text(self, text: str) -> None:
        """Copy by the terminal's clipboard (OSC 52)."""
        self.copy_to_clipboard(text)
        self.say(f"sent to the terminal's clipboard: {text[:120]}")

    def _do_retry(self) -> None:
        self.socket.retry_now()
        self.presence.read_now()
        self.history.read_now()
        self.say("reading again")

    def _do_dismiss(self) -> None:
        """Disarm, then clear the text filter, then the outcome line, then leave a single pane: one thing a press."""
        newest = next(iter(self.view.outcomes), None)
        if self.view.armed_until_s is not None:
            self.view = reduce(self.view, Armed(None))
        elif self.log_view.wanted.text:
            self.log_view.set_filter(replace(self.log_view.wanted, text=""))
        elif newest is not None and newest.state.is_final and header.outcome_line(self.view, monotonic_s()):
            self.view = reduce(self.view, replace(newest, is_seen=True))
        elif self.shown_view != OVERVIEW:
            self._show(OVERVIEW)
        self.draw()

    def _do_quit(self) -> None:
        self.exit(EXIT_OK)

    def _do_interrupt(self) -> None:
        self.exit(EXIT_OK)

    def farewell(self) -> str:
        """Return the one line that is printed after leaving: what the bot does now."""
        frame = self.view.frame
        found = connection(self.view, monotonic_s())
        if found.state.is_alive and frame is not None:
            return (
                f"perpbot: dashboard closed; the bot goes on ({frame.snapshot.status}, {frame.snapshot.mode} "
                f"{frame.snapshot.venue}, pid {frame.snapshot.pid})"
            )
        return f"perpbot: dashboard closed; the daemon was {found.state} when last looked at"


_HISTORY_PANES = ("trades", "decisions", "events")


def _content(name: str, view: ViewState, now_s: float, width: int, lines: int) -> PaneContent:
    match name:
        case "positions":
            return positions.content(view, now_s, width)
        case "orders":
            return positions.orders(view, now_s, width)
        case "signals":
            return signals.content(view, now_s, width, lines)
        case "risk":
            return risk.content(view, now_s, width, lines)
        case "trades":
            return history.trades(view, now_s, width)
        case "decisions":
            return history.decisions(view, now_s, width)
        case "events":
            return history.events(view, now_s, width)
        case "offline":
            return offline.content(view, now_s, width)
        case _:
            return PaneContent(LABELS.get(name, name), (row("none", ("nothing to show", "muted")),))


def facts_of(config: Config, paths: RuntimePaths, *, read_only: bool) -> Facts:
    """Return what is known without a daemon."""
    source = config.source_path
    is_default = source is None or Path(source) == Path.cwd() / "config.yaml"
    return Facts(
        mode=config.mode,
        venue=config.venue,
        source=config.mode,
        socket=str(paths.socket),
        db=str(paths.db),
        log=str(paths.log),
        command="perpbot" if is_default else f"perpbot --config {shlex.quote(str(source))}",
        utc=config.tui.utc,
        read_only=read_only,
    )


def _boottime_s() -> float:
    """Return the clock that runs on while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) if clock is not None else time.monotonic()


def run(
    config: Config,
    *,
    screen: str | None = None,
    read_only: bool = False,
    for_s: float | None = None,
    farewell: bool = True,
) -> int:
    """Run the dashboard until the operator leaves; return the exit code.

    Args:
        config: the settings of the daemon to look at.
        screen: the screen to open on.
        read_only: offer no control.
        for_s: leave by itself after this many seconds, as `q` does; None stays.
        farewell: say at the end what the bot does now; not for a caller who ends the bot with the dashboard.

    Raises:
        UsageError: without a terminal that can show it, or for an unknown screen.
    """
    if screen is not None and screen not in VIEWS:
        raise UsageError(f"there is no screen {screen!r}; screens: {', '.join(VIEWS)}")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("the dashboard needs a terminal; `perpbot status --watch` works without one")
    if os.environ.get("TERM") == "dumb":
        raise UsageError("TERM=dumb cannot show the dashboard; `perpbot status --watch` works here")
    app = DashboardApp(config, screen=screen, read_only=read_only, for_s=for_s)
    code = app.run()
    if farewell:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(app.farewell(), file=sys.stderr)
    return code if code is not None else app.return_code or EXIT_OK
