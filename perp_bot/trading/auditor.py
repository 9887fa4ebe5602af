"""I11 against the database: the account must equal what its rows sum to, checked beside the loop, never by it.

The loop notes (number of fills, number of payments) -> cash after every change. The auditor's thread reads counts and
sums in one transaction and compares where it finds the same counts.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import PerpBotError
from perp_bot.data.db.ledger import LedgerReader

LOG = logging.getLogger(__name__)

EVERY_S = 1.0
FROM_THE_START_EVERY = 60  # checks; the others read only what is new
_KEPT = 512


class Auditor:
    """Compares the loop's cash with the store's, about once a second."""

    def __init__(self, db_path: Path, start_cash: Decimal, source: str = "paper") -> None:
        """`source`: whose rows are summed."""
        self._source = source
        self._db_path = db_path
        self._start_cash = start_cash
        self._lock = threading.Lock()
        self._noted: OrderedDict[tuple[int, int], Decimal] = OrderedDict()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.gap_usd = Decimal(0)  # newest measured
        self.gap_max_usd = Decimal(0)
        self.checks = 0
        self._looks = 0
        self._has_failed = False
        self._checked_s: float | None = None

    @property
    def age_s(self) -> float | None:
        """Seconds since books and database were last found comparable; None before the first time."""
        return None if self._checked_s is None else monotonic_s() - self._checked_s

    def note(self, fills: int, payments: int, cash: Decimal) -> None:
        """Take the loop's cash after its n-th fill and payment."""
        with self._lock:
            self._noted[(fills, payments)] = cash
            while len(self._noted) > _KEPT:
                self._noted.popitem(last=False)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="auditor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after a last check."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        with LedgerReader(self._db_path) as reader:
            while not self._stop.wait(EVERY_S):
                self._look(reader)
            self._look(reader)

    def _look(self, reader: LedgerReader) -> None:
        """Check once; a database that cannot be read now is asked again later, and the age of the check tells."""
        try:
            self.check(reader)
            self._has_failed = False
        except PerpBotError as error:
            if not self._has_failed:
                LOG.error("the books cannot be checked against the database: %s", error)
            self._has_failed = True
            reader.close()
        except Exception:
            LOG.exception("the auditor failed and goes on")

    def check(self, reader: LedgerReader) -> Decimal | None:
        """Return the gap at the newest counts both sides know; None when they have none in common yet."""
        self._looks += 1
        if self._looks % FROM_THE_START_EVERY == 0:
            reader.forget()
        sums = reader.ledger_sums(self._source)
        with self._lock:
            cash = self._noted.get((sums.fills, sums.payments))
        if cash is None:
            return None
        self.gap_usd = abs(cash - (self._start_cash + sums.cash_change_usd))
        self.gap_max_usd = max(self.gap_max_usd, self.gap_usd)
        self.checks += 1
        self._checked_s = monotonic_s()
        return self.gap_usd
