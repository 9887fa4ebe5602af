"""A running writer on a fresh file, and ways to make the real file fail."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from db_waiting import Until

from perp_bot.core.clock import FixedClock
from perp_bot.core.errors import StoreError
from perp_bot.data.db.writer import Writer


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """The path of a database that does not exist yet."""
    return tmp_path / "perp_bot.db"


@pytest.fixture
def make_writer(db: Path) -> Iterator[Callable[..., Writer]]:
    """Start writers on `db`; those still running are stopped at the end."""
    started: list[Writer] = []

    def make(**options: object) -> Writer:
        settings: dict[str, object] = {"backups": None, "emergency": None, "clock": FixedClock(1_000)}
        writer = Writer(db, **(settings | options))  # type: ignore[arg-type]
        writer.start()
        started.append(writer)
        return writer

    yield make
    for writer in started:
        with suppress(StoreError):  # a test that leaves rows behind on purpose has looked at them already
            writer.stop(1.0)


@pytest.fixture
def writer(make_writer: Callable[..., Writer]) -> Writer:
    """A running writer."""
    return make_writer()


@pytest.fixture
def until() -> Until:
    """Wait for a condition that another thread makes true; fails after 5 s."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5.0
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            time.sleep(0.002)

    return wait


@pytest.fixture
def locked(db: Path) -> Callable[[], AbstractContextManager[None]]:
    """Hold the database as another program would."""

    @contextmanager
    def hold() -> Iterator[None]:
        other = sqlite3.connect(db, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    return hold


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file of this process grow beyond some bytes: the kernel refuses, as on a full disk."""

    @contextmanager
    def limit(most_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
