"""A copy of what a trading session begins with: books and state whole, the newest decisions and events."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from perp_bot.data.db.connection import open_writable, translate

WHOLE = ("orders", "fills", "funding_payments", "trades", "positions", "bot_state")
RECENT = {"decisions": 2_048, "events": 1}  # the newest row also keeps the numbering going


def copy_journal(db: Path, target: Path) -> None:
    """Write the journal of `db`, as of one moment, into the new database `target`.

    Raises:
        StoreError: either cannot be used.
    """
    connection = open_writable(target)
    try:
        connection.execute("ATTACH DATABASE ? AS source", (str(db),))
        connection.execute("BEGIN")
        for table in WHOLE:
            connection.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")
        for table, most in RECENT.items():
            rows = f"SELECT * FROM source.{table} ORDER BY seq DESC LIMIT {most}"
            connection.execute(f"INSERT INTO main.{table} SELECT * FROM ({rows}) ORDER BY seq")
        connection.execute("COMMIT")
        connection.execute("DETACH DATABASE source")
    except sqlite3.Error as error:
        raise translate(error, target) from error
    finally:
        connection.close()
