"""Everything that the loop's thread learns from outside its batches, asked in one place.

The trading session is a function of its batches, the time of each pass, and the answers given here (is the latch file
there, has the commit landed, is the health look due). A recording keeps them, a replay gives them again; so whatever
changes the journal and does not come with the batch must be asked through `Outside`, in an order that only the batches
and earlier answers decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from perp_bot.data.recorder import Recorder
from perp_bot.data.session_format import Answer, Pass, named
from perp_bot.trading.queue import Batch

T = TypeVar("T")


class Outside:
    """The world itself: every question is looked up, nothing is kept."""

    def ask(self, name: str, kind: Any, look: Callable[[], T], again: Callable[[T], None] | None = None) -> T:
        """Return what `look` finds; `kind` is its type, plain data that msgpack can hold.

        A replay does not look: it does `again` with the recorded answer, where looking also did something.
        """
        return look()

    def took(self, now_ms: int, batch: Batch) -> str | None:
        """Note that a pass is over; return why the recording has just ended, if it has."""
        return None


class RecordedOutside(Outside):
    """The world, with every answer kept. `None` and `False` are not written: they are what a replay finds missing."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._answers: list[Answer] = []
        self._asked = 0
        self._is_told = False
        self.passes = 0

    def ask(self, name: str, kind: Any, look: Callable[[], T], again: Callable[[T], None] | None = None) -> T:
        """Look, and keep the answer."""
        found = look()
        self._asked += 1
        if found is not None and found is not False:
            self._answers.append((self._asked, name, found))
        return found

    def answers(self) -> list[Answer]:
        """Return the answers since the last call."""
        answers, self._answers, self._asked = self._answers, [], 0
        return answers

    def took(self, now_ms: int, batch: Batch) -> str | None:
        """Hand a pass to the recorder."""
        self.passes += 1
        frame_ms = None if batch.frame is None else batch.frame.venue_ms
        # What only waits for the loop is no part of what it does.
        controls = [(r.cmd, r.args, r.peer.pid, r.peer.uid) for r in batch.controls if r.cmd != "wait_until"]
        self._recorder.put(
            Pass(
                now_ms, frame_ms, batch.contexts, batch.books, batch.first_books, batch.trades,
                named(batch.events), controls, self.answers(),
            )
        )  # fmt: skip
        if self._recorder.lost is None or self._is_told:
            return None
        self._is_told = True
        return self._recorder.lost


class Diverged(Exception):
    """A replay asked another question than the recorded session did: from here on the two are different."""


class ReplayedOutside(Outside):
    """The recorded answers; the world is not looked at."""

    def __init__(self) -> None:
        self._answers: dict[int, tuple[str, Any]] = {}
        self._asked = 0

    def begin(self, answers: list[Answer]) -> None:
        """Take the answers of the next pass."""
        if self._answers:
            number, (name, _) = next(iter(self._answers.items()))
            raise Diverged(f"the session asked {name!r} (question {number} of its pass), the replay did not")
        self._answers = {number: (name, found) for number, name, found in answers}
        self._asked = 0

    def ask(self, name: str, kind: Any, look: Callable[[], T], again: Callable[[T], None] | None = None) -> T:
        """Return the recorded answer."""
        self._asked += 1
        recorded = self._answers.pop(self._asked, None)
        if recorded is not None and recorded[0] != name:
            raise Diverged(f"the session asked {recorded[0]!r} where the replay asks {name!r}")
        found = (False if kind is bool else None) if recorded is None else msgspec.convert(recorded[1], kind)
        if again is not None:
            again(found)  # type: ignore[arg-type]
        return found  # type: ignore[return-value]
