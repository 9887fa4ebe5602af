"""Mean reversion on closed candles: fade a stretched price in a market without a trend.

Entry of the side that z points at (z > 0: SHORT, z < 0: LONG), all four at once, every comparison strict:

- SHORT: z > +entry, RSI > overbought, close > upper band, ADX < threshold;
- LONG: z < -entry, RSI < oversold, close < lower band, ADX < threshold.

Exit of an open position, checked in this order, strict as well:

- `zscore_stop`: z beyond the stop threshold against the position (LONG: z < -3, SHORT: z > +3);
- `mean_reversion_complete`: |z| < exit threshold.

A value that equals its threshold does nothing. A close that jumps across the mean without landing inside the exit
threshold does not exit; the next close inside it, a stop or the timeout does. An exit needs z alone, so it still
works while RSI or ADX are missing, on a provisional candle, and before warm-up once the z window is full.

With equal length and sigma (both 20 and 2.0 by default) `close > upper band` and `z > +2` are the same statement; the
band is kept because the two can be set apart. `strategies.conditions` counts how many entries each one alone removes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from perp_bot.config.model import Config, SignalsConfig
from perp_bot.core.types import Enter, Exit, Hold, Regime, Side
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import Evaluation, MarketView, Needs
from perp_bot.strategies.regimes import RegimeFactors, factors, scaled

NAME = "mean_reversion"
EXIT_COMPLETE = "mean_reversion_complete"
EXIT_ZSCORE_STOP = "zscore_stop"
CONDITIONS = ("zscore", "rsi", "band", "adx")
_INPUTS = ("zscore", "rsi", "adx", "bb_upper", "bb_middle", "bb_lower", "close")


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The view's numbers; None where missing, NaN or infinite, so that no comparison can pass by accident."""

    zscore: float | None
    rsi: float | None
    adx: float | None
    bb_upper: float | None
    bb_middle: float | None
    bb_lower: float | None
    close: float | None

    @classmethod
    def of(cls, view: MarketView) -> _Inputs:
        """Return the inputs of `view`."""
        row = view.indicators
        return cls(
            _known(row.zscore),
            _known(row.rsi),
            _known(row.adx),
            _known(row.bb_upper),
            _known(row.bb_middle),
            _known(row.bb_lower),
            _known(view.candle.close),
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the inputs without a value."""
        return tuple(name for name in _INPUTS if getattr(self, name) is None)


@dataclass(frozen=True, slots=True)
class MeanReversion:
    """The shipped mean-reversion strategy; pure, its only state is its thresholds."""

    signals: SignalsConfig
    timeframe: str
    warmup_bars: int

    @classmethod
    def from_config(cls, config: Config) -> MeanReversion:
        """Build it from the config's `signals` and primary timeframe.

        Its warm-up is the decision window: the indicators with a memory are computed from exactly that many bars
        (more than the warm-up by the 1e-9 rule), so that no value depends on where the history starts.
        """
        return cls(config.signals, config.data.primary_timeframe, decision_window(params_of(config)))

    @property
    def name(self) -> str:
        """`mean_reversion`."""
        return NAME

    @property
    def needs(self) -> Needs:
        """Closed candles of the primary timeframe, nothing else."""
        return Needs(timeframes=(self.timeframe,), warmup_bars=self.warmup_bars)

    @property
    def max_trades_per_day(self) -> int | None:
        """No limit."""
        return None

    def on_candle(self, view: MarketView) -> Evaluation:
        """Evaluate the newest closed candle: exits while a position is open, entries while flat."""
        inputs = _Inputs.of(view)
        regime = factors(view.regime)
        side = None if inputs.zscore is None else (Side.SHORT if inputs.zscore >= 0 else Side.LONG)
        thresholds = self._thresholds(inputs, regime)
        conditions = self._conditions(inputs, side, thresholds)
        if view.position is not None:
            decision: Enter | Exit | Hold = self._exit(view, view.position.side, inputs, thresholds)
        else:
            decision = self._entry(view, side, inputs, conditions, thresholds, regime)
        return Evaluation(decision, conditions, thresholds)

    def _thresholds(self, inputs: _Inputs, regime: RegimeFactors) -> dict[str, float]:
        s = self.signals
        used = {
            "zscore_entry_long": scaled(s.zscore_entry_threshold, regime.entry_long),
            "zscore_entry_short": scaled(s.zscore_entry_threshold, regime.entry_short),
            "zscore_exit": scaled(s.zscore_exit_threshold, regime.exit),
            "zscore_stop": s.zscore_stop_threshold,
            "rsi_overbought": s.rsi_overbought,
            "rsi_oversold": s.rsi_oversold,
            "adx": s.adx_threshold,
        }
        if inputs.bb_middle is not None and inputs.bb_upper is not None:
            used["band_short"] = _band(inputs.bb_middle, inputs.bb_upper, regime, Side.SHORT)
        if inputs.bb_middle is not None and inputs.bb_lower is not None:
            used["band_long"] = _band(inputs.bb_middle, inputs.bb_lower, regime, Side.LONG)
        return used

    def _conditions(self, inputs: _Inputs, side: Side | None, thresholds: dict[str, float]) -> dict[str, bool | None]:
        adx = None if inputs.adx is None else inputs.adx < thresholds["adx"]
        if side is None or inputs.zscore is None:
            return {"zscore": None, "rsi": None, "band": None, "adx": adx}
        short = side is Side.SHORT
        z, rsi, close = inputs.zscore, inputs.rsi, inputs.close
        band = thresholds.get("band_short" if short else "band_long")
        return {
            "zscore": z > thresholds["zscore_entry_short"] if short else z < -thresholds["zscore_entry_long"],
            "rsi": None
            if rsi is None
            else (rsi > thresholds["rsi_overbought"] if short else rsi < thresholds["rsi_oversold"]),
            "band": None if band is None or close is None else (close > band if short else close < band),
            "adx": adx,
        }

    def _exit(self, view: MarketView, held: Side, inputs: _Inputs, thresholds: dict[str, float]) -> Exit | Hold:
        z = inputs.zscore
        if z is None:
            return Hold(view.symbol, "no exit decision: missing zscore")
        if -z * held.sign > thresholds["zscore_stop"]:
            return Exit(view.symbol, EXIT_ZSCORE_STOP)
        if abs(z) < thresholds["zscore_exit"]:
            return Exit(view.symbol, EXIT_COMPLETE)
        return Hold(view.symbol, f"holding {held}: z {z:+.2f}, exit inside {thresholds['zscore_exit']:g}")

    def _entry(
        self,
        view: MarketView,
        side: Side | None,
        inputs: _Inputs,
        conditions: dict[str, bool | None],
        thresholds: dict[str, float],
        regime: RegimeFactors,
    ) -> Enter | Hold:
        if view.provisional:
            return Hold(view.symbol, "provisional candle")
        if view.bars < self.warmup_bars:
            return Hold(view.symbol, f"warmup {view.bars}/{self.warmup_bars} bars")
        if side is None or inputs.missing:
            return Hold(view.symbol, f"missing {', '.join(inputs.missing)}")
        failed = [name for name in CONDITIONS if conditions[name] is not True]
        if failed:
            wanted = "; ".join(self._wanted(name, side, inputs, thresholds) for name in failed)
            return Hold(view.symbol, f"no {side}: {wanted}")
        if not regime.entries_allowed:
            return Hold(view.symbol, f"regime {Regime.CRISIS}: no entries (conditions of {side} hold)")
        return Enter(view.symbol, side, "; ".join(self._met(name, side, inputs, thresholds) for name in CONDITIONS))

    def _numbers(
        self, name: str, side: Side, inputs: _Inputs, thresholds: dict[str, float]
    ) -> tuple[str, float | None, str, float, str]:
        """Return label, value, comparison, threshold and number format of a condition of `side`."""
        short = side is Side.SHORT
        sign = ">" if short else "<"
        if name == "zscore":
            limit = thresholds["zscore_entry_short"] if short else -thresholds["zscore_entry_long"]
            return "z", inputs.zscore, sign, limit, "+.2f"
        if name == "rsi":
            limit = thresholds["rsi_overbought"] if short else thresholds["rsi_oversold"]
            return "RSI", inputs.rsi, sign, limit, ".1f"
        if name == "band":
            return "close", inputs.close, sign, thresholds["band_short" if short else "band_long"], ".6g"
        return "ADX", inputs.adx, "<", thresholds["adx"], ".1f"

    def _met(self, name: str, side: Side, inputs: _Inputs, thresholds: dict[str, float]) -> str:
        label, value, sign, limit, form = self._numbers(name, side, inputs, thresholds)
        return f"{label} {value:{form}} {sign} {limit:{form}}"

    def _wanted(self, name: str, side: Side, inputs: _Inputs, thresholds: dict[str, float]) -> str:
        label, value, sign, limit, form = self._numbers(name, side, inputs, thresholds)
        return f"{label} {value:{form}} not {sign} {limit:{form}}"


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _band(middle: float, edge: float, regime: RegimeFactors, side: Side) -> float:
    factor = regime.entry(side)
    return edge if factor == 1 else middle + scaled(edge - middle, factor)
