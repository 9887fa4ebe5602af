"""When the watchdog acts, and what it says: time and answers are handed in."""

from __future__ import annotations

from decimal import Decimal

from perp_bot.core.errors import VenueAway
from perp_bot.core.venue_account import VenueAccount, VenuePosition
from perp_bot.execution.live.direct import View
from perp_bot.watchdog.rescue import Rescued
from perp_bot.watchdog.watch import Watch

ZERO = Decimal(0)
SAFE = Rescued(("armed",), ())
IDLE = Rescued((), ())
NOT_SAFE = Rescued((), ("BTC is bare",))


def view(*positions: VenuePosition) -> View:
    return View(VenueAccount(1, ZERO, ZERO, ZERO, positions), ())


class Rig:
    """A watch whose daemon and account are set by hand."""

    def __init__(self, *answers: Rescued, after_s: float = 60.0) -> None:
        self.wrong = ""
        self.view: View | None = view()
        self.answers = list(answers)
        self.why: list[str] = []
        self.said: list[str] = []
        self.alerts: list[str] = []
        self.watch = Watch(
            heartbeat=lambda: self.wrong,
            look=self._look,
            rescue=self._rescue,
            say=self.said.append,
            alert=self.alerts.append,
            after_s=after_s,
        )

    def _look(self) -> View:
        if self.view is None:
            raise VenueAway("no venue")
        return self.view

    def _rescue(self, why: str) -> Rescued:
        self.why.append(why)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def beats(self, start_s: int, end_s: int) -> None:
        for now_s in range(start_s, end_s):
            self.watch.beat(float(now_s))


def test_a_daemon_that_is_well_is_left_alone_and_told_once_a_minute() -> None:
    """One line of status each minute, nothing else."""
    rig = Rig(SAFE)
    rig.beats(0, 180)
    assert rig.said == ["daemon well; flat; 0 entry orders"] * 3
    assert (rig.why, rig.alerts) == ([], [])


def test_it_acts_only_after_the_whole_time_and_tells_why() -> None:
    """A restart of 59 s is none of its business."""
    rig = Rig(SAFE, IDLE)
    rig.wrong = "no daemon runs"
    rig.beats(0, 60)
    rig.wrong = ""
    rig.beats(60, 61)
    assert (rig.why, rig.alerts) == ([], [])
    rig.wrong = "no daemon runs"
    rig.beats(61, 121)
    assert rig.why == []
    rig.beats(121, 122)
    assert rig.why == ["the daemon has been gone for 60 s: no daemon runs"]
    assert rig.alerts == ["the daemon has been gone for 60 s: no daemon runs: armed; the account is safe"]


def test_a_safe_account_is_looked_at_again_every_minute_and_told_when_something_was_done() -> None:
    """Nothing new is no second alert."""
    rig = Rig(SAFE, IDLE, SAFE)
    rig.wrong = "gone"
    rig.beats(0, 185)
    assert len(rig.why) == 3
    assert len(rig.alerts) == 2


def test_what_is_not_safe_is_tried_again_soon_and_told_once() -> None:
    """Every 5 s, one alert for the same trouble, another when it is over."""
    rig = Rig(NOT_SAFE, NOT_SAFE, NOT_SAFE, SAFE)
    rig.wrong = "gone"
    rig.beats(0, 76)
    assert len(rig.why) == 4
    assert ["NOT SAFE: BTC is bare" in text for text in rig.alerts] == [True, False]


def test_the_return_is_told_and_a_second_absence_counts_anew() -> None:
    """Only when people were told that it was gone."""
    rig = Rig(SAFE)
    rig.wrong = "gone"
    rig.beats(0, 61)
    rig.wrong = ""
    rig.beats(61, 62)
    assert rig.alerts[-1] == "the daemon answers again after 61 s"
    rig.wrong = "gone"
    rig.beats(62, 122)
    assert len(rig.why) == 1


def test_a_bare_position_beside_a_daemon_that_is_well_is_told_after_a_minute() -> None:
    """It is the daemon's to protect: the watchdog tells, and does not act."""
    rig = Rig(SAFE)
    rig.view = view(VenuePosition("BTC", Decimal("0.01"), Decimal(95_000), ZERO, None))
    rig.beats(0, 60)
    assert rig.alerts == []
    rig.beats(60, 61)
    assert rig.alerts == ["the daemon is well, and yet for a minute: LONG 0.01 BTC 0% under a stop"]
    assert rig.why == []


def test_an_account_that_cannot_be_read_is_said_and_not_the_end() -> None:
    """The next minute looks again."""
    rig = Rig(SAFE)
    rig.view = None
    rig.beats(0, 1)
    rig.view = view()
    rig.beats(60, 61)
    assert rig.said == ["daemon well; the account cannot be read: no venue", "daemon well; flat; 0 entry orders"]
