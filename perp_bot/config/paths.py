"""The one place that knows where files stand: beside the database, or with the user where databases share something."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_MAX_SOCKET_PATH_BYTES = 100


@dataclass(frozen=True, slots=True)
class RuntimePaths:
    """Files beside the database."""

    db: Path

    @property
    def directory(self) -> Path:
        """The folder of the database."""
        return self.db.parent

    @property
    def socket(self) -> Path:
        """The daemon's socket; under XDG_RUNTIME_DIR when the plain path would exceed 100 bytes."""
        plain = self.directory / "perp-bot.sock"
        if len(os.fsencode(plain)) <= _MAX_SOCKET_PATH_BYTES:
            return plain
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/perpbot-{os.getuid()}")  # noqa: S108 - 0700, checked by the server
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return runtime / "perpbot" / f"{digest}.sock"

    @property
    def lock(self) -> Path:
        """The instance lock; holds the daemon's pid."""
        return self.db.with_name(self.db.name + ".lock")

    @property
    def kill_latch(self) -> Path:
        """The kill latch: while it exists, nothing adds exposure."""
        return self.directory / "KILL"

    @property
    def log(self) -> Path:
        """The rotating JSON log."""
        return self.directory / "perp-bot.log"

    @property
    def emergency_journal(self) -> Path:
        """Pre-allocated journal for protective actions when the database cannot be written."""
        return self.directory / "emergency.journal"

    @property
    def backups(self) -> Path:
        """Folder of the hourly backups."""
        return self.directory / "backups"

    @property
    def run_record(self) -> Path:
        """JSON about the last run: pid, start, end, exit code, reason."""
        return self.directory / "last_run.json"

    @property
    def runs(self) -> Path:
        """Folder of stored results of research."""
        return self.directory / "runs"

    @property
    def recordings(self) -> Path:
        """Folder of session recordings, one folder a session."""
        return self.directory / "recordings"

    @property
    def columns(self) -> Path:
        """Folder of the columnar snapshots of the candles: may be deleted at any time, is made again."""
        return self.db.with_name(self.db.name + ".columns")


def signers_folder(env: Mapping[str, str]) -> Path:
    """Return the folder of what belongs to a signing key, whichever database it trades for: its lock and its nonces."""
    state = env.get("XDG_STATE_HOME", "").strip() or str(Path.home() / ".local" / "state")
    return Path(state) / "perpbot" / "signers"
