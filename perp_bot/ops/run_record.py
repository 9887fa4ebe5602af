"""What is known about the last run of the daemon, in one small file beside the database.

Written at the start without an end, and again at the end; a record without an end whose process is gone means that
the daemon did not end by itself (killed, crashed, power cut).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from perp_bot.core.errors import StoreError
from perp_bot.ops.atomic_file import write_atomically


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run; times are wall epoch ms."""

    pid: int
    boot_id: str
    started_ms: int
    ended_ms: int | None = None  # None: running, or did not end by itself
    exit_code: int | None = None
    reason: str | None = None  # why it ended, for people: "SIGTERM", "HALTED ..."


def write_run_record(path: Path, record: RunRecord) -> None:
    """Replace the record atomically.

    Raises:
        StoreError: when the file cannot be written; the old record is then unchanged.
    """
    try:
        write_atomically(path, msgspec.json.encode(record).decode() + "\n")
    except OSError as error:
        raise StoreError(f"cannot write the run record {path}: {error.strerror}") from error


def read_run_record(path: Path) -> RunRecord | None:
    """Return the record, or None when no daemon ever ran here.

    Raises:
        StoreError: when the file cannot be read or is not a run record.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read the run record {path}: {error.strerror}") from error
    try:
        return msgspec.json.decode(text, type=RunRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is not a run record ({error}); it may be deleted") from error
