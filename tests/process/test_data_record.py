"""`perpbot data record`: the market alone, in the format of sessions, with candles stored as the daemon does."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from rig import LIVELY, LIVELY_START, Rig

from perp_bot.data.recordings import MARKET, SessionReader, recordings

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]


def test_the_market_is_recorded_and_can_be_simulated_on(tmp_path: Path) -> None:
    """An hour and a half of one coin: books, trades, marks and closes in the recording, candles in the store."""
    with Rig(tmp_path / "run", speed=900, start=LIVELY_START, settings={"signals": LIVELY}) as rig:
        done = rig.perpbot("data", "record", "--minutes", "100", "--symbol", "eth", "--json", timeout_s=60.0)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        (recording,) = recordings(rig.paths.recordings)
        assert (recording.name, recording.kind, recording.symbols) == (told["session"], MARKET, ("ETH",))
        reader = SessionReader(recording)
        assert reader.opening().histories["ETH"]
        passes = list(reader.each_pass())
        assert (len(passes), reader.is_whole) == (told["passes"], True)
        assert sum(len(item.trades) for item in passes) > 10
        assert any(item.books for item in passes)
        assert any(item.contexts for item in passes)
        closes = [event for item in passes for name, event in item.events if name == "BoundaryClosed"]
        assert len(closes) >= 5
        rates = {event["funding"]["hour_ms"] for item in passes for n, event in item.events if n == "FundingSettled"}
        assert len(rates) >= 1
        assert rig.rows("SELECT count(*) FROM candles WHERE symbol = 'ETH' AND timeframe = '15m'")[0][0] > 500
        assert rig.rows("SELECT count(*) FROM decisions")[0][0] == 0
        simulated = rig.perpbot("backtest", "--recording", "last", "--symbol", "ETH", "--json")
        assert simulated.returncode == 0, simulated.stderr
        assert "market recorded in" in " ".join(json.loads(simulated.stdout)["notes"])
        assert rig.perpbot("replay", recording.name).returncode == 1
        assert rig.perpbot("backtest", "--recording", "last").stderr.strip().endswith("not BTC: see --symbol")


def test_ctrl_c_ends_a_recording_whole(tmp_path: Path) -> None:
    """Exit code 0 without --minutes, 130 before they are over; the recording has its end either way."""
    with Rig(tmp_path / "run", speed=60) as rig:
        for options, code in ((), 0), (("--minutes", "9000"), 130):
            process = subprocess.Popen(
                rig.command("data", "record", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            assert process.stderr is not None
            assert process.stderr.readline().startswith("recording BTC, ETH at ")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
            assert process.returncode == code
            newest = SessionReader(recordings(rig.paths.recordings)[-1])
            list(newest.each_pass())
            assert newest.is_whole


def test_beside_a_daemon_it_is_refused(tmp_path: Path) -> None:
    """The daemon records its session itself."""
    with Rig(tmp_path / "run") as rig:
        rig.start()
        done = rig.perpbot("data", "record")
    assert done.returncode == 1
    assert "records its session itself" in done.stderr
