"""The folder of session recordings: begun, found, listed, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from msgspec.msgpack import Decoder

from perp_bot.config.load import load_config, resolved
from perp_bot.config.model import Config
from perp_bot.core.clock import wall_ms
from perp_bot.core.errors import StoreError, UsageError
from perp_bot.data.recorder import Recorder, folder_bytes
from perp_bot.data.session_format import (
    BOOKS,
    SEGMENT_SUFFIX,
    TIMES,
    WHOLE,
    BooksOfPass,
    Ending,
    Opening,
    Pass,
    TimeOfPass,
    read_blocks,
)
from perp_bot.version import VERSION

E = TypeVar("E")

ABOUT = "about.json"
CONFIG = "config.yaml"
START_DB = "start.db"
TRADING, MARKET = "trading", "market"  # kinds: a daemon's session, or the market alone (`perpbot data record`)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded session on disk."""

    folder: Path
    kind: str
    version: str
    started_wall_ms: int
    venue: str
    symbols: tuple[str, ...]
    boot_id: str

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.folder.name

    @property
    def start_db(self) -> Path:
        """The journal's rows at the start."""
        return self.folder / START_DB

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return folder_bytes(self.folder)

    def config(self, db_path: Path) -> Config:
        """Return the settings that the session ran with, on another database."""
        config = load_config(self.folder / CONFIG, env={})
        return replace(config, data=replace(config.data, db_path=db_path))


def begin(root: Path, config: Config, *, kind: str, venue: str, boot_id: str) -> tuple[Recording, Recorder]:
    """Make the folder of a new session under `root` and return it with its recorder, not started.

    Raises:
        OSError: the folder cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    others = tuple(item.folder for item in recordings(root))
    folder = _new_folder(root)
    started = wall_ms()
    about = {
        "kind": kind,
        "version": VERSION,
        "started_wall_ms": started,
        "venue": venue,
        "symbols": list(config.trading.symbols),
        "boot_id": boot_id,
    }
    settings = {key: value for key, value in resolved(config).items() if key not in ("source", "secrets")}
    (folder / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    recorder = Recorder(folder, limit_bytes=config.data.recording_mb << 20, others=others)
    return Recording(folder, kind, VERSION, started, venue, config.trading.symbols, boot_id), recorder


def _new_folder(root: Path) -> Path:
    stamp = datetime.fromtimestamp(wall_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 1000):
        folder = root / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise OSError(0, f"{root} holds a thousand sessions of this second")


def recordings(root: Path) -> list[Recording]:
    """Return the sessions under `root`, oldest first; folders that are none are passed over."""
    found = []
    for folder in sorted(root.glob("*")) if root.is_dir() else ():
        try:
            found.append(open_recording(folder))
        except StoreError:
            continue
    return sorted(found, key=lambda item: (item.started_wall_ms, item.name))


def open_recording(folder: Path) -> Recording:
    """Return the session in a folder.

    Raises:
        StoreError: it holds none.
    """
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return Recording(
            folder,
            str(about["kind"]),
            str(about["version"]),
            int(about["started_wall_ms"]),
            str(about["venue"]),
            tuple(about["symbols"]),
            str(about["boot_id"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder} holds no session recording ({error})") from error


def find(root: Path, session: str, kind: str | None = None) -> Recording:
    """Return the session named by its name, by a path, or as `last` (of a kind, when given).

    Raises:
        UsageError: there is none.
    """
    known = recordings(root)
    of_kind = [item for item in known if kind in (None, item.kind)]
    if session == "last" and of_kind:
        return of_kind[-1]
    for item in known:
        if item.name == session:
            return item
    if (Path(session) / ABOUT).exists():
        return open_recording(Path(session))
    names = ", ".join(item.name for item in known[-5:]) or f"none under {root}"
    raise UsageError(f"no recorded session {session!r}; recorded: {names}")


class SessionReader:
    """The entries of a recording in order; `note` says afterwards how it ended."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.ending: Ending | None = None
        self.passes = 0

    @property
    def is_whole(self) -> bool:
        """Whether the recording reaches to the session's orderly end."""
        return self.ending is not None

    def opening(self) -> Opening:
        """Return the first entry.

        Raises:
            StoreError: the session ended before its loop began, or the files are damaged.
        """
        for entry in self._entries():
            if isinstance(entry, Opening):
                return entry
            break
        raise StoreError(f"{self._recording.folder}: the recording holds no beginning: nothing was decided in it")

    def each_pass(self) -> Iterator[Pass]:
        """Yield the passes up to the last whole block."""
        for entry in self._entries():
            if isinstance(entry, Pass):
                self.passes += 1
                yield entry
            elif isinstance(entry, Ending):
                self.ending = entry

    def each_books(self) -> Iterator[BooksOfPass]:
        """Yield the time and the books alone of the passes up to the last whole block."""
        return (entry for entry in self._read(BOOKS) if isinstance(entry, BooksOfPass))

    def last_ms(self) -> int:
        """Return the time of the last pass; 0 without one. Reads the last segment that has one alone."""
        for path in reversed(self._segments()):
            blocks = (block for block in read_blocks(path, TIMES) if block)
            times = [entry.now_ms for block in blocks for entry in block if isinstance(entry, TimeOfPass)]
            if times:
                return times[-1]
        return 0

    def _segments(self) -> list[Path]:
        return sorted(self._recording.folder.glob(f"*{SEGMENT_SUFFIX}"))

    def _entries(self) -> Iterator[Opening | Pass | Ending]:
        return self._read(WHOLE)

    def _read(self, decoder: Decoder[list[E]]) -> Iterator[E]:
        for path in self._segments():
            try:
                for block in read_blocks(path, decoder):
                    if block is None:
                        return
                    yield from block
            except OSError as error:
                raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
