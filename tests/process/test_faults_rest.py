"""The venue's REST side fails while its stream goes on: entries stop, exits go on, nothing is lost, all resumes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rig import LIVELY, LIVELY_START, Rig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(60)]

# Which read is the newest to have failed when the state is looked at is a matter of timing: after a 429, say, the
# reads of the lower classes are held back and are let through at other moments.
FAULTS = {
    "status_429": r"answered 429 to \w+: too many requests",
    "status_502": r"it answered \w+ with 502",
    "html": "something that is not JSON; it begins '<html>",
    "nan_candle": "is unusable",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rest_fault_stops_entries_and_nothing_else(fault: str, tmp_path: Path) -> None:
    """For an hour of the venue's time every answer is false: the exit is decided on the stream's row, the entry is not.

    The state says what fails; when it is over, the next close enters, and the store holds confirmed rows alone.
    """
    settings = {"signals": LIVELY, "data": {"close_confirm_timeout_seconds": 0.4}}
    with Rig(tmp_path, start=LIVELY_START, settings=settings) as rig:
        rig.start()
        rig.step("15m", 2)
        held = rig.step("1m")
        assert [(position.symbol, position.side) for position in held.positions] == [("ETH", "short")]
        rig.venue.set_faults(**{fault: True})

        rig.step_to_close(4)

        degraded = rig.await_status("DEGRADED")
        assert any(re.search(FAULTS[fault], reason) for reason in degraded.status_reasons), degraded.status_reasons
        assert degraded.positions == ()
        assert rig.decided("ETH")[3] == ("exit",)
        assert rig.reasons("BTC")[6] == "provisional candle"
        assert degraded.counters.entries == 1

        rig.venue.set_faults(clear=True)
        rig.await_status("RUNNING", 40.0)
        rig.step("15m")

        assert {rig.decided("BTC")[7][0], rig.decided("ETH")[7][0]} == {"enter", "blocked"}, "margin is for one"
        assert [sorted(rig.decided(symbol)) for symbol in rig.symbols] == [[0, 1, 2, 3, 4, 5, 6, 7]] * 2
        assert any(re.search(FAULTS[fault], text) for text in rig.events("DEGRADED"))
        assert len(rig.events("RECOVERED")) >= 1
        assert rig.rows("SELECT count(*) FROM candles WHERE timeframe = '15m' AND source = 'stream'") == [(0,)]
        assert rig.stop() == 0


def test_an_exit_comes_though_no_close_was_confirmed_for_an_hour(tmp_path: Path) -> None:
    """The stream's rows follow one another in the strategy's window, marked provisional and kept with the decision.

    The funding hours of the outage are paid once their rates can be read, and every decision can be made again.
    """
    settings = {"signals": LIVELY, "data": {"close_confirm_timeout_seconds": 0.4}}
    with Rig(tmp_path, start=LIVELY_START, settings=settings) as rig:
        rig.start()
        rig.step("15m", 6)
        held = rig.step("1m", 2)
        assert [(position.symbol, position.side) for position in held.positions] == [("BTC", "long")]
        rig.venue.set_faults(status_502=True)

        rig.step_to_close(6)

        assert {number: action for number, (action, *_) in rig.decided("BTC").items() if number > 6} == {
            7: "hold",
            8: "hold",
            9: "hold",
            10: "hold",
            11: "hold",
            12: "exit",
        }
        rig.until("the position is closed", lambda: rig.state().positions == ())
        assert rig.rows("SELECT hour_ms, usd FROM funding_payments WHERE usd IS NULL") != []

        rig.venue.set_faults(clear=True)
        rig.await_status("RUNNING", 40.0)
        rig.step("15m")

        assert rig.rows("SELECT count(*) FROM funding_payments WHERE usd IS NULL") == [(0,)]
        assert rig.state().account.accounting_error_max_usd < 0.01
        assert rig.stop() == 0
        again = rig.perpbot("compare")
        assert again.returncode == 0, again.stderr
