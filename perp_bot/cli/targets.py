"""Files that a command is to write: what cannot be written is said before the work, not after it."""

from __future__ import annotations

from pathlib import Path

from perp_bot.core.errors import UsageError


def refuse_unwritable(option: str, path: Path | None) -> None:
    """Raise UsageError when no file can be written at `path`; nothing is left there."""
    if path is None:
        return
    try:
        is_new = not path.exists()
        if is_new or path.is_file():  # a pipe or a device is not opened for a look
            path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror}; nothing was run") from None
