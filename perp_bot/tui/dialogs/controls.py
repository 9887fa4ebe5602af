"""The dialogs of the controls: resume (y/n), close (type the coin), kill (type kill or flatten)."""

from __future__ import annotations

from collections.abc import Callable

from textual import events

from perp_bot.tui.controls import ControlDesk, Prepared, Trouble
from perp_bot.tui.dialogs import preview
from perp_bot.tui.dialogs.base import Dialog, TypedDialog
from perp_bot.tui.freshness import age_text
from perp_bot.tui.panes.header import environment
from perp_bot.tui.spans import Row, message, row, wrap
from perp_bot.tui.store import Connection, ViewState, connection

PREVIEW_AGAIN_S = 8.0  # before the token's ten seconds are over
Copy = Callable[[str], None]


def _caution(view: ViewState, now_s: float, width: int) -> list[Row]:
    found = connection(view, now_s)
    if found.state in (Connection.LIVE, Connection.LATE):
        return []
    text = f"{found.state}: {found.text} ({age_text(found.age_s)}). The outcome may stay UNKNOWN."
    return [message(line, "bad", f"caution:{index}") for index, line in enumerate(wrap(text, width - 2))]


def _heading(text: str, view: ViewState, style_name: str) -> Row:
    return row("heading", (f" {text} ", style_name), ("  ", ""), (f" {environment(view).upper()} ", "reverse"))


def _sentences(text: str, width: int, key: str, style_name: str = "text") -> list[Row]:
    return [message(line, style_name, f"{key}:{index}") for index, line in enumerate(wrap(text, width - 2))]


