"""Charts of trades: how they are spread, how far they went against us, and where the money went."""

from __future__ import annotations

import numpy as np

from perp_bot.backtest.metrics import Metrics
from perp_bot.backtest.results import Trades
from perp_bot.core.counting import counted
from perp_bot.core.money import usd
from perp_bot.reporting import svg
from perp_bot.reporting.svg import Frame

HALF = 520.0  # width of a chart that shares its row
_MAX_DOTS = 1_500


def spread_chart(trades: Trades) -> str:
    """Return the histogram of nets; a bar begins or ends at 0, so that no bar mixes gains and losses."""
    net = trades.net_usd
    # the outermost percent on either side would make all others one bar: they are counted in the last bars
    low, high = (float(value) for value in np.quantile(net, [0.005, 0.995])) if len(net) > 200 else (
        float(net.min()), float(net.max()))  # fmt: skip
    bins = int(min(48, max(15, 3 * len(net) ** (1 / 3))))
    step = max((max(high, 0) - min(low, 0)) / bins, 1e-9)
    first, last = int(np.floor(min(low, 0) / step)), int(np.ceil(max(high, 0) / step))
    edges = np.arange(first, max(last, first + 1) + 1) * step
    counts = np.histogram(np.clip(net, edges[0], edges[-1]), edges)[0]
    frame = Frame(float(edges[0]), float(edges[-1]), 0.0, float(counts.max()) * 1.08, width=HALF, height=280, left=48)
    parts = [*svg.y_axis(frame, whole=True),
             *svg.x_axis(frame, 6)]  # fmt: skip
    for place, count in enumerate(counts.tolist()):
        if count:
            x, end = frame.x(float(edges[place])), frame.x(float(edges[place + 1]))
            style = "bar gain" if edges[place] >= -1e-9 else "bar loss"
            title = f"{counted(count, 'trade')} from {usd(float(edges[place]))} to {usd(float(edges[place + 1]))} USD"
            parts.append(svg.box(x + 0.5, frame.y(count), end - x - 1, frame.floor - frame.y(count), style, title, 1.5))
    mean = float(net.mean())
    x = frame.x(min(max(mean, float(edges[0])), float(edges[-1])))
    parts.append(svg.rule(frame.x(0), frame.top, frame.x(0), frame.floor, "base"))
    parts.append(svg.rule(x, frame.top, x, frame.floor, "mean"))
    anchor = "end" if x > frame.width * 0.7 else "start"
    words = f"mean {usd(mean, sign=True)}"
    parts.append(svg.text(x + (-6 if anchor == "end" else 6), frame.top + 10, words, "callout", anchor))
    return svg.picture(frame, parts, "Distribution of net per trade")


def excursion_chart(trades: Trades) -> str:
    """Return each trade's net against its worst open PnL on the way."""
    chosen = np.arange(len(trades)) if len(trades) <= _MAX_DOTS else np.linspace(0, len(trades) - 1, _MAX_DOTS)
    places = np.unique(chosen.astype(int))
    worst, net = -trades.mae_usd[places], trades.net_usd[places]
    x_high = max(float(np.quantile(worst, 0.995)), 1e-9) * 1.05
    low, high = svg.padded(*(float(value) for value in np.quantile(net, [0.003, 0.997])))
    frame = Frame(0.0, x_high, low, high, width=HALF, height=280, left=56)
    parts = [*svg.y_axis(frame), *svg.x_axis(frame, 6)]
    parts.append(svg.rule(frame.left, frame.y(0), frame.width - frame.right, frame.y(0), "base"))
    size = 4 if len(places) < 100 else 2.4
    for at, value in zip(worst.tolist(), net.tolist(), strict=True):
        x, y = frame.x(min(at, x_high)), frame.y(min(max(value, low), high))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" class="dot {"gain" if value > 0 else "loss"}"/>')
    return svg.picture(frame, parts, "Net against maximum adverse excursion")


def waterfall(metrics: Metrics) -> list[tuple[str, float, float]]:
    """Return the steps from price moves to net: (name, from, to), USD; a total begins at 0.

    Price moves at the prices that were due, less what slippage took, are gross; less fees, with funding, net.
    """
    due = metrics.gross_usd + metrics.slippage_usd
    gross, after_fees = metrics.gross_usd, metrics.gross_usd - metrics.fees_usd
    return [
        ("price moves", 0.0, due),
        ("slippage", due, gross),
        ("gross", 0.0, gross),
        ("fees", gross, after_fees),
        ("funding", after_fees, metrics.net_usd),
        ("net", 0.0, metrics.net_usd),
    ]


def waterfall_chart(metrics: Metrics) -> str:
    """Return the costs as a waterfall."""
    steps = waterfall(metrics)
    ends = [value for _, begin, end in steps for value in (begin, end)]
    low, high = svg.padded(min(ends), max(ends), 0.14)
    frame = Frame(0.0, float(len(steps)), low, high, width=HALF, height=280, left=60)
    parts = svg.y_axis(frame)
    parts.append(svg.rule(frame.left, frame.y(0), frame.width - frame.right, frame.y(0), "base"))
    for place, (name, begin, end) in enumerate(steps):
        change = end - begin
        total = name in ("price moves", "gross", "net")
        style = "bar total" if total else "bar gain" if change > 0 else "bar loss"
        x, width = frame.x(place + 0.16), frame.x(0.68) - frame.x(0.0)
        top, bottom = frame.y(max(begin, end)), frame.y(min(begin, end))
        amount = usd(end if total else change, sign=True)
        parts.append(svg.box(x, top, width, max(1.0, bottom - top), style, f"{name} {amount} USD", 2))
        parts.append(svg.text(x + width / 2, (top if end >= 0 else bottom + 17) - 6, amount, "amount", "middle"))
        parts.append(svg.text(x + width / 2, frame.height - 8, name, "tick", "middle"))
        if place + 1 < len(steps):
            parts.append(svg.rule(x + width, frame.y(end), frame.x(place + 1.16), frame.y(end), "link"))
    return svg.picture(frame, parts, "From price moves to net")
