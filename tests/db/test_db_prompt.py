"""A decision is on disk when its moment is over: the writer does not gather more rows before it writes one."""

from __future__ import annotations

import pytest
from db_waiting import Until
from store_samples import DECISION

from perp_bot.data.db import writer as writer_module
from perp_bot.data.db.rows import DecisionRow, StateRow
from perp_bot.data.db.writer import Writer


def test_a_decision_ends_the_gathering_and_takes_the_rows_before_it_along(
    writer: Writer, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other rows wait for company (here: without end); a decision is written at once, what was put before it too."""
    monkeypatch.setattr(writer_module, "_LINGER_S", 1_000.0)
    writer.put(StateRow("handled_ms", 1, 1))
    assert writer.health().pending == 1
    writer.put(DecisionRow(DECISION, 1))
    until(lambda: writer.health().pending == 0)
    assert writer.health().ok
