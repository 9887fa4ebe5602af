"""freqtrade: its own `Backtesting` (decided on the close, filled at the next open, stop inside the bar).

It has no slippage: fee and slippage are one fee on both sides. Funding needs mark-price candles and is off. Its stop is
3 % of the fill, rounded up to the market's price step; ours is 3 % of the deciding close: at whole USD they differ on a
stop in twenty by a dollar. Indicators are made in `populate_indicators` with TA-Lib, as its documentation does; for the
comparison of trades the signals are the given ones. The market's rules are given here: no venue is asked.
"""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import freqtrade
import numpy as np
import pandas as pd
import talib
from freqtrade.enums import RunMode
from freqtrade.exchange import Binance
from freqtrade.optimize.backtesting import Backtesting
from worker import Case, serve

logging.disable(logging.WARNING)

PAIR = "BTC/USDT"
STRATEGY = '''
from freqtrade.strategy import IStrategy


class Reversion(IStrategy):
    """Signals come from the columns that the measuring script hands over in `indicators`."""

    timeframe = "1m"
    stoploss = -0.03
    minimal_roi = {}
    use_exit_signal = True
    process_only_new_candles = False
    order_types = {"entry": "market", "exit": "market", "stoploss": "market", "stoploss_on_exchange": False}
    indicators = None

    def populate_indicators(self, dataframe, metadata):
        return type(self).indicators(dataframe)

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["wants_in"], "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["wants_out"], "exit_long"] = 1
        return dataframe

    def custom_stake_amount(self, pair, current_time, current_rate, **rest):
        return current_rate
'''


def prepare(data):
    """Return the cases: with its own indicators, and with the given signals."""
    frame = pd.DataFrame(
        {
            "date": pd.to_datetime(np.asarray(data.open_ms), unit="ms", utc=True),
            "open": data.open, "high": data.high, "low": data.low, "close": data.close, "volume": data.volume,
        }
    )  # fmt: skip
    bar_of = {moment: bar for bar, moment in enumerate(frame["date"])}

    def given(dataframe):
        dataframe["wants_in"] = np.asarray(data.enter)
        dataframe["wants_out"] = np.asarray(data.leave)
        return dataframe

    def computed(dataframe):
        close = dataframe["close"]
        z = (close - talib.SMA(close, 20)) / talib.STDDEV(close, 20)
        rsi = talib.RSI(close, 14)
        adx = talib.ADX(dataframe["high"], dataframe["low"], close, 14)
        dataframe["wants_in"] = (z < -2) & (rsi < 30) & (adx < 25)
        dataframe["wants_out"] = z >= 0
        return dataframe

    def run(indicators):
        test = backtesting(data.settings["fee"])
        strategy = test.strategylist[0]
        type(strategy).indicators = staticmethod(indicators)
        test._set_strategy(strategy)
        processed = strategy.advise_all_indicators({PAIR: frame.copy()})
        found = test.backtest(processed=processed, start_date=first.to_pydatetime(), end_date=last.to_pydatetime())[
            "results"
        ]
        Backtesting.cleanup()
        return found

    def trades(found):
        found = found[found["exit_reason"] != "force_exit"]
        entry = [bar_of[moment] for moment in found["open_date"]]
        left = [bar_of[moment] for moment in found["close_date"]]
        return np.column_stack([entry, left, found["open_rate"], found["close_rate"], found["profit_abs"]])

    first, last = frame["date"].iloc[0], frame["date"].iloc[-1]
    return {"with indicators": Case(lambda: run(computed), trades), "signals given": Case(lambda: run(given), trades)}


def backtesting(fee):
    """Return a `Backtesting` at a market of whole-USD prices."""
    config = {
        "runmode": RunMode.OTHER,
        "strategy": "Reversion",
        "strategy_path": str(strategies),
        "user_data_dir": strategies,
        "datadir": strategies,
        "timeframe": "1m",
        "stake_currency": "USDT",
        "stake_amount": 1_000_000,
        "tradable_balance_ratio": 1.0,
        "dry_run_wallet": 1e9,
        "dry_run": True,
        "max_open_trades": 1,
        "fee": fee,
        "trading_mode": "spot",
        "margin_mode": "",
        "exchange": {"name": "binance", "pair_whitelist": [PAIR], "enable_ws": False},
        "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "other"},
        "exit_pricing": {"price_side": "other"},
        "dataformat_ohlcv": "feather",
        "dataformat_trades": "feather",
    }
    exchange = Binance(config, validate=False)
    exchange._markets = {
        PAIR: {
            "id": "BTCUSDT", "symbol": PAIR, "base": "BTC", "quote": "USDT", "active": True, "spot": True,
            "type": "spot", "contract": False, "precision": {"amount": 1e-8, "price": 1.0},
            "limits": {name: {"min": None, "max": None} for name in ("amount", "cost", "price", "leverage")},
        }
    }  # fmt: skip
    return Backtesting(config, exchange)


with TemporaryDirectory() as name:
    strategies = Path(name)
    (strategies / "reversion.py").write_text(STRATEGY, encoding="utf-8")
    serve(prepare, freqtrade.__version__)
