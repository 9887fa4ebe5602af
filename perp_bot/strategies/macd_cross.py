"""MACD cross on closed candles: follow a turn of momentum that volume confirms, stop and target from the range.

Entry, all at once:

- LONG: the histogram crosses above 0 (it was at or below, it is above), RSI < overbought, volume >= its mean;
- SHORT: it crosses below 0 (it was at or above, it is below), RSI > oversold, volume >= its mean.

While an entry waits (`execution.entry_delay_candles`, or its order works) the cross is asked in its lasting form: the
histogram is still on the entry's side of 0. RSI, volume and stop are asked of the newest candle as ever.

The mean of the volume includes the candle itself. The stop is `stop_atr` x ATR from the close; no entry when that is
nearer than `stop_min_pct` or farther than `stop_max_pct` of the close. The target is `reward_risk` such distances away.

An open position is left by its stop, its target or the timeout. From a gain of `trail_after_pct` at a close the stop
follows `trail_distance_pct` behind, in steps of `trail_step_pct` (`strategies.trailing`); it never moves back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from perp_bot.config.model import Config, MacdConfig
from perp_bot.core.types import Enter, Hold, Position, Regime, Side
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import Evaluation, MarketView, Needs
from perp_bot.strategies.regimes import factors
from perp_bot.strategies.trailing import trailed_stop

NAME = "macd_cross"
CONDITIONS = ("cross", "rsi", "volume", "stop")


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The view's numbers; None where missing, NaN or infinite."""

    histogram: float | None
    histogram_before: float | None
    rsi: float | None
    atr: float | None
    volume: float | None
    volume_mean: float | None
    close: float | None

    @classmethod
    def of(cls, view: MarketView) -> _Inputs:
        """Return the inputs of `view`."""
        row = view.indicators
        values = (
            row.macd_histogram,
            row.macd_histogram_before,
            row.rsi,
            row.atr,
            view.candle.volume,
            row.volume_mean,
            view.candle.close,
        )
        return cls(*(None if value is None or not math.isfinite(value) else value for value in values))

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the inputs without a value."""
        return tuple(name for name in self.__slots__ if getattr(self, name) is None)


@dataclass(frozen=True, slots=True)
class MacdCross:
    """The shipped MACD strategy; pure, its only state is its settings."""

    settings: MacdConfig
    timeframe: str
    warmup_bars: int

    @classmethod
    def from_config(cls, config: Config) -> MacdCross:
        """Build it from the config's `macd` and primary timeframe."""
        return cls(config.macd, config.data.primary_timeframe, decision_window(params_of(config)))

    @property
    def name(self) -> str:
        """`macd_cross`."""
        return NAME

    @property
    def needs(self) -> Needs:
        """Closed candles of the primary timeframe, nothing else."""
        return Needs(timeframes=(self.timeframe,), warmup_bars=self.warmup_bars)

    @property
    def max_trades_per_day(self) -> int | None:
        """The configured number."""
        return self.settings.max_trades_per_day

    def on_candle(self, view: MarketView) -> Evaluation:
        """Evaluate the newest closed candle: the stop while a position is open, entries while flat."""
        inputs = _Inputs.of(view)
        side = _side(inputs, view.waiting)
        conditions = self._conditions(inputs, side)
        thresholds = self._thresholds(inputs)
        if view.position is not None:
            decision: Enter | Hold = self._held(view, view.position)
        else:
            decision = self._entry(view, inputs, side, conditions)
        return Evaluation(decision, conditions, thresholds)

    def _thresholds(self, inputs: _Inputs) -> dict[str, float]:
        s = self.settings
        used = {"histogram": 0.0, "rsi_overbought": s.rsi_overbought, "rsi_oversold": s.rsi_oversold}
        if inputs.volume_mean is not None:
            used["volume"] = inputs.volume_mean
        if inputs.close is not None:
            used |= {"stop_least": s.stop_min_pct * inputs.close, "stop_most": s.stop_max_pct * inputs.close}
        return used

    def _conditions(self, inputs: _Inputs, side: Side | None) -> dict[str, bool | None]:
        i, s = inputs, self.settings
        known_cross = i.histogram is not None and i.histogram_before is not None
        rsi = None
        if i.rsi is not None and side is not None:
            rsi = i.rsi < s.rsi_overbought if side is Side.LONG else i.rsi > s.rsi_oversold
        volume = None if i.volume is None or i.volume_mean is None else i.volume >= i.volume_mean
        distance = self._distance(inputs)
        stop = None
        if distance is not None and i.close is not None:
            stop = s.stop_min_pct * i.close <= distance <= s.stop_max_pct * i.close
        return {"cross": side is not None if known_cross else None, "rsi": rsi, "volume": volume, "stop": stop}

    def _distance(self, inputs: _Inputs) -> float | None:
        return None if inputs.atr is None else self.settings.stop_atr * inputs.atr

    def _held(self, view: MarketView, position: Position) -> Hold:
        s, close = self.settings, view.candle.close
        if view.provisional or not math.isfinite(close):
            return Hold(view.symbol, f"holding {position.side}")
        sign = position.side.sign
        stop = trailed_stop(
            sign, float(position.entry_px), close, s.trail_after_pct, s.trail_distance_pct, s.trail_step_pct
        )
        if stop <= 0 or (position.stop_px is not None and (stop - position.stop_px) * sign <= 0):
            return Hold(view.symbol, f"holding {position.side}: stop, target or timeout ends it")
        gain = (close / float(position.entry_px) - 1) * sign
        return Hold(view.symbol, f"holding {position.side}: the stop trails at a gain of {gain:.2%}", stop)

    def _entry(
        self, view: MarketView, inputs: _Inputs, side: Side | None, conditions: dict[str, bool | None]
    ) -> Enter | Hold:
        if view.provisional:
            return Hold(view.symbol, "provisional candle")
        if view.bars < self.warmup_bars:
            return Hold(view.symbol, f"warmup {view.bars}/{self.warmup_bars} bars")
        if inputs.missing:
            return Hold(view.symbol, f"missing {', '.join(inputs.missing)}")
        if side is None:
            return Hold(view.symbol, f"no cross: histogram {inputs.histogram_before:+.4g} to {inputs.histogram:+.4g}")
        failed = [name for name in CONDITIONS if conditions[name] is not True]
        if failed:
            return Hold(view.symbol, f"no {side}: " + "; ".join(self._wanted(name, side, inputs) for name in failed))
        if not factors(view.regime).entries_allowed:
            return Hold(view.symbol, f"regime {Regime.CRISIS}: no entries (conditions of {side} hold)")
        distance, close = self._distance(inputs), inputs.close
        assert distance is not None
        assert close is not None
        return Enter(
            view.symbol,
            side,
            f"histogram {inputs.histogram_before:+.4g} to {inputs.histogram:+.4g}; RSI {inputs.rsi:.1f}; "
            f"volume {inputs.volume:.6g} of a mean of {inputs.volume_mean:.6g}",
            stop_px=close - side.sign * distance,
            target_px=close + side.sign * self.settings.reward_risk * distance,
        )

    def _wanted(self, name: str, side: Side, inputs: _Inputs) -> str:
        s = self.settings
        if name == "rsi":
            limit = f"< {s.rsi_overbought:g}" if side is Side.LONG else f"> {s.rsi_oversold:g}"
            return f"RSI {inputs.rsi:.1f} not {limit}"
        if name == "volume":
            return f"volume {inputs.volume:.6g} below its mean of {inputs.volume_mean:.6g}"
        distance, close = self._distance(inputs), inputs.close
        assert distance is not None
        assert close is not None
        return f"stop {distance / close:.3%} away, allowed {s.stop_min_pct:.2%} to {s.stop_max_pct:.0%}"


def _side(inputs: _Inputs, waiting: Side | None) -> Side | None:
    """Return the side of a cross on this candle, or that of a waiting entry whose cross still stands."""
    if inputs.histogram is None or inputs.histogram_before is None:
        return None
    if inputs.histogram_before <= 0 < inputs.histogram:
        return Side.LONG
    if inputs.histogram_before >= 0 > inputs.histogram:
        return Side.SHORT
    if waiting is not None and inputs.histogram * waiting.sign > 0:
        return waiting
    return None
