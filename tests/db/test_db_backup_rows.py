"""A backup counts whatever the tables hold: SQLite's own check must not take sound rows for damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from test_db_round_trips import ROUND_TRIPS

from perp_bot.data.db.backup import make_backup
from perp_bot.data.db.writer import Writer


def test_a_backup_of_rows_of_every_kind_is_sound(writer: Writer, db: Path, tmp_path: Path) -> None:
    """One row of each kind, funding that waits for its rate included, passes the copy's check (SQLite 3.40 did not)."""
    writer.commit(*(row for _, row, _, _ in ROUND_TRIPS), deadline_s=5)
    copy = make_backup(db, tmp_path / "backups")
    with sqlite3.connect(copy) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert opened.execute("SELECT count(*) FROM funding_payments").fetchone()[0] > 0
    opened.close()


def test_the_columns_of_a_key_come_first_and_in_its_order(writer: Writer, db: Path) -> None:
    """The rule that keeps the check right, for every table there is and will be."""
    opened = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        tables = opened.execute("SELECT name FROM sqlite_schema WHERE type='table' AND sql LIKE '%WITHOUT ROWID%'")
        for (table,) in tables.fetchall():
            key_positions = [row[5] for row in opened.execute(f"PRAGMA table_info({table})")]
            key = [position for position in key_positions if position]
            assert key_positions[: len(key)] == sorted(key), table
    finally:
        opened.close()
