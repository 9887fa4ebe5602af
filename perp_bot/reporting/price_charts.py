"""Charts of prices: where it entered and left over the whole span, and a close-up of the last trades with stops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.market import SymbolMarket
from perp_bot.backtest.results import BacktestResult
from perp_bot.core.money import usd
from perp_bot.core.timeframes import length_ms
from perp_bot.reporting import svg
from perp_bot.reporting.downsample import buckets
from perp_bot.reporting.svg import Frame
from perp_bot.reporting.words import minute, price

Column = NDArray[np.float64]

MAX_MARKS = 1_200  # of trades on the whole span; more would only be a blot, and bytes
CLOSE_UP_TRADES = 24
CLOSE_UP_CANDLES = 260
_POINTS = 900


@dataclass(frozen=True, slots=True)
class SymbolTrades:
    """The trades of one symbol as rows that a chart needs."""

    side: list[int]
    opened_ms: list[int]
    closed_ms: list[int]
    entry_px: list[float]
    exit_px: list[float]
    stop_px: list[float]
    last_stop_px: list[float]  # NaN: not known
    net_usd: list[float]
    reason: list[str]

    def __len__(self) -> int:
        return len(self.side)


def trades_of(result: BacktestResult, symbol: str) -> SymbolTrades:
    """Return the trades of one symbol in the order of their closing."""
    trades = result.trades
    place = trades.symbols.index(symbol) if symbol in trades.symbols else -1
    chosen = np.flatnonzero(trades.symbol == place)
    return SymbolTrades(
        side=trades.side[chosen].tolist(),
        opened_ms=trades.opened_ms[chosen].tolist(),
        closed_ms=trades.closed_ms[chosen].tolist(),
        entry_px=trades.entry_px[chosen].tolist(),
        exit_px=trades.exit_px[chosen].tolist(),
        stop_px=trades.stop_px[chosen].tolist(),
        last_stop_px=trades.last_stop_px[chosen].tolist(),
        net_usd=trades.net_usd[chosen].tolist(),
        reason=[trades.reasons[code] for code in trades.exit_reason[chosen].tolist()],
    )


def span_chart(result: BacktestResult, item: SymbolMarket, trades: SymbolTrades) -> tuple[str, int]:
    """Return the price over the whole span with every entry and exit, and how many trades are marked."""
    step = length_ms(result.timeframe)
    low_ms, high_ms = int(result.close_ms[0]) - step, int(result.close_ms[-1])
    candles = item.candles
    inside = slice(*np.searchsorted(candles.open_ms, [low_ms, high_ms]).tolist())
    found = buckets(
        candles.open_ms[inside] + step, candles.low[inside], candles.high[inside], candles.close[inside], _POINTS
    )
    if not len(found.at_ms):
        return "", 0
    low, high = svg.padded(float(found.low.min()), float(found.high.max()))
    frame = Frame(float(low_ms), float(high_ms), low, high, height=320)
    xs = np.array([frame.x(at) for at in found.at_ms])
    parts = [*svg.y_axis(frame), *svg.time_axis(frame)]
    uppers, lowers = ([frame.y(value) for value in column] for column in (found.high, found.low))
    starts = [0, *found.breaks, len(xs)]
    for begin, end in pairwise(starts):
        part = slice(begin, end)
        parts.append(svg.shape(svg.area(xs[part], np.array(uppers[part]), np.array(lowers[part])), "fill price"))
    parts.append(svg.shape(svg.commands(xs, [frame.y(v) for v in found.last], found.breaks), "line price"))
    chosen = _even(len(trades), MAX_MARKS)
    size = 4.5 if len(chosen) < 150 else 3.2 if len(chosen) < 500 else 2.4
    for place in chosen:
        stop = trades.stop_px[place]
        if len(chosen) < 500 and low <= stop <= high:
            x = frame.x(trades.opened_ms[place])
            parts.append(svg.rule(x - size, frame.y(stop), x + size, frame.y(stop), "stop"))
        if len(chosen) < 500 and has_moved(trades, place) and low <= trades.last_stop_px[place] <= high:
            x, moved = frame.x(trades.closed_ms[place]), frame.y(trades.last_stop_px[place])
            parts.append(svg.rule(x - size, moved, x + size, moved, "stop moved"))
        parts += _marks(frame, trades, place, size)
    return svg.picture(frame, parts, f"{item.symbol}: price, entries and exits"), len(chosen)


def has_moved(trades: SymbolTrades, place: int) -> bool:
    """Whether the stop stood elsewhere when the trade closed; False where that is not known."""
    return abs(trades.last_stop_px[place] - trades.stop_px[place]) > 0


def close_up(result: BacktestResult, item: SymbolMarket, trades: SymbolTrades) -> str:
    """Return candles around the last trades, each with its stop, entry and exit; empty without trades."""
    if not len(trades):
        return ""
    step, candles = length_ms(result.timeframe), item.candles
    last = min(int(np.searchsorted(candles.open_ms, trades.closed_ms[-1], "right")) + 12, len(candles))
    oldest = trades.opened_ms[max(0, len(trades) - CLOSE_UP_TRADES)]
    first = int(np.searchsorted(candles.open_ms, oldest, "left")) - 12
    first = max(0, first, last - CLOSE_UP_CANDLES)
    if last - first < 2:
        return ""
    shown = [place for place in range(len(trades)) if trades.opened_ms[place] >= candles.open_ms[first]]
    part = slice(first, last)
    both = [px for place in shown for px in (trades.stop_px[place], trades.last_stop_px[place])]
    stops = [px for px in both if px > 0]
    spread = float(candles.high[part].max() - candles.low[part].min())
    near = [px for px in stops if candles.low[part].min() - spread < px < candles.high[part].max() + spread]
    low, high = svg.padded(
        min(float(candles.low[part].min()), *near), max(float(candles.high[part].max()), *near)
    ) if near else svg.padded(float(candles.low[part].min()), float(candles.high[part].max()))  # fmt: skip
    frame = Frame(float(candles.open_ms[first]), float(candles.open_ms[last - 1] + step), low, high, height=380)
    parts = [*svg.y_axis(frame, most=6), *svg.time_axis(frame), *_candles(frame, item, part, step)]
    for place in shown:
        parts += _trade(frame, trades, place)
    return svg.picture(frame, parts, f"{item.symbol}: the last {len(shown)} trades")


def _candles(frame: Frame, item: SymbolMarket, part: slice, step: int) -> list[str]:
    candles = item.candles
    wicks: dict[str, list[str]] = {"up": [], "down": []}
    bodies: dict[str, list[str]] = {"up": [], "down": []}
    width = max(0.8, (frame.x(step) - frame.x(0.0)) * 0.66)
    rows = zip(
        candles.open_ms[part].tolist(), candles.open[part].tolist(), candles.high[part].tolist(),
        candles.low[part].tolist(), candles.close[part].tolist(), strict=True,
    )  # fmt: skip
    for open_ms, first, high, low, close in rows:
        style = "up" if close >= first else "down"
        x = frame.x(open_ms + step / 2)
        top, bottom = frame.y(max(first, close)), frame.y(min(first, close))
        wicks[style].append(f"M{x:.1f},{frame.y(high):.1f}V{frame.y(low):.1f}")
        bodies[style].append(f"M{x - width / 2:.1f},{top:.1f}h{width:.1f}v{max(0.8, bottom - top):.1f}h-{width:.1f}z")
    parts = []
    for style in ("up", "down"):
        parts.append(svg.shape("".join(wicks[style]), f"wick {style}"))
        parts.append(svg.shape("".join(bodies[style]), f"body {style}"))
    return parts


def _trade(frame: Frame, trades: SymbolTrades, place: int) -> list[str]:
    begin, end = frame.x(trades.opened_ms[place]), frame.x(trades.closed_ms[place])
    entry, leave = frame.y(trades.entry_px[place]), frame.y(trades.exit_px[place])
    won = "gain" if trades.net_usd[place] > 0 else "loss"
    parts = [svg.rule(begin, entry, end, leave, f"path {won}")]
    if frame.y_low <= trades.stop_px[place] <= frame.y_high:
        stop = frame.y(trades.stop_px[place])
        parts.append(svg.rule(begin - 4, stop, max(end, begin + 10), stop, "stop"))
    if has_moved(trades, place) and frame.y_low <= trades.last_stop_px[place] <= frame.y_high:
        moved = frame.y(trades.last_stop_px[place])  # when it got there is not kept: it is marked where the trade ends
        parts.append(svg.rule(end - 8, moved, end + 8, moved, "stop moved"))
    return parts + _marks(frame, trades, place, 6.5)


def _marks(frame: Frame, trades: SymbolTrades, place: int, size: float) -> list[str]:
    side, won = trades.side[place], "gain" if trades.net_usd[place] > 0 else "loss"
    x, y = frame.x(trades.opened_ms[place]), frame.y(trades.entry_px[place])
    tip = y + size * (0.9 if side > 0 else -0.9)  # the arrow stands below a long's entry and above a short's
    base = tip + size * 1.5 * side
    name = "long" if side > 0 else "short"
    arrow = f"M{x:.1f},{tip:.1f}L{x - size * 0.85:.1f},{base:.1f}L{x + size * 0.85:.1f},{base:.1f}Z"
    end_x, end_y, half = frame.x(trades.closed_ms[place]), frame.y(trades.exit_px[place]), size * 0.62
    cross = (
        f"M{end_x - half:.1f},{end_y - half:.1f}l{2 * half:.1f},{2 * half:.1f}"
        f"M{end_x - half:.1f},{end_y + half:.1f}l{2 * half:.1f},-{2 * half:.1f}"
    )
    opened = f"{name} at {price(trades.entry_px[place])}, {minute(trades.opened_ms[place])}"
    closed = (
        f"{trades.reason[place]} at {price(trades.exit_px[place])}, {minute(trades.closed_ms[place])}, "
        f"net {usd(trades.net_usd[place], sign=True)}"
    )
    return [svg.shape(arrow, f"entry {name}", opened), svg.shape(cross, f"exit {won}", closed)]


def _even(count: int, most: int) -> list[int]:
    return list(range(count)) if count <= most else np.unique(np.linspace(0, count - 1, most).astype(int)).tolist()
