"""vectorbt: many parameter sets as columns of one `Portfolio.from_signals`, in blocks, since one wide block is slower.

The same semantics as in `run_vectorbt.py`. Indicators are given; the signals of every point are made from them in the
timed part, as ours makes its own. What a case gives is the number of trades and the PnL of every point.
"""

from __future__ import annotations

import warnings

import numpy as np
import vectorbt
from worker import Case, serve

warnings.filterwarnings("ignore")
vectorbt.settings.caching["enabled"] = False


def prepare(data):
    """Return a case a block size that is asked for."""
    names = ("open", "high", "low", "close", "zscore", "rsi", "adx", "size", "stop_px")
    open_, high, low, close, z, rsi, adx, size, stop_px = (np.array(getattr(data, name)) for name in names)
    is_warm = np.arange(len(z)) >= data.settings["first_bar"]
    points = np.array(data.points)  # entry z, exit z, RSI below, ADX below; one row a point
    bought = np.concatenate(([1.0], size[:-1]))[:, None]
    stop_share = (1.0 - np.concatenate(([np.nan], stop_px[:-1])) / open_ - 1e-13)[:, None]
    prices = {name: column[:, None] for name, column in (("open", open_), ("high", high), ("low", low))}

    def moved(flags):
        return np.concatenate((np.zeros((1, flags.shape[1]), bool), flags[:-1]))

    def block(some):
        entry_z, exit_z, rsi_below, adx_below = some.T
        enters = z[:, None] < -entry_z
        enters &= rsi[:, None] < rsi_below
        enters &= adx[:, None] < adx_below
        enters &= is_warm[:, None]
        leaves = np.abs(z)[:, None] < exit_z
        made = vectorbt.Portfolio.from_signals(
            close[:, None], moved(enters), moved(leaves), size=bought, price=prices["open"], **prices,
            fees=data.settings["fee"], sl_stop=stop_share, stop_entry_price="fillprice", init_cash=1e9, freq="1min",
        )  # fmt: skip
        trades = made.trades.records
        closed = trades[trades["status"] == 1]
        count = np.bincount(closed["col"], minlength=len(some))
        return np.column_stack([count, np.bincount(closed["col"], closed["pnl"], minlength=len(some))])

    def sweep(columns):
        return np.vstack([block(points[at : at + columns]) for at in range(0, len(points), columns)])

    return {
        f"blocks of {columns}": Case(lambda columns=columns: sweep(columns), lambda made: made)
        for columns in data.settings["blocks"]
    }


serve(prepare, vectorbt.__version__)
