"""Days of the stepped practice market in which everything happens that can happen to a trade."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import Rig

from perp_bot.backtest.recorded import RecordedRun, simulate
from perp_bot.config.load import load_config
from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.types import ClosedTrade, Fill, FundingPayment
from perp_bot.data.db.reader import Reader
from perp_bot.data.recordings import Recording, recordings

START = "400"
SETTINGS: dict[str, Any] = {
    "trading": {"symbols": ["BTC", "ETH", "SOL"]},
    "signals": {
        "zscore_entry_threshold": 1.6, "zscore_exit_threshold": 0.3, "zscore_stop_threshold": 2.6,
        "bollinger_std": 1.5, "rsi_overbought": 58.0, "rsi_oversold": 42.0, "adx_threshold": 60.0,
    },
    "risk": {
        "max_positions": 2, "max_loss_per_trade_pct": 0.012, "position_timeout_hours": 3.0, "cooldown_seconds": 900,
        "session_drawdown_pct": 0.9, "max_drawdown_pct": 0.95, "daily_loss_limit_pct": 0.9,
    },
    "execution": {"taker_fallback_seconds": 20},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lived:
    """What the daemon left of its days, and the simulation of the same."""

    rig: Rig
    recording: Recording
    fills: list[Fill]
    trades: list[ClosedTrade]
    funding: list[FundingPayment]
    equity: list[tuple[int, float]]
    run: RecordedRun

    def kinds(self) -> Counter[str]:
        """Count what happened: exits by reason, entry fills by liquidity, funding hours."""
        found = Counter(trade.exit_reason for trade in self.trades)
        found.update(f"{fill.role} {fill.liquidity}" for fill in self.fills)
        found["funding"] = len(self.funding)
        return found


def live(rig: Rig, days: float) -> Lived:
    """Step through days, by minutes while anything is open and by quarters of an hour while not; then simulate."""
    state = rig.start()
    until_ms = rig.start_ms + round(days * DAY_MS)
    while rig.venue.now_ms < until_ms:
        state = rig.step("1m" if state.positions or state.orders else "15m")
    assert rig.stop() == 0
    config = load_config(rig.config_path, env={})
    (recording,) = recordings(rig.paths.recordings)
    with Reader(rig.paths.db) as reader:
        return Lived(
            rig,
            recording,
            reader.fills("paper"),
            reader.trades("paper"),
            reader.funding_payments("paper"),
            [(row.venue_ms, row.equity_usd) for row in reader.equity("paper")],
            simulate(config, recording),
        )


def rig_in(folder: Path) -> Rig:
    """Return the rig of these days."""
    return Rig(folder, start=START, seed=42, settings=SETTINGS)


NEEDED = (
    "capital_stop", "zscore_stop", "timeout", "mean_reversion_complete", "entry maker", "entry taker", "funding",
)  # fmt: skip
