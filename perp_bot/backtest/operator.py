"""The operator of a simulated account: lifts a pause that is old enough, as a person would some hours later."""

from __future__ import annotations

from dataclasses import dataclass

from perp_bot.config.model import Config
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.risk.state import RiskState


@dataclass(slots=True)
class SimulatedOperator:
    """Looks at the limits after every measuring of the equity."""

    config: Config
    resumes: int = 0  # pauses lifted so far
    _paused_ms: int | None = None

    def look(self, before: RiskState, risk: RiskState, now_ms: int, equity_usd: float) -> RiskState:
        """Return the limits after a look; `before` is what they were before the equity was measured."""
        is_paused = _is_paused(risk)
        if is_paused and not _is_paused(before):
            self._paused_ms = now_ms
        wait_ms = round(self.config.backtest.resume_hours * HOUR_MS)  # 0: nobody comes
        if is_paused and wait_ms and self._paused_ms is not None and now_ms - self._paused_ms >= wait_ms:
            self.resumes += 1
            return risk.on_operator_resume(now_ms, equity_usd).state
        return risk


def _is_paused(risk: RiskState) -> bool:
    return risk.session_paused or risk.drawdown_paused
