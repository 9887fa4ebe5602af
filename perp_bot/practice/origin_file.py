"""Remembers where in time a practice market at speed 1 lies, so that it goes on after a restart in a later hour."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from perp_bot.core.timeframes import HOUR_MS, iso
from perp_bot.practice.market.hours import RECORDED_START_MS


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a start finds: the origin to go on with, or why the market is a new one."""

    origin_ms: int | None  # venue time of the recording's first hour; None: a new market
    note: str  # for the ready line


def recall(path: Path, *, seed: int, start: str | None, now_ms: int) -> Remembered:
    """Return the market to continue: the one in the file, unless `--start` or another seed asks for a new one."""
    if start is not None:
        return Remembered(None, "new market (--start given)")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known_seed, origin_ms, began_ms = (int(found[key]) for key in ("seed", "origin_ms", "began_ms"))
    except FileNotFoundError:
        return Remembered(None, "new market")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Remembered(None, f"new market ({path} cannot be read: {type(error).__name__})")
    if known_seed != seed:
        return Remembered(None, f"new market (the one before had seed {known_seed})")
    if (origin_ms - RECORDED_START_MS) % HOUR_MS or origin_ms + HOUR_MS > now_ms or began_ms > now_ms:
        return Remembered(None, f"new market ({path} names a time that cannot be: {iso(origin_ms)})")
    return Remembered(origin_ms, f"continues the market of {iso(began_ms)}")


def remember(path: Path, *, seed: int, origin_ms: int, began_ms: int) -> str | None:
    """Write the file; return why it could not be written, for the ready line."""
    text = json.dumps({"seed": seed, "origin_ms": origin_ms, "began_ms": began_ms})
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        return f"{path} cannot be written ({error.strerror or error}): a restart in another hour begins a new market"
    return None
