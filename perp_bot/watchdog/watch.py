"""When to act: the daemon's heartbeat against the time it may be gone, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from perp_bot.core.errors import VenueError
from perp_bot.execution.live.direct import View
from perp_bot.watchdog.rescue import Rescued, account_text, bare_text

STATUS_EVERY_S = 60.0
AGAIN_S = 60.0  # the account of a daemon that is gone is looked at again
RETRY_S = 5.0  # when it is not safe yet

Say = Callable[[str], None]


class Watch:
    """One pass after the other; owns no clock and no network."""

    def __init__(
        self,
        *,
        heartbeat: Callable[[], str],
        look: Callable[[], View],
        rescue: Callable[[str], Rescued],
        say: Say,
        alert: Say,
        after_s: float,
    ) -> None:
        """Wire it.

        Args:
            heartbeat: nothing while the daemon is well, else what is wrong with it.
            look: positions and open orders; may raise VenueError.
            rescue: makes the account safe, given why.
            say: takes a line for whoever reads along.
            alert: takes a sentence for people who are away.
            after_s: how long the daemon may be gone (monotonic).
        """
        self._heartbeat = heartbeat
        self._look = look
        self._rescue = rescue
        self._say = say
        self._alert = alert
        self._after_s = after_s
        self._gone_since_s: float | None = None
        self._next_rescue_s = 0.0
        self._next_status_s = 0.0
        self._told: tuple[str, ...] | None = None  # the trouble that people know of
        self._bare_before = ""
        self.rescues = 0

    def beat(self, now_s: float) -> None:
        """Look at the daemon, act when it has been gone for too long, say how it stands once a minute."""
        wrong = self._heartbeat()
        if not wrong:
            self._back(now_s)
        else:
            if self._gone_since_s is None:
                self._gone_since_s = now_s
                self._say(f"the daemon is gone: {wrong}; acting in {self._after_s:g} s")
            gone_s = now_s - self._gone_since_s
            if gone_s >= self._after_s and now_s >= self._next_rescue_s:
                self._act(f"the daemon has been gone for {gone_s:.0f} s: {wrong}", now_s)
        if now_s >= self._next_status_s:
            self._next_status_s = now_s + STATUS_EVERY_S
            self._status(wrong, now_s)

    def _back(self, now_s: float) -> None:
        if self._gone_since_s is None:
            return
        text = f"the daemon answers again after {now_s - self._gone_since_s:.0f} s"
        self._say(text)
        if self._told is not None:
            self._alert(text)
        self._gone_since_s, self._told, self._next_rescue_s = None, None, 0.0

    def _act(self, why: str, now_s: float) -> None:
        self.rescues += 1
        rescued = self._rescue(why)
        self._next_rescue_s = now_s + (AGAIN_S if rescued.is_safe else RETRY_S)
        if self._told is not None and not rescued.did and rescued.trouble == self._told:
            return
        self._told = rescued.trouble
        done = "; ".join(rescued.did) or "nothing had to be done"
        trouble = f"; NOT SAFE: {'; '.join(rescued.trouble)}" if rescued.trouble else "; the account is safe"
        self._say(f"{why}: {done}{trouble}")
        self._alert(f"{why}: {done}{trouble}")

    def _status(self, wrong: str, now_s: float) -> None:
        gone_s = 0.0 if self._gone_since_s is None else now_s - self._gone_since_s
        daemon = f"daemon gone for {gone_s:.0f} s ({wrong})" if wrong else "daemon well"
        try:
            view = self._look()
        except VenueError as error:
            self._say(f"{daemon}; the account cannot be read: {error}")
            return
        self._say(f"{daemon}; {account_text(view)}")
        bare = "" if wrong else bare_text(view)
        if bare and bare == self._bare_before:
            self._alert(f"the daemon is well, and yet for a minute: {bare}")
        self._bare_before = bare
