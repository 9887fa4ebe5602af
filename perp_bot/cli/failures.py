"""What an unexpected failure leaves behind: one line for people, the whole story in a log file, no secret in either."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perp_bot.cli.invocation import Invocation


def report_unexpected(error: BaseException, invocation: Invocation) -> str:
    """Log the traceback and return the line to show; with PERPBOT_DEBUG=1 the traceback goes to stderr as well."""
    detail = _without_secrets("".join(traceback.format_exception(error)), invocation)
    if os.environ.get("PERPBOT_DEBUG") == "1":
        print(detail, file=sys.stderr)
    what = _without_secrets(f"{type(error).__name__}: {error}", invocation)
    line = " ".join(what.split())[:300]
    path = _append(detail, invocation)
    where = f"full detail in {path}" if path is not None else "run again with PERPBOT_DEBUG=1 for the detail"
    return f"unexpected error: {line}; {where}"


def _append(detail: str, invocation: Invocation) -> Path | None:
    """Append to a log of the command line's own: the daemon's log is rotated by the daemon alone."""
    from perp_bot.core.clock import wall_ms

    elsewhere = Path(tempfile.gettempdir())
    folder = invocation.config.data.db_path.parent if invocation.config is not None else elsewhere
    record = json.dumps({"ts": wall_ms(), "level": "ERROR", "logger": "perp_bot.cli", "msg": detail})
    for target in (folder, elsewhere):
        path = target / "perp-bot-cli.log"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(record + "\n")
        except OSError:
            continue
        return path
    return None


def _without_secrets(text: str, invocation: Invocation) -> str:
    from perp_bot.config.redact import SECRET_NAMES, redacted

    known = list(invocation.config.secrets.values()) if invocation.config is not None else []
    known += [os.environ[name] for name in SECRET_NAMES if os.environ.get(name)]
    for secret in known:
        text = text.replace(secret, "<hidden>")
    return redacted(text)
