"""jesse: `research.backtest`; a market order fills at the close of the signal's bar, the stop rests from then on.

So it is compared with the reference that fills at the close. No slippage and no funding: fee and slippage are one fee.
Signals are given; its `fast_mode` changes nothing at one-minute candles.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from tempfile import TemporaryDirectory

import numpy as np
from worker import Case, serve

MINUTE_MS = 60_000


def prepare(data):
    """Return the one case."""
    from jesse import research
    from jesse.strategies import Strategy

    open_ms = np.asarray(data.open_ms).astype(float)
    candles = np.column_stack([open_ms, data.open, data.close, data.high, data.low, data.volume])
    first_ms = open_ms[0]
    enter, leave, stop_px = data.enter.tolist(), data.leave.tolist(), data.stop_px_at_close.tolist()

    class Reversion(Strategy):
        """One coin long at a time."""

        def should_long(self):
            return enter[self.index]

        def go_long(self):
            self.buy = 1, self.price
            self.stop_of_entry = stop_px[self.index]

        def on_open_position(self, order):  # called when the next bar is the current one
            self.stop_loss = 1, self.stop_of_entry

        def update_position(self):
            if leave[self.index]:
                self.liquidate()

        def should_cancel_entry(self):
            return True

    config = {
        "starting_balance": 1e9,
        "fee": data.settings["fee"],
        "type": "futures",
        "simulation_model": "perpetual_futures",
        "annualization": 365,
        "futures_leverage": 1,
        "futures_leverage_mode": "cross",
        "exchange": "Binance Perpetual Futures",
        "warm_up_candles": 0,
    }
    route = {"exchange": config["exchange"], "symbol": "BTC-USDT", "timeframe": "1m"}
    series = {"Binance Perpetual Futures-BTC-USDT": {**route, "candles": candles}}

    def run():
        return research.backtest(config, [{**route, "strategy": Reversion}], [], series, fast_mode=True)

    def trades(found):
        rows = [
            (
                (trade["opened_at"] - first_ms) / MINUTE_MS - 1,  # its times are the ends of the bars
                (trade["closed_at"] - first_ms) / MINUTE_MS - 1,
                trade["entry_price"],
                trade["exit_price"],
                trade["PNL"],
            )
            for trade in found["trades"]
        ]
        return np.array(rows)

    return {"signals given": Case(run, trades)}


with TemporaryDirectory() as folder:  # not a jesse project: it then needs no database, and writes nothing
    os.chdir(folder)
    serve(prepare, version("jesse"))
