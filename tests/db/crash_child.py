"""A process to be killed: writes numbered rows and says which of its commits returned.

Arguments: database, rows, commit every k-th row. Prints the number of each commit that returned, one a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from perp_bot.core.clock import FixedClock
from perp_bot.data.db.rows import EventRow, StateRow
from perp_bot.data.db.writer import Writer


def main() -> None:
    path, rows, every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    writer = Writer(path, backups=None, emergency=None, clock=FixedClock(0))
    writer.start()
    print("started", flush=True)
    for number in range(rows):
        pair = (EventRow(number, number, "T", None, str(number)), StateRow("newest", number, number))
        if number % every == every - 1:
            writer.commit(*pair, deadline_s=10)
            print(number, flush=True)
        else:
            writer.put(*pair)
    writer.stop(10)
    print("stopped", flush=True)


main()
