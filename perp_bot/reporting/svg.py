"""The few strokes that our charts are drawn with: scales, axes, lines, areas. Colours come from the page's classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.timeframes import DAY_MS, HOUR_MS
from perp_bot.reporting.words import on_page

Column = NDArray[np.float64]

WIDTH = 1080.0
_TIME_STEPS = tuple(HOUR_MS * hours for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 504))
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
_MOST_TICKS = 9
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot area inside its picture, with the values at its edges."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: float = WIDTH
    height: float = 300.0
    left: float = 64.0
    right: float = 16.0
    top: float = 14.0
    bottom: float = 26.0

    def x(self, value: float) -> float:
        """Return the place of a value from the left."""
        span = (self.x_high - self.x_low) or 1.0
        return self.left + (value - self.x_low) / span * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Return the place of a value from the top."""
        span = (self.y_high - self.y_low) or 1.0
        return self.height - self.bottom - (value - self.y_low) / span * (self.height - self.top - self.bottom)

    @property
    def floor(self) -> float:
        """The lower edge of the plot area."""
        return self.height - self.bottom


def picture(frame: Frame, parts: Iterable[str], label: str) -> str:
    """Return a whole picture; `label` says what it shows."""
    size = f"0 0 {frame.width:.0f} {frame.height:.0f}"
    return f'<svg viewBox="{size}" role="img" aria-label="{on_page(label)}">{"".join(parts)}</svg>'


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """Return one line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{on_page(words)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def box(x: float, y: float, width: float, height: float, style: str, title: str = "", radius: float = 0) -> str:
    """Return a rectangle; `title` is shown when the pointer rests on it."""
    inner = f"<title>{on_page(title)}</title>" if title else ""
    rounded = f' rx="{radius:.1f}"' if radius else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"{rounded} '
        f'class="{style}">{inner}</rect>'
    )


def shape(points: str, style: str, title: str = "") -> str:
    """Return a filled or stroked path from its commands."""
    inner = f"<title>{on_page(title)}</title>" if title else ""
    return f'<path d="{points}" class="{style}">{inner}</path>'


def commands(xs: Sequence[float] | Column, ys: Sequence[float] | Column, breaks: Sequence[int] | None = None) -> str:
    """Return the path through points; before the places in `breaks` the pen is lifted."""
    lifted = set(breaks or ()) | {0}
    return "".join(
        f"{'M' if place in lifted else 'L'}{x:.1f},{y:.1f}" for place, (x, y) in enumerate(zip(xs, ys, strict=True))
    )


def area(xs: Column, upper: Column, lower: Column) -> str:
    """Return the closed path between two curves."""
    return commands(xs, upper) + commands(xs[::-1], lower[::-1]).replace("M", "L", 1) + "Z"


# ------------------------------------------------------------ axes


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round values within [low, high], 1, 2, 2.5 or 5 times a power of ten apart."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """Return a range with some air; a flat one gets some height."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1.0):
        width = max(abs(high) * 0.01, 1e-9)
        return low - width, high + width
    return low - (high - low) * share, high + (high - low) * share


def y_axis(
    frame: Frame, form: Callable[[float], str] | None = None, *, most: int = 5, whole: bool = False
) -> list[str]:
    """Return grid lines with their values on the left; `whole`: only whole numbers."""
    ticks = nice_ticks(frame.y_low, frame.y_high, most)
    if whole:
        ticks = [value for value in ticks if abs(value - round(value)) < 1e-9]
    write = form or _writer(ticks)
    parts = []
    for value in ticks:
        y = frame.y(value)
        parts.append(rule(frame.left, y, frame.width - frame.right, y, "grid"))
        parts.append(text(frame.left - 8, y + 3.5, write(value), "tick", "end"))
    return parts


def x_axis(frame: Frame, most: int = 8) -> list[str]:
    """Return round values below the plot."""
    ticks = nice_ticks(frame.x_low, frame.x_high, most)
    write = _writer(ticks)
    return [text(frame.x(value), frame.height - 8, write(value), "tick", "middle") for value in ticks]


def _writer(ticks: Sequence[float]) -> Callable[[float], str]:
    """Return how to write ticks: with the decimals that tell them apart, and no more."""
    for digits in range(9):
        if all(abs(value - round(value, digits)) <= 1e-9 * max(1.0, abs(value)) for value in ticks):
            break

    def write(value: float) -> str:
        return f"{0.0 if abs(value) < 1e-12 else value:,.{digits}f}"

    return write


def time_axis(frame: Frame) -> list[str]:
    """Return dates below the plot; x is epoch ms."""
    parts = []
    for at_ms, words in time_ticks(int(frame.x_low), int(frame.x_high)):
        x = frame.x(at_ms)
        parts.append(rule(x, frame.top, x, frame.floor, "grid faint"))
        anchor = "start" if x < frame.left + 20 else "end" if x > frame.width - frame.right - 20 else "middle"
        parts.append(text(x, frame.height - 8, words, "tick", anchor))
    return parts


def time_ticks(low_ms: int, high_ms: int) -> list[tuple[int, str]]:
    """Return round moments within the range, with their words."""
    span = high_ms - low_ms
    for step in _TIME_STEPS:
        if span / step <= _MOST_TICKS:
            ticks = range(-(-low_ms // step) * step, high_ms + 1, step)
            return [(at_ms, _moment(at_ms, step)) for at_ms in ticks]
    for months in _MONTH_STEPS:
        found = _month_ticks(low_ms, high_ms, months)
        if len(found) <= _MOST_TICKS:
            return found
    return found


def _month_ticks(low_ms: int, high_ms: int, months: int) -> list[tuple[int, str]]:
    first = datetime.fromtimestamp(low_ms / 1000, UTC)
    place = first.year * 12 + first.month - 1
    place += -place % months
    found: list[tuple[int, str]] = []
    while True:
        year, month = divmod(place, 12)
        at_ms = int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp() * 1000)
        if at_ms > high_ms:
            return found
        if at_ms >= low_ms:
            found.append((at_ms, str(year) if months >= 12 else f"{_MONTHS[month]} {year}"))
        place += months


def _moment(at_ms: int, step_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    if step_ms >= DAY_MS or at_ms % DAY_MS == 0:
        return f"{moment.day} {_MONTHS[moment.month - 1]}"
    return moment.strftime("%H:%M")
