"""A log line for people: JSON becomes time, level, logger, message and fields; anything else is shown as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from perp_bot.tui.formats import clock
from perp_bot.tui.sources.log_files import LogLine
from perp_bot.tui.spans import Row, row

_STYLES = {
    "DEBUG": "muted",
    "INFO": "accent",
    "WARNING": "warn",
    "WARN": "warn",
    "ERROR": "bad",
    "CRITICAL": "danger",
}
_KNOWN = ("ts", "level", "logger", "msg")


def render(line: LogLine, *, utc: bool = True) -> Row:
    """Return the line as a row keyed by its number."""
    key = str(line.number)
    text = line.raw.decode("utf-8", "replace")
    if line.is_marker:
        return row(key, (f" --- {text} ---", "warn"))
    tail = f" [+{line.cut_bytes:,} bytes cut]" if line.cut_bytes else ""
    found = _record(line.raw) if not line.cut_bytes else None
    if found is None:
        return row(key, (" ", ""), (text, "text"), (tail, "warn"))
    level = str(found.get("level", "")).upper()
    extras = " ".join(f"{name}={_value(value)}" for name, value in found.items() if name not in _KNOWN)
    style = _STYLES.get(level, "text")
    return row(
        key,
        (f" {_time(found.get('ts'), utc=utc)} ", "muted"),
        (f"{level[:8]:<8} ", style),
        (f"{found.get('logger', '')}  ", "muted"),
        (str(found.get("msg", "")), style if level in ("ERROR", "CRITICAL", "WARNING") else "text"),
        (f"  {extras}" if extras else "", "muted"),
    )


def _record(raw: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) and "msg" in found else None


def _time(ts: object, *, utc: bool) -> str:
    """Return HH:MM:SS.mmm of an ISO text or of epoch ms or seconds."""
    if isinstance(ts, str):
        start = ts.find("T")
        return ts[start + 1 : start + 13].rstrip("Z") if start > 0 else ts[:23]
    if isinstance(ts, (int, float)) and not isinstance(ts, bool):
        ms = int(ts if ts > 1e11 else ts * 1000)
        return f"{clock(ms, utc=utc)}.{ms % 1000:03d}"
    return "--:--:--"


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode("utf-8", "replace")
