"""vectorbt: `Portfolio.from_signals` with signals moved on by one bar and the open as price: filled at the next open.

Its stop comes before an exit that is due at the open of the same bar, and is not looked at in the bar of the entry; it
is a share of the fill. No time-out and no funding. Fee and slippage are one fee. Both engines: Rust (the default when
it is installed) and numba.
"""

from __future__ import annotations

import warnings

import numpy as np
import talib
import vectorbt
from worker import Case, serve

warnings.filterwarnings("ignore")
vectorbt.settings.caching["enabled"] = False


def moved(column, first):
    """Return the column one bar later."""
    return np.concatenate(([first], column[:-1]))


def prepare(data):
    """Return the cases: signals given with each engine, with TA-Lib's indicators, and with all statistics."""
    open_, high, low, close = (np.array(getattr(data, name)) for name in ("open", "high", "low", "close"))
    enter, leave = moved(np.array(data.enter), False), moved(np.array(data.leave), False)
    stop_share = 1.0 - moved(np.array(data.stop_px), np.nan) / open_
    stop_share -= 1e-13  # so that the price it makes of the share does not fall below the whole dollar
    prices = {"price": open_, "open": open_, "high": high, "low": low}

    def portfolio(entries, exits, engine):
        return vectorbt.Portfolio.from_signals(
            close, entries, exits, size=1.0, fees=data.settings["fee"], sl_stop=stop_share,
            stop_entry_price="fillprice", init_cash=1e9, freq="1min", engine=engine, **prices,
        )  # fmt: skip

    def trades(made):
        found = made.trades.records
        found = found[found["status"] == 1]
        return np.column_stack([found[name] for name in ("entry_idx", "exit_idx", "entry_price", "exit_price", "pnl")])

    def with_indicators():
        z = (close - talib.SMA(close, 20)) / talib.STDDEV(close, 20)
        entries = (z < -2.0) & (talib.RSI(close, 14) < 30.0) & (talib.ADX(high, low, close, 14) < 25.0)
        return portfolio(moved(entries, False), moved(z >= 0.0, False), "rust")

    def with_statistics():
        made = portfolio(enter, leave, "rust")
        made.stats(silence_warnings=True)
        return made

    return {
        "signals given": Case(lambda: portfolio(enter, leave, "rust"), trades),
        "signals given, numba engine": Case(lambda: portfolio(enter, leave, "numba"), trades),
        "with indicators": Case(with_indicators, trades),
        "signals given, statistics": Case(with_statistics, trades),
    }


serve(prepare, vectorbt.__version__)
