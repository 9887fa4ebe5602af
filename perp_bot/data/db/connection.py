"""Open the database file: set up, checked, and every failure said in one line.

The file itself is never opened by anything but SQLite: closing another descriptor of it would drop SQLite's locks.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from perp_bot.core.errors import SchemaNewer, StoreBusy, StoreError, StoreFull
from perp_bot.data.db.schema import MIGRATIONS, SCHEMA_VERSION

WRITER_BUSY_MS = 250  # a short lock is waited out; a longer one is a failure that the writer reports and retries
READER_BUSY_MS = 250
_WAL_PAGES = 1000  # about 4 MB: then the log is folded back into the database
_WAL_LEFTOVER_BYTES = 16 * 1024 * 1024  # the log file is cut back to this after a long reader made it grow

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NO_SHARED_MEMORY = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the store error that says what `error` means for `path`."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in _BUSY:
        return StoreBusy(f"{path} is locked by another process; close what holds it (a sqlite3 shell, a copy tool)")
    if primary in _FULL:
        return StoreFull(f"{path} cannot be written ({error}): free disk space or make its folder writable")
    if primary == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not a SQLite database; move it away or set data.db_path to another file")
    if primary == sqlite3.SQLITE_CORRUPT:
        return StoreError(
            f"{path} is damaged ({error}); stop perpbot and restore the newest file of its backups folder"
        )
    if primary == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"{path} cannot be opened; its folder must exist and be writable")
    return StoreError(f"{path}: {error}")


def open_writable(path: Path) -> sqlite3.Connection:
    """Open (create, migrate) the database for its one writer.

    Raises:
        StoreError: one line: missing folder, not a database, damaged, made by another program.
        StoreBusy: when another process holds it.
        StoreFull: when nothing can be written.
        SchemaNewer: when a newer perpbot wrote it.
    """
    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} of the database does not exist; create it or set data.db_path")
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a database; set data.db_path to a file")
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=WRITER_BUSY_MS / 1000)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        _set_up(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    except StoreError:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    version = _user_version(connection)
    _refuse_newer(version, path)
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if version == 0 and tables:
        raise StoreError(f"{path} is a SQLite database of another program; set data.db_path to another file")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit={_WAL_LEFTOVER_BYTES}")
    # Takes the write lock once: a second writer or a read-only file is found at the start, not at the first order.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    for step in range(version + 1, SCHEMA_VERSION + 1):
        _migrate(connection, step)


def _migrate(connection: sqlite3.Connection, step: int) -> None:
    # One transaction, version included: a crash in between leaves the old schema whole.
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{MIGRATIONS[step]}\nPRAGMA user_version={step};\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_readonly(path: Path, *, leaves_nothing: bool = False) -> sqlite3.Connection:
    """Open the database for looking only; usable by the calling thread alone.

    Args:
        path: the file.
        leaves_nothing: a file that nobody has open is read as it stands, for one short look: otherwise SQLite leaves
            two files of this user's beside it, and the daemon's user may be another.

    Raises:
        StoreError: one line: no database there, not a database, not yet set up.
        SchemaNewer: when a newer perpbot wrote it.
    """
    if not path.is_file():
        raise StoreError(f"no database at {path}; `perpbot trade --paper` or `perpbot backfill` creates it")
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        return _opened_readonly(uri + ("&immutable=1" if leaves_nothing and not _has_log(path) else ""), path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NO_SHARED_MEMORY or _has_log(path):
            raise translate(error, path) from error
    # A folder that we may not write, and no log beside the file: nobody has it open, and SQLite cannot make the files
    # by which it would notice. Then the file stands still, and is read as such.
    try:
        return _opened_readonly(uri + "&immutable=1", path)
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _opened_readonly(uri: str, path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=READER_BUSY_MS / 1000)
    try:
        connection.execute("PRAGMA query_only=ON")
        version = _user_version(connection)
        _refuse_newer(version, path)
        if version < SCHEMA_VERSION:
            raise StoreError(f"{path} has schema {version}, this perpbot reads {SCHEMA_VERSION}; start the daemon once")
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


def _has_log(path: Path) -> bool:
    return path.with_name(path.name + "-wal").exists()


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(version: int, path: Path) -> None:
    if version > SCHEMA_VERSION:
        raise SchemaNewer(
            f"{path} was written by a newer perpbot (schema {version}, this one knows {SCHEMA_VERSION}); "
            "upgrade perpbot or set data.db_path to another file"
        )
