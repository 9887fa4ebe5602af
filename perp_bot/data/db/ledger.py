"""What fills and funding of one source add up to in the database, kept up to date by reading only what is new."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path

from perp_bot.core.types import OrderSide
from perp_bot.data.db.reader import Reader

_EXACT_DIGITS = 100  # sums of products of prices and sizes never round at this precision


@dataclass(frozen=True, slots=True)
class LedgerSums:
    """Counts and the change of cash since the account began, USD."""

    fills: int
    payments: int
    cash_change_usd: Decimal


class LedgerReader(Reader):
    """Reads sums; fills are never changed once written, so each is read once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._seq = 0
        self._fills = 0
        self._fill_cash = Decimal(0)

    def forget(self) -> None:
        """Read every fill again at the next question: a row that was changed behind our back shows then."""
        self._seq = self._fills = 0
        self._fill_cash = Decimal(0)

    def ledger_sums(self, source: str) -> LedgerSums:
        """Return the sums of everything committed so far, fills and payments of one moment."""
        self._rows("BEGIN")  # one read transaction: a payment must not slip in between the two reads
        try:
            with localcontext(prec=_EXACT_DIGITS):
                return self._sums(source)
        finally:
            self._rows("COMMIT")

    def _sums(self, source: str) -> LedgerSums:
        for seq, side, px, size, fee in self._rows(
            "SELECT seq, side, px, size, fee_usd FROM fills WHERE source=? AND seq>? ORDER BY seq", (source, self._seq)
        ):
            self._seq = seq
            self._fills += 1
            self._fill_cash -= OrderSide(side).sign * Decimal(size) * Decimal(px) + Decimal(fee)
        paid = self._rows("SELECT usd FROM funding_payments WHERE source=? AND usd IS NOT NULL", (source,))
        return LedgerSums(self._fills, len(paid), self._fill_cash + sum((Decimal(usd) for (usd,) in paid), Decimal(0)))
