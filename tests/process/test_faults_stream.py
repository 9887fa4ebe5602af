"""The market stream breaks, stops or lies: entries stop, positions are looked after, and everything resumes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import requests
from rig import LIVELY, LIVELY_START, Rig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]

SETTINGS = {"signals": LIVELY, "data": {"close_confirm_timeout_seconds": 0.5}}


@pytest.mark.parametrize("away", [["ws"], ["ws", "info"]], ids=["stream", "stream and REST"])
def test_the_stream_comes_back_after_the_venue_closed_all_sockets(away: list[str], tmp_path: Path) -> None:
    """Three closes pass while the venue answers 502: what was missed is read by REST, and the next close is decided.

    The event says how long it took and what was filled, the counter counts it, entries stop meanwhile.
    """
    with Rig(tmp_path, start=LIVELY_START, settings=SETTINGS) as rig:
        rig.start()
        rig.step("15m", 2)
        rig.step("1m")
        rig.venue.set_faults(status_502={"on": away})
        rig.venue.close_sockets()
        degraded = rig.await_status("DEGRADED")
        assert degraded.status_reasons[0].startswith("the market stream is away: ")
        assert not degraded.stream_connected
        assert [position.symbol for position in degraded.positions] == ["ETH"]
        rig.venue.step(to="15m", count=3)

        rig.venue.set_faults(clear=True)
        rig.await_status("RUNNING", 40.0)
        state = rig.settle()
        rig.step("15m")

        assert state.counters.stream_reconnects == 1
        (told,) = rig.events("RECONNECT")
        assert told.startswith("reconnected after ")
        assert "9 subscriptions" in told
        assert rig.decided("ETH")[5] == ("exit",), "the first close that is decided again"
        assert rig.decided("BTC")[6] == ("enter",)
        assert rig.stored_gaps("15m") == []
        assert rig.stop() == 0


def test_a_stopped_process_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGSTOP over an hour of closes, then SIGCONT: every close is decided once, as late as it came, and none is lost.

    The other processes are told that it does not answer, in one line.
    """
    with Rig(tmp_path / "rest", start=LIVELY_START, settings=SETTINGS) as rig:
        rig.start()
        rig.step("15m", 7)
        at_rest = {symbol: rig.decided(symbol) for symbol in rig.symbols}
        assert rig.stop() == 0
    with Rig(tmp_path / "stopped", start=LIVELY_START, settings=SETTINGS) as rig:
        rig.start()
        rig.step("15m", 2)
        assert rig.process is not None
        rig.process.send_signal(signal.SIGSTOP)
        asked = rig.perpbot("status")
        rig.venue.step(to="15m", count=4)
        rig.process.send_signal(signal.SIGCONT)
        rig.settle()
        rig.step("15m")
        assert asked.returncode == 3
        assert asked.stdout == ""
        assert len(asked.stderr.splitlines()) == 1
        assert f"does not answer within 2 s (pid {rig.process.pid} holds the lock)" in asked.stderr
        assert rig.decided("ETH") == at_rest["ETH"]
        assert rig.decided("BTC") == at_rest["BTC"]
        assert "late" not in rig.reasons("BTC")[7]
        assert rig.stored_gaps("15m") == []
        assert rig.stop() == 0


def test_a_coin_delisted_while_held_is_settled_and_the_others_trade_on(tmp_path: Path) -> None:
    """Its book is empty for good, so the position is closed at the last oracle price, and said so.

    The coin's slot and margin are free again, its closes hold up nobody, and no entry is made in it.
    """
    with Rig(tmp_path, start=LIVELY_START, settings=SETTINGS) as rig:
        rig.start()
        rig.step("15m", 2)
        rig.step("1m")
        rig.venue.set_faults(delist="ETH")
        rig.step_to_close()
        rig.until("the position is settled", lambda: rig.state().positions == ())
        rig.step("15m", 3)

        rig.until("it is told", lambda: rig.events("DELISTED"))
        assert rig.events("DELISTED") == ["ETH is delisted at the venue: no entries; an open position is settled"]
        (told,) = rig.events("RECONCILE")
        assert told.startswith(
            "ETH is delisted: SHORT 0.303 ETH @ 3312.0 is settled on paper at its last oracle price "
        )
        assert rig.rows("SELECT symbol, size FROM trades") == [("ETH", "0.303")]
        assert rig.decided("BTC")[6] == ("enter",)
        assert {action for number, (action, *_) in rig.decided("ETH").items() if number > 3} == {"hold"}
        assert {number for number, text in rig.reasons("ETH").items() if text.startswith("no candle: ")} >= {4, 5, 6}
        assert rig.state().account.accounting_error_max_usd < 0.01
        assert rig.stop() == 0


def test_a_coin_delisted_while_flat_gets_no_entry_and_may_come_back(tmp_path: Path) -> None:
    """Told once each way; entries are made again after it is listed again."""
    with Rig(tmp_path, start=LIVELY_START, settings={**SETTINGS, "trading": {"symbols": ["ETH"]}}) as rig:
        rig.start()
        rig.venue.set_faults(delist="ETH")
        rig.step_to_close(2)
        rig.until("the delisting is told", lambda: rig.events("DELISTED"))
        assert rig.state().positions == ()

        rig.venue.set_faults(clear=True)
        rig.venue.close_sockets()  # the list of coins is read again after a reconnect
        rig.until("the listing is told", lambda: rig.events("LISTED"))
        rig.settle()
        rig.step("15m", 5)

        assert rig.reasons("ETH")[1] == "no candle: the venue has no row of this candle"
        assert rig.decided("ETH")[6] == ("enter",)
        assert rig.stored_gaps("15m") == []
        assert rig.stop() == 0


def test_a_stop_that_was_passed_while_the_stream_was_away_has_fired(tmp_path: Path) -> None:
    """The price goes through the stop and comes back during an outage: an exchange's stop would have fired."""
    settings = {**SETTINGS, "risk": {"max_loss_per_trade_pct": 0.001, "cooldown_seconds": 3600}}
    with Rig(tmp_path, start=LIVELY_START, settings=settings) as rig:
        rig.start()
        rig.step("15m", 6)
        (position,) = rig.step("1m").positions
        assert (position.symbol, position.side) == ("BTC", "long")
        assert position.stop_px is not None
        rig.venue.set_faults(status_502={"on": ["ws"]})
        rig.venue.close_sockets()
        rig.await_status("DEGRADED")
        was_passed = False
        for _ in range(120):
            rig.venue.step()
            (low, close) = newest_minute(rig, "BTC")
            was_passed |= low < position.stop_px * 0.9998
            if was_passed and close > position.stop_px * 1.0005:
                break
        else:
            raise AssertionError("the scenario needs a price that passes the stop and comes back")

        rig.venue.set_faults(clear=True)
        rig.await_status("RUNNING", 40.0)
        rig.settle()
        assert len(rig.events("STOP")) == 1


def newest_minute(rig: Rig, coin: str) -> tuple[float, float]:
    """Return low and close of the newest closed 1m candle."""
    asked = {"coin": coin, "interval": "1m", "startTime": rig.venue.now_ms - 60_000, "endTime": rig.venue.now_ms - 1}
    body = {"type": "candleSnapshot", "req": asked}
    row = requests.post(f"{rig.venue.base_url}/info", json=body, timeout=5).json()[-1]
    return float(row["l"]), float(row["c"])
