"""backtesting.py: decided on the close, filled at the next open; the stop inside the bar, also in the bar of the entry.

It has no slippage apart from a spread on entries and no funding, so fee and slippage are one commission on both sides.
Signals are columns of the data, as its documentation does for precomputed ones. No time-out: none is reached.
"""

from __future__ import annotations

import warnings

import backtesting
import numpy as np
import pandas as pd
from worker import Case, serve

warnings.filterwarnings("ignore")


class Signals(backtesting.Strategy):
    """One coin long at a time, from the columns Enter, Leave and Stop."""

    def init(self):
        """Take the columns."""
        self.enter = self.data.df["Enter"].to_numpy()
        self.leave = self.data.df["Leave"].to_numpy()
        self.stop = self.data.df["Stop"].to_numpy()

    def next(self):
        """Ask for what the signals of the newest closed bar say."""
        bar = len(self.data) - 1
        if self.position:
            if self.leave[bar]:
                self.position.close()
        elif self.enter[bar]:
            self.buy(size=1, sl=self.stop[bar])


def prepare(data):
    """Return the one case: the whole run with its statistics, which the library always makes."""
    frame = pd.DataFrame(
        {
            "Open": data.open, "High": data.high, "Low": data.low, "Close": data.close,
            "Enter": data.enter, "Leave": data.leave, "Stop": data.stop_px,
        },
        index=pd.to_datetime(np.asarray(data.open_ms), unit="ms"),
    )  # fmt: skip

    def run():
        test = backtesting.Backtest(frame, Signals, cash=1e9, commission=data.settings["fee"], finalize_trades=False)
        return test.run()

    def trades(statistics):
        columns = ["EntryBar", "ExitBar", "EntryPrice", "ExitPrice", "PnL"]
        return statistics["_trades"][columns].to_numpy(float)

    return {"signals given": Case(run, trades)}


serve(prepare, backtesting.__version__)
