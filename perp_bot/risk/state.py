"""What the risk rules remember, as one frozen value with pure transitions.

The loop stores `RiskState.to_json()` in bot_state after every change and starts from it again, so that every limit,
pause and cooldown is the same before and after a restart (I12).

- Day: a UTC day. `day_start_equity_usd` is the equity at the first moment of the day that is known: the last equity
  before midnight, or the first one ever. `day_realized_net_usd` sums the nets (after fees and funding, the entry's
  too) of the round trips that closed in the day.
- Session: begins at the account's first equity and ends only when the operator resumes from the session pause; a
  restart continues it.
- Drawdown: from the highest equity since the account began, or since the operator last resumed from the drawdown
  pause: resuming accepts the loss, and the peak starts again from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from perp_bot.config.model import RiskConfig
from perp_bot.core.errors import StoreError
from perp_bot.core.money import usd
from perp_bot.core.timeframes import day_of, iso
from perp_bot.core.types import ClosedTrade
from perp_bot.risk.wording import share

JsonValue = float | int | bool | None


@dataclass(frozen=True, slots=True)
class Transition:
    """A new state, and sentences about what changed that people should hear of."""

    state: RiskState
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RiskState:
    """Everything the limits remember; None = not known yet. Times in epoch ms by the venue's clock."""

    day_start_ms: int | None = None
    day_start_equity_usd: float | None = None
    day_realized_net_usd: float = 0.0
    last_equity_usd: float | None = None
    session_start_ms: int | None = None
    session_peak_usd: float | None = None
    session_paused: bool = False
    peak_usd: float | None = None
    drawdown_paused: bool = False
    cooldown_until_ms: int | None = None

    # ------------------------------------------------------------ transitions

    def on_equity(self, equity_usd: float, now_ms: int, risk: RiskConfig) -> Transition:
        """Take the equity of `now_ms`: rolls the day, moves the peaks, sets the drawdown pauses.

        An equity that is not a finite number changes nothing and says so; the gate refuses entries without one.
        """
        if not math.isfinite(equity_usd):
            return Transition(self, (f"equity is {equity_usd}: limits not evaluated",))
        state = self._rolled(now_ms)
        state = replace(
            state,
            day_start_equity_usd=equity_usd if state.day_start_equity_usd is None else state.day_start_equity_usd,
            last_equity_usd=equity_usd,
            session_start_ms=now_ms if state.session_start_ms is None else state.session_start_ms,
            session_peak_usd=max(equity_usd, _or(state.session_peak_usd, equity_usd)),
            peak_usd=max(equity_usd, _or(state.peak_usd, equity_usd)),
        )
        notes = []
        session_fall = fall_from(state.session_peak_usd, equity_usd)
        if not state.session_paused and session_fall is not None and session_fall >= risk.session_drawdown_pct:
            state = replace(state, session_paused=True)
            notes.append(
                _paused_text(
                    "the session's peak", session_fall, state.session_peak_usd, equity_usd, risk.session_drawdown_pct
                )
            )
        peak_fall = fall_from(state.peak_usd, equity_usd)
        if not state.drawdown_paused and peak_fall is not None and peak_fall >= risk.max_drawdown_pct:
            state = replace(state, drawdown_paused=True)
            notes.append(
                _paused_text("the highest equity", peak_fall, state.peak_usd, equity_usd, risk.max_drawdown_pct)
            )
        return Transition(state, tuple(notes))

    def on_day_rollover(self, now_ms: int) -> Transition:
        """Begin the UTC day of `now_ms` when it is a later one; its start equity is the last one known."""
        state = self._rolled(now_ms)
        if state is self or self.day_start_ms is None:
            return Transition(state)
        start = usd(state.day_start_equity_usd)
        return Transition(state, (f"a new UTC day begins at {iso(day_of(now_ms))}, day-start equity {start}",))

    def on_trade_closed(self, trade: ClosedTrade, risk: RiskConfig) -> Transition:
        """Add a round trip's net to its UTC day; a stop starts the cooldown."""
        net = float(trade.net_usd)
        state = self._rolled(trade.closed_ms)
        if state.day_start_ms == day_of(trade.closed_ms):  # a late report of an earlier day does not count today
            state = replace(state, day_realized_net_usd=state.day_realized_net_usd + net)
        return state.on_stop(trade.closed_ms, risk) if trade.stopped else Transition(state)

    def on_stop(self, now_ms: int, risk: RiskConfig) -> Transition:
        """Start the cooldown after any stop (capital stop, zscore_stop); a longer one that runs is kept."""
        until = now_ms + risk.cooldown_seconds * 1000
        if risk.cooldown_seconds == 0 or (self.cooldown_until_ms is not None and self.cooldown_until_ms >= until):
            return Transition(self)
        state = replace(self, cooldown_until_ms=until)
        return Transition(state, (f"cooldown until {iso(until)} after a stop ({risk.cooldown_seconds} s)",))

    def on_operator_resume(self, now_ms: int, equity_usd: float) -> Transition:
        """Let the operator resume from the drawdown pauses: ends the session, and accepts the drawdown.

        A session pause begins a new session with `equity_usd` as its peak; a max-drawdown pause makes `equity_usd`
        the new peak. Without either nothing changes: an ordinary resume does not end a session. Daily loss, cooldown
        and the losing-weeks halt are never lifted by a resume.
        """
        if not math.isfinite(equity_usd):
            return Transition(self, ("not resumed from the drawdown pauses: the equity is not known",))
        state, notes = self, []
        if state.session_paused:
            state = replace(state, session_paused=False, session_peak_usd=equity_usd, session_start_ms=now_ms)
            notes.append(f"a new session begins with a peak of {usd(equity_usd)}")
        if state.drawdown_paused:
            state = replace(state, drawdown_paused=False, peak_usd=equity_usd)
            notes.append(f"the drawdown is accepted: it is measured from {usd(equity_usd)} now")
        return Transition(state, tuple(notes))

    def _rolled(self, now_ms: int) -> RiskState:
        day = day_of(now_ms)
        if self.day_start_ms is not None and day <= self.day_start_ms:
            return self
        return replace(self, day_start_ms=day, day_start_equity_usd=self.last_equity_usd, day_realized_net_usd=0.0)

    # ------------------------------------------------------------ storage

    def to_json(self) -> dict[str, JsonValue]:
        """Return the state as plain JSON values; `from_json` gives the identical state back."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> RiskState:
        """Return the state that `to_json` stored.

        Raises:
            StoreError: when a value has the wrong type: limits are never guessed. A missing key keeps its default.
        """
        values: dict[str, object] = {}
        for item in fields(cls):
            if item.name not in stored:
                continue
            value = stored[item.name]
            if not _fits(item.name, value):
                raise StoreError(f"stored risk state: {item.name} is {value!r}; restore a backup of the database")
            values[item.name] = float(value) if item.name.endswith("_usd") and value is not None else value  # type: ignore[arg-type]
        return cls(**values)  # type: ignore[arg-type]


def fall_from(peak_usd: float | None, equity_usd: float | None) -> float | None:
    """Return how far equity is below its peak as a fraction of the peak; 0 at or above it, None when unknown."""
    if peak_usd is None or equity_usd is None or not math.isfinite(equity_usd) or peak_usd <= 0:
        return None
    return max(0.0, (peak_usd - equity_usd) / peak_usd)


def _fits(name: str, value: object) -> bool:
    if name in ("session_paused", "drawdown_paused"):
        return isinstance(value, bool)
    if value is None:
        return name != "day_realized_net_usd"
    if isinstance(value, bool):
        return False
    if name.endswith("_ms"):
        return isinstance(value, int)
    return isinstance(value, (int, float)) and math.isfinite(value)


def _or(value: float | None, fallback: float) -> float:
    return fallback if value is None else value


def _paused_text(of_what: str, fall: float, peak: float | None, equity: float, limit: float) -> str:
    return (
        f"entries paused: equity {usd(equity)} is {share(fall)} below {of_what} of {usd(peak)}, "
        f"limit {share(limit)}; the operator must resume"
    )
