"""I11: the books against their other formula, against the account and against the database."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from desk_rig import HOUR, QUARTER, START, DeskRig

from perp_bot.core.events import FundingSettled
from perp_bot.core.types import Enter, Exit, FundingRate, Side
from perp_bot.data.db.ledger import LedgerReader
from perp_bot.trading import auditor as auditor_module
from perp_bot.trading.auditor import Auditor

CLOSE = START + QUARTER


def lived(rig: DeskRig) -> Auditor:
    """Open, pay funding, close, open again; return an auditor that has heard it all."""
    rig.enter("BTC")
    rig.step(START + HOUR)
    rig.handle(events=[FundingSettled(FundingRate("BTC", START + HOUR, 0.0001, None))])
    rig.decide(START + HOUR + QUARTER, Exit("BTC", "told to leave"))
    rig.enter("ETH", Side.SHORT)
    rig.flush()
    auditor = Auditor(rig.db, rig.desk.account.start_cash)
    for (fills, payments), cash in rig.cash.items():
        auditor.note(fills, payments, cash)
    return auditor


def test_the_account_equals_its_rows_to_the_last_digit(rig: DeskRig) -> None:
    """Fills and funding in the database sum to the cash of the loop."""
    auditor = lived(rig)
    with LedgerReader(rig.db) as reader:
        assert auditor.check(reader) == 0
        assert auditor.check(reader) == 0
    assert auditor.checks == 2
    assert auditor.age_s is not None


def test_books_that_the_database_has_not_reached_yet_are_not_compared(rig: DeskRig) -> None:
    """Other counts, no verdict."""
    auditor = Auditor(rig.db, rig.desk.account.start_cash)
    auditor.note(99, 0, Decimal(1))
    with LedgerReader(rig.db) as reader:
        assert auditor.check(reader) is None
    assert (auditor.age_s, auditor.gap_usd) == (None, 0)


@pytest.mark.parametrize(
    "sql", ["UPDATE fills SET px = '90000' WHERE seq = 1", "UPDATE funding_payments SET usd = '5'"]
)
def test_a_row_that_was_changed_behind_our_back_is_found_and_stops_entries(
    rig: DeskRig, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a fill that was read before: from time to time everything is read again."""
    auditor = lived(rig)
    monkeypatch.setattr(auditor_module, "FROM_THE_START_EVERY", 2)
    with LedgerReader(rig.db) as reader:
        assert auditor.check(reader) == 0
        with sqlite3.connect(rig.db) as connection:
            connection.execute(sql)
        gap = auditor.check(reader)
    assert gap is not None
    assert gap > 4
    rig.books.take_audit(auditor.gap_usd, rig.now_ms)
    assert rig.desk.accounting_error_max_usd == gap
    assert "what its rows in the database sum to" in rig.told("HALTED")[0]
    assert "HALTED" in rig.alerts
    rig.decide(rig.now_ms // QUARTER * QUARTER + QUARTER, Enter("BTC", Side.LONG, "told to"))
    assert rig.actions()[-1] == ("BTC", "blocked", "accounting")


def test_the_auditor_survives_a_database_that_cannot_be_read_for_a_while(
    rig: DeskRig, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once, goes on, and its age tells meanwhile."""
    monkeypatch.setattr(auditor_module, "EVERY_S", 0.005)
    path = tmp_path / "later.db"
    auditor = Auditor(path, rig.desk.account.start_cash)
    auditor.note(0, 0, rig.desk.account.start_cash)
    auditor.start()
    deadline = time.monotonic() + 5
    while "cannot be checked" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.002)
    rig.flush()
    with sqlite3.connect(rig.db) as source, sqlite3.connect(path) as copy:
        source.backup(copy)
    while auditor.checks == 0 and time.monotonic() < deadline:
        time.sleep(0.002)
    auditor.stop()
    assert auditor.checks > 0
    assert caplog.text.count("cannot be checked") == 1


def test_a_failure_of_the_program_does_not_end_the_auditor(rig: DeskRig, caplog: pytest.LogCaptureFixture) -> None:
    """Logged with its traceback, checked again later."""
    auditor = Auditor(rig.db, Decimal(0))

    class Broken(LedgerReader):
        def ledger_sums(self, source: str) -> object:  # type: ignore[override]
            raise ZeroDivisionError("a fault")

    with Broken(rig.db) as reader:
        auditor._look(reader)
    assert "the auditor failed and goes on" in caplog.text


def test_only_the_newest_notes_are_kept(rig: DeskRig) -> None:
    """Years of fills do not grow the memory."""
    auditor = Auditor(rig.db, Decimal(0))
    for number in range(2_000):
        auditor.note(number, 0, Decimal(number))
    assert len(auditor._noted) == 512


def test_a_gap_between_the_two_formulas_halts_entries_once(rig: DeskRig) -> None:
    """A cent apart: told once, kept as the largest of the run."""
    rig.desk.account._fees += Decimal("0.02")
    rig.handle()
    rig.handle()
    assert rig.desk.accounting_error_max_usd == Decimal("0.02")
    assert len(rig.told("HALTED")) == 1
    assert [reason.rule for reason in rig.desk.degraded()] == ["accounting"]


def test_a_gap_below_a_cent_is_shown_and_halts_nothing(rig: DeskRig) -> None:
    """Rounding is not an error, but it is not hidden either."""
    rig.desk.account._fees += Decimal("0.000001")
    rig.handle()
    assert rig.desk.accounting_error_usd == Decimal("0.000001")
    assert rig.desk.degraded() == ()


def test_books_that_differ_from_the_account_in_size_halt_entries(rig: DeskRig) -> None:
    """Truth about a position is the account's state; the difference is named with both sizes."""
    rig.enter("BTC")
    held = rig.desk.executor._positions["BTC"]
    rig.desk.executor._positions["BTC"] = replace(held, size=held.size * 2)
    rig.handle()
    (text,) = rig.told("HALTED")
    assert text == f"the books hold {held.size} BTC, the account {held.size * 2}"
    assert rig.desk.accounting_trouble == text
