"""nautilus_trader: `BacktestEngine` on bars; a market order sent in `on_bar` fills at the close of that bar.

So it is compared with the reference that fills at the close; the stop is a resting stop-market order. Hourly funding is
not part of a backtest on bars; fee and slippage are one taker fee. Signals are given. Only `run` is timed: making its
bar objects from arrays comes before.
"""

from __future__ import annotations

import time
from decimal import Decimal
from importlib.metadata import version

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from worker import Case, Timed, serve

VENUE = Venue("BINANCE")
MINUTE_NS = 60_000_000_000


def instrument(fee):
    """Return a perpetual of whole-USD prices."""
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSDT-PERP"), VENUE),
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=0,
        price_increment=Price.from_str("1"),
        size_precision=3,
        size_increment=Quantity.from_str("0.001"),
        max_quantity=None,
        min_quantity=None,
        max_notional=None,
        min_notional=None,
        max_price=None,
        min_price=None,
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=Decimal(str(fee)),
        taker_fee=Decimal(str(fee)),
        ts_event=0,
        ts_init=0,
    )


class Reversion(Strategy):
    """One coin long at a time, from the given signals."""

    def __init__(self, perp, bar_type, enter, leave, stop_px):
        super().__init__()
        self.perp, self.bar_type = perp, bar_type
        self.enter, self.leave, self.stop_px = enter, leave, stop_px
        self.bar_number = -1
        self.is_long = False
        self.one = perp.make_qty(1)
        self.trades = []

    def on_start(self):
        """Ask for the bars."""
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar):
        """Send what the signals of the bar say."""
        self.bar_number += 1
        if self.is_long:
            if self.leave[self.bar_number]:
                self.cancel_all_orders(self.perp.id)
                self.close_all_positions(self.perp.id)
        elif self.enter[self.bar_number]:
            self.submit_order(self.order_factory.market(self.perp.id, OrderSide.BUY, self.one))

    def on_position_opened(self, event):
        """Rest the stop."""
        self.is_long = True
        stop = self.perp.make_price(self.stop_px[self.bar_number])
        order = self.order_factory.stop_market(self.perp.id, OrderSide.SELL, self.one, stop, reduce_only=True)
        self.submit_order(order)

    def on_position_closed(self, event):
        """Note the trade."""
        self.is_long = False
        self.trades.append(
            (event.ts_opened, event.ts_closed, event.avg_px_open, event.avg_px_close, event.realized_pnl.as_double())
        )


def prepare(data):
    """Return the one case."""
    perp = instrument(data.settings["fee"])
    bar_type = BarType.from_str(f"{perp.id}-1-MINUTE-LAST-EXTERNAL")
    volume = Quantity(1e6, 3)  # a bar's volume bounds what fills in it
    prices_of_bars = np.column_stack([data.open, data.high, data.low, data.close]).tolist()
    bars = []
    for open_ms, prices in zip(data.open_ms.tolist(), prices_of_bars, strict=True):
        close_ns = (open_ms + 60_000) * 1_000_000
        bars.append(Bar(bar_type, *(Price(price, 0) for price in prices), volume, close_ns, close_ns))
    first_ns = bars[0].ts_event
    enter, leave, stop_px = data.enter.tolist(), data.leave.tolist(), data.stop_px_at_close.tolist()

    def run():
        engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
        engine.add_venue(
            VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000_000, USDT)], default_leverage=Decimal(1)
        )
        engine.add_instrument(perp)
        engine.add_data(bars)
        strategy = Reversion(perp, bar_type, enter, leave, stop_px)
        engine.add_strategy(strategy)
        start = time.perf_counter()
        engine.run()
        seconds = time.perf_counter() - start
        engine.dispose()
        return Timed(strategy.trades, seconds)

    def trades(made):
        rows = np.array(made, dtype=float).reshape(-1, 5)
        rows[:, :2] = np.floor((rows[:, :2] - first_ns) / MINUTE_NS)
        return rows

    return {"signals given": Case(run, trades)}


serve(prepare, version("nautilus_trader"))
