"""Charts of curves: equity with its drawdown, and the Monte Carlo band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.bands import QUANTILES, TradeBands
from perp_bot.backtest.buy_and_hold import BuyAndHold
from perp_bot.backtest.results import BacktestResult
from perp_bot.core.money import pct
from perp_bot.reporting import svg
from perp_bot.reporting.downsample import buckets
from perp_bot.reporting.svg import Frame

Column = NDArray[np.float64]

_POINTS = 900  # a picture is about that many pixels wide
_MAX_HOLD_STRETCH = 5.0  # buy and hold may stretch the scale of equity by this much; beyond, it is cut off


def equity_chart(result: BacktestResult, hold: BuyAndHold | None) -> str:
    """Return equity over time; buy and hold of the same coins as a faint line."""
    times, equity = result.close_ms, result.equity_usd
    found = buckets(times, equity, equity, equity, _POINTS)
    low, high = min(result.start_equity_usd, float(equity.min())), max(result.start_equity_usd, float(equity.max()))
    line = None
    if hold is not None and len(hold.equity_usd) == len(times):
        line = buckets(times, hold.equity_usd, hold.equity_usd, hold.equity_usd, _POINTS)
        room = (high - low) * _MAX_HOLD_STRETCH
        low, high = (
            max(low - room, min(low, float(line.low.min()))),
            min(high + room, max(high, float(line.high.max()))),
        )
    low, high = svg.padded(low, high)
    frame = Frame(float(times[0]), float(times[-1]), low, high, height=300)
    xs = _across(frame, found.at_ms)
    parts = [*svg.y_axis(frame), *svg.time_axis(frame), _clip(frame, "equity-area")]
    start = frame.y(result.start_equity_usd)
    parts.append(svg.rule(frame.left, start, frame.width - frame.right, start, "base"))
    parts.append('<g clip-path="url(#equity-area)">')
    if line is not None:
        path = svg.commands(_across(frame, line.at_ms), _down(frame, line.last))
        parts.append(svg.shape(path, "line hold", "buy and hold"))
    parts.append(svg.shape(svg.area(xs, _down(frame, found.last), np.full(len(xs), frame.floor)), "fill equity"))
    parts.append(svg.shape(svg.area(xs, _down(frame, found.high), _down(frame, found.low)), "band equity"))
    parts.append(svg.shape(svg.commands(xs, _down(frame, found.last)), "line equity"))
    parts.append("</g>")
    return svg.picture(frame, parts, "Equity over time")


def drawdown_chart(result: BacktestResult) -> str:
    """Return how far equity was below its highest value so far."""
    peaks = np.maximum(np.maximum.accumulate(result.equity_usd), result.start_equity_usd)
    falls = result.equity_usd / peaks - 1
    found = buckets(result.close_ms, falls, falls, falls, _POINTS)
    low = min(-1e-4, float(falls.min()) * 1.06)
    frame = Frame(float(result.close_ms[0]), float(result.close_ms[-1]), low, 0.0, height=140, top=6)
    xs = _across(frame, found.at_ms)
    zero = np.full(len(xs), frame.y(0.0))
    digits = 0 if low < -0.03 else 1 if low < -0.003 else 2
    parts = [
        *svg.y_axis(frame, lambda value: pct(value, digits=digits), most=3),
        *svg.time_axis(frame),
        svg.shape(svg.area(xs, zero, _down(frame, found.low)), "fill loss"),
        svg.shape(svg.commands(xs, _down(frame, found.low)), "line loss"),
    ]
    deepest = int(falls.argmin())
    if falls[deepest] < 0:
        x, y = frame.x(float(result.close_ms[deepest])), frame.y(float(falls[deepest]))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="dot deepest"/>')
    return svg.picture(frame, parts, "Drawdown over time")


def band_chart(bands: TradeBands) -> str:
    """Return the quantiles of equity when the trades are drawn again, the real order in front."""
    curves = bands.curves
    low, high = svg.padded(float(min(curves.min(), bands.actual.min())), float(max(curves.max(), bands.actual.max())))
    frame = Frame(0.0, float(bands.trades), low, high, width=520, height=280)
    xs = _across(frame, bands.place.astype(np.float64))
    rows = [_down(frame, row) for row in curves]
    parts = [
        *svg.y_axis(frame),
        *svg.x_axis(frame, 5),
        svg.shape(svg.area(xs, rows[4], rows[0]), "fill band-wide", f"{_share(0, 4)} of the drawings"),
        svg.shape(svg.area(xs, rows[3], rows[1]), "fill band-narrow", f"{_share(1, 3)} of the drawings"),
        svg.shape(svg.commands(xs, rows[2]), "line median", "median of the drawings"),
        svg.shape(svg.commands(xs, _down(frame, bands.actual)), "line equity", "as it happened"),
    ]
    return svg.picture(frame, parts, "Equity after each trade, drawn again")


def _share(low: int, high: int) -> str:
    return pct(QUANTILES[high] - QUANTILES[low], digits=0)


def _across(frame: Frame, values: Column) -> Column:
    span = (frame.x_high - frame.x_low) or 1.0
    return frame.left + (values - frame.x_low) / span * (frame.width - frame.left - frame.right)


def _down(frame: Frame, values: Column) -> Column:
    span = (frame.y_high - frame.y_low) or 1.0
    return frame.floor - (values - frame.y_low) / span * (frame.floor - frame.top)


def _clip(frame: Frame, name: str) -> str:
    width, height = frame.width - frame.left - frame.right, frame.floor - frame.top
    place = f'x="{frame.left:.1f}" y="{frame.top:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<clipPath id="{name}"><rect {place}/></clipPath>'