class ResumeDialog(Dialog):
    """Asks y/n before entries go on."""

    tier = "reversible"

    def __init__(self, desk: ControlDesk) -> None:
        super().__init__()
        self._desk = desk

    def rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Say what resume does."""
        reasons = "; ".join(view.frame.snapshot.status_reasons) if view.frame is not None else ""
        width = self.inner_width
        return [
            _heading("RESUME ENTRIES", view, "title_focus"),
            message("", key="gap"),
            *_sentences("New entries may be made again from the next candle on.", width, "what"),
            *(_sentences(f"Now: {reasons}", width, "now", "warn") if reasons else []),
            *_caution(view, now_s, width),
            message("", key="gap2"),
            row("keys", (" [y]", "key"), (" resume    ", "text"), ("[n] or [esc]", "key"), (" leave as it is", "text")),
        ]

    def on_listening_key(self, event: events.Key) -> None:
        """Take y or n; Enter is neither."""
        event.stop()
        if event.key == "y":
            self.leave()
            self._desk.resume()
        elif event.key == "n":
            self.leave()


class CloseDialog(TypedDialog):
    """Shows the daemon's preview of closing one position; acts when its coin is typed."""

    tier = "market"
    placeholder = "type the coin"

    def __init__(self, desk: ControlDesk, symbols: tuple[str, ...], chosen: str) -> None:
        super().__init__()
        self._desk = desk
        self._symbols = symbols
        self.chosen = chosen
        self._asked_s: float | None = None
        self.found: Prepared | Trouble | None = None

    def update(self, view: ViewState, now_s: float) -> None:
        """Keep the list of positions current and the preview fresh."""
        if view.frame is not None:
            self._symbols = tuple(item.symbol for item in view.frame.snapshot.positions)
        if self._symbols and self.chosen not in self._symbols:
            self._choose(self._symbols[0])
        if self._symbols and (self._asked_s is None or now_s - self._asked_s > PREVIEW_AGAIN_S):
            self._ask(now_s)
        super().update(view, now_s)

    def _ask(self, now_s: float) -> None:
        self._asked_s = now_s
        symbol = self.chosen

        def take(found: Prepared | Trouble) -> None:
            if symbol == self.chosen:
                self.found = found

        self._desk.prepare("close", symbol, take)

    def _choose(self, symbol: str) -> None:
        self.chosen = symbol
        self.found = None
        self._asked_s = None

    def rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Show what is open, the preview of the chosen one, and the keys."""
        width = self.inner_width
        built = [_heading("CLOSE A POSITION", view, "caution"), message("", key="gap")]
        if not self._symbols:
            built.append(message("no open position any more", "warn"))
        for symbol in self._symbols[:10]:
            mark = "▶" if symbol == self.chosen else " "
            built.append(row(f"pick:{symbol}", (f" {mark} {symbol}", "strong" if symbol == self.chosen else "muted")))
        if len(self._symbols) > 10:
            built.append(message(f"  and {len(self._symbols) - 10} more: type the coin", "muted", "more"))
        built.append(message("", key="gap1"))
        built += preview.rows(self.found, width) if self._symbols else []
        built += _sentences(
            "Closes the whole position, reduce-only, at market; its stop goes with it.", width, "what", "muted"
        )
        built += _caution(view, now_s, width)
        if self.complaint:
            built += _sentences(self.complaint, width, "complaint", "warn")
        built.append(message("", key="gap2"))
        built.append(
            row(
                "keys",
                (f" type {self.chosen} then [Enter]", "key"),
                (" close it   ", "text"),
                ("[up] [down]", "key"),
                (" choose   ", "text"),
                ("[esc]", "key"),
                (" leave", "text"),
            )
        )
        return built

    def on_listening_key(self, event: events.Key) -> None:
        """Choose another position."""
        if event.key not in ("up", "down") or not self._symbols:
            return
        event.stop()
        index = self._symbols.index(self.chosen) if self.chosen in self._symbols else 0
        self._choose(self._symbols[(index + (1 if event.key == "down" else -1)) % len(self._symbols)])

    def submit(self, typed: str) -> None:
        """Close when the coin typed is the one previewed."""
        symbol = typed.upper()
        if symbol not in self._symbols:
            self.complaint = f"no open position in {symbol}; open: {', '.join(self._symbols) or 'none'}"
            return
        if symbol != self.chosen:
            self._choose(symbol)
            self.complaint = f"look at the preview of {symbol}, then type it again"
            return
        if not isinstance(self.found, Prepared):
            why = self.found.text if isinstance(self.found, Trouble) else "there is no preview yet"
            self.complaint = f"nothing sent: {why}"
            return
        shown = self.found
        self.leave()
        self._desk.close(symbol, shown, lambda _changed: None)


class KillDialog(TypedDialog):
    """Graded: `kill` latches, `flatten` latches and then closes everything. Without a daemon it gives the commands."""

    tier = "kill"
    placeholder = "kill or flatten"

    def __init__(
        self, desk: ControlDesk, copy: Copy, *, latched: Prepared | None = None, on_changed: Callable[[Prepared], None]
    ) -> None:
        super().__init__()
        self._desk = desk
        self._copy = copy
        self._on_changed = on_changed
        self._has_latched = latched is not None  # only the flatten is left to confirm
        self.found: Prepared | Trouble | None = latched
        self._asked_s: float | None = None if latched is None else latched.at_s
        self._command = "perpbot"
        self._state = Connection.CONNECTING

    @property
    def can_kill(self) -> bool:
        """Whether a daemon may hear a kill."""
        return self._state in (Connection.LIVE, Connection.LATE, Connection.STALE, Connection.UNRESPONSIVE)

    @property
    def can_flatten(self) -> bool:
        """Whether the trading loop may hear a flatten."""
        return self._state in (Connection.LIVE, Connection.LATE, Connection.STALE)

    def update(self, view: ViewState, now_s: float) -> None:
        """Follow the connection and keep the preview fresh."""
        self._state = connection(view, now_s).state
        self._command = view.facts.command
        if self.can_flatten and (self._asked_s is None or now_s - self._asked_s > PREVIEW_AGAIN_S):
            self._asked_s = now_s
            self._desk.prepare("flatten", None, self._take)
        if not self.can_kill and self.field.display:
            self.field.display = False
        elif self.can_kill and not self.field.display:
            self.field.display = True
            self._listen()
        super().update(view, now_s)

    def wants_field(self) -> bool:
        """Nothing to type when nobody can hear it."""
        return self.can_kill

    def _take(self, found: Prepared | Trouble) -> None:
        self.found = found

    def rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Say what each grade does, for the state at hand."""
        width = self.inner_width
        if not self.can_kill:
            return self._offline_rows(view, now_s, width)
        title = "FLATTEN: THE KILL HAS LATCHED" if self._has_latched else "KILL"
        built = [_heading(title, view, "danger"), message("", key="gap")]
        if not self._has_latched:
            built.append(
                row(
                    "kill",
                    (" kill    ", "strong"),
                    ("blocks every entry and cancels resting ones, latched on disk", "text"),
                )
            )
            built.append(
                row(
                    "kill2",
                    ("         ", ""),
                    ("stops stay, positions stay open; only `perpbot unkill` goes back", "muted"),
                )
            )
        built.append(
            row("flatten", (" flatten ", "strong"), ("kill, then close every position, verified flat", "text"))
        )
        built.append(message("", key="gap1"))
        if self.can_flatten:
            built += preview.rows(self.found, width)
        else:
            built += _sentences(
                "flatten needs the trading loop, which does not answer; from a shell:", width, "no", "warn"
            )
            built.append(row("line", ("   ", ""), (f"{self._command} kill --flatten --take-over", "strong")))
        built += _caution(view, now_s, width)
        if self.complaint:
            built += _sentences(self.complaint, width, "complaint", "warn")
        built.append(message("", key="gap2"))
        words = "flatten" if self._has_latched else "kill or flatten" if self.can_flatten else "kill"
        built.append(
            row("keys", (f" type {words} then [Enter]", "key"), ("   ", ""), ("[esc]", "key"), (" leave", "text"))
        )
        return built

    def _offline_rows(self, view: ViewState, now_s: float, width: int) -> list[Row]:
        found = connection(view, now_s)
        built = [_heading("KILL FROM A SHELL", view, "danger"), message("", key="gap")]
        built += _sentences(
            f"{found.state}: {found.text}. This dashboard sends nothing and writes nothing itself.", width, "why"
        )
        built.append(message("", key="gap1"))
        for text, purpose in (
            (f"{self._command} kill", "latches on disk, with or without a daemon"),
            (f"{self._command} kill --flatten --take-over", "latches, ends a hung daemon, closes what it can"),
        ):
            built.append(row(text, ("   ", ""), (text, "strong")))
            built.append(row(f"{text}:what", ("      ", ""), (purpose, "muted")))
        built.append(message("", key="gap2"))
        built.append(
            row("keys", (" [c]", "key"), (" copy the first line   ", "text"), ("[esc]", "key"), (" leave", "text"))
        )
        return built

    def on_listening_key(self, event: events.Key) -> None:
        """Copy the command line when there is no daemon to ask."""
        if event.key == "c" and not self.can_kill:
            event.stop()
            self._copy(f"{self._command} kill")

    def submit(self, typed: str) -> None:
        """Act on the word."""
        word = typed.lower()
        if word == "kill" and not self._has_latched:
            self.leave()
            self._desk.kill()
            return
        if word != "flatten":
            self.complaint = f"{typed!r} is neither kill nor flatten; nothing was sent"
            return
        if not self.can_flatten:
            self.complaint = "flatten was not sent: the trading loop does not answer; kill works"
            return
        if not isinstance(self.found, Prepared):
            why = self.found.text if isinstance(self.found, Trouble) else "there is no preview yet"
            self.complaint = f"flatten was not sent: {why}; kill works at once"
            return
        shown = self.found
        self.leave()
        if self._has_latched:
            self._desk.commit_flatten(shown, self._take_changed)
        else:
            self._desk.kill_and_flatten(shown, self._take_changed)

    def _take_changed(self, changed: Prepared | Trouble) -> None:
        if isinstance(changed, Prepared):
            self._on_changed(changed)
