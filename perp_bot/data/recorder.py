"""Writes a session recording, on a thread of its own: whoever gives it entries never waits.

What cannot be written (a full or slow disk, the size limit reached) ends the recording, never the session: `lost` says
why, and what was written before stays readable up to its last whole block.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO

from perp_bot.data.session_format import MAGIC, SEGMENT_SUFFIX, Ending, Entry, block_of

LOG = logging.getLogger(__name__)

FLUSH_S = 0.5  # what a SIGKILL can cost
MAX_WAITING = 50_000  # entries; minutes of a busy market behind a disk that hangs
BLOCK_ENTRIES = 2_000
SEGMENT_BYTES = 32 * 1024 * 1024
FREE_BYTES = 256 * 1024 * 1024  # trading needs the last of a disk more than a recording does
_STOP_S = 5.0


class Recorder:
    """Append entries to the segments of one session folder."""

    def __init__(self, folder: Path, *, limit_bytes: int, others: tuple[Path, ...] = ()) -> None:
        """`limit_bytes` bounds this session and `others` (older ones, oldest first, deleted to make room)."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._others = deque((path, folder_bytes(path)) for path in others)
        self._own_bytes = folder_bytes(folder)
        self._waiting: deque[Entry] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._segment: BinaryIO | None = None
        self._segment_bytes = 0
        self._segments = 0
        self.lost: str | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Take an entry; never blocks. Once an entry was lost none is taken any more."""
        if self.lost is not None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self.lost = f"the disk of {self._folder} is too slow: {len(self._waiting):,} passes wait to be written"
            return
        self._waiting.append(entry)

    def stop(self, ending: Ending | None) -> None:
        """Write what waits, then `ending`, and end the thread."""
        if self._thread is None:
            return
        if ending is not None:
            self.put(ending)
        self._stopping = True
        self._wake.set()
        self._thread.join(_STOP_S)
        self._thread = None

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.wait(FLUSH_S)
                self._write()
            self._write()
        except OSError as error:
            self.lost = self.lost or f"{self._folder} cannot be written: {error.strerror or error}"
        except Exception as error:
            LOG.exception("the recorder failed")
            self.lost = self.lost or f"the recorder failed: {error!r}"
        finally:
            self._waiting.clear()
            if self._segment is not None:
                self._segment.close()

    def _write(self) -> None:
        while self._waiting and not self._is_full():
            entries = [self._waiting.popleft() for _ in range(min(len(self._waiting), BLOCK_ENTRIES))]
            block = block_of(entries)
            segment = self._open_segment()
            segment.write(block)
            segment.flush()
            self._segment_bytes += len(block)
            self._own_bytes += len(block)
            self._make_room()

    def _is_full(self) -> bool:
        return self.lost is not None and self._own_bytes > self._limit_bytes

    def _open_segment(self) -> BinaryIO:
        if self._segment is not None and self._segment_bytes < SEGMENT_BYTES:
            return self._segment
        if self._segment is not None:
            self._segment.close()
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < FREE_BYTES:
            raise OSError(0, f"{free_bytes >> 20} MiB are free, a recording leaves {FREE_BYTES >> 20}")
        self._segments += 1
        self._segment = (self._folder / f"{self._segments:06d}{SEGMENT_SUFFIX}").open("xb")
        self._segment.write(MAGIC)
        self._segment_bytes = len(MAGIC)
        return self._segment

    def _make_room(self) -> None:
        while self._others and self._own_bytes + sum(size for _, size in self._others) > self._limit_bytes:
            path, _ = self._others.popleft()
            shutil.rmtree(path, ignore_errors=True)
        if self._own_bytes > self._limit_bytes:
            self.lost = f"this session alone has reached data.recording_mb ({self._limit_bytes >> 20} MiB)"


def folder_bytes(folder: Path) -> int:
    """Return the size of the files in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) if folder.is_dir() else 0
