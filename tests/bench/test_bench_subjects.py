"""Every subject of `perpbot bench` runs end to end on little, with real processes, sockets and terminals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from perp_bot.bench import runner, soak
from perp_bot.bench.runner import Subject

QUICK = {
    "backtest": [
        "perpbot: signals given",
        "perpbot: indicators given",
        "perpbot: with indicators",
        "perpbot: signals given, statistics",
        "plain Python loop: signals given",
        "all semantics, signals given",
        "all semantics, indicators given",
        "all semantics, with indicators",
        "all semantics, engine.run",
        "metrics and equity curve",
        "5 symbols in one account, indicators given",
        "5 symbols in one account, with indicators",
        "20,000 stored candles to arrays",
        "20,000 stored candles to arrays, SQLite rows",
        "perpbot backtest, 20,000 stored candles",
        "perpbot backtest, 2,000 stored candles",
        "peak memory above that on few candles",
    ],
    "daemon": [
        "start -> loop runs, first ever",
        "start -> first decision, first ever",
        "  CPU until first decision, first ever",
        "start -> loop runs, history stored",
        "start -> first decision, history stored",
        "  CPU until first decision, history stored",
        "asked to stop -> ended",
    ],
    "columns": [
        "stored by the writer's SQL",
        "SQLite rows to arrays",
        "snapshot made and read",
        "warm",
        "warm, every value summed",
        "warm, 100 rows newer than the snapshot",
        "last 500",
    ],
    "demo": ["command -> first frame", "command -> live prices"],
    "indicators": [
        "zscore 20",
        "bollinger 20",
        "rsi 14",
        "atr 14",
        "adx 14",
        "ema 20",
        "macd 12 26 9",
        "seven of the set",
        "seven of the set, columns given",
        "set",
        "realized_vol 20",
        "hurst_vr 100",
        "hurst_rs 100",
        "rescaled_range 100",
        "streaming",
        "streaming, 200 symbols a call",
        "streaming, each call timed",
        "decision row from arrays",
        "decision row from lists",
    ],
    "lag": ["loop lag, alone", "loop lag, 5 subscribers", "loop lag, 5 dashboards"],
    "loop": [
        "close_to_decision_ms",
        "close_to_commit_ms, holds",
        "close_to_commit_ms, orders",
        "mark_to_stop_ms",
        "disk flush (floor)",
    ],
    "practice": [
        "start",
        "history, cold",
        "history, warm",
        "step, nobody connected",
        "step, subscribed as a daemon",
    ],
    "signing": ["SDK, without coincurve", "SDK, as installed", "ours, hashes made anew", "ours"],
    "sweep": [
        "perpbot, 28 points",
        "perpbot, one thread, 28 points",
        "perpbot with metrics, 28 points",
        "perpbot with metrics, one thread, 28 points",
        "perpbot, of which indicators, 28 points",
    ],
    "tui": [
        "start -> first frame",
        "start -> live data",
        "q -> ended",
        "CPU of one second of watching",
        "drawn in one second",
        "memory",
    ],
}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", QUICK)
def test_a_subject_runs_end_to_end_and_its_figures_are_numbers(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One JSON object on stdout, nothing failed, every figure finite with n samples and a slow end no better."""
    no_peers = tmp_path / ".venv-peers"  # what is measured does not depend on what is installed here
    no_peers.mkdir()
    monkeypatch.chdir(tmp_path)
    code = runner.main((name,), as_json=True, baseline=False, quick=True)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert (code, found["failed"]) == (0, {})
    rows = found["measurements"]
    assert [(row["subject"], row["name"]) for row in rows] == [(name, title) for title in QUICK[name]]
    for row in rows:
        assert row["n"] >= 1
        assert math.isfinite(row["median"]), row
        assert row["median"] >= 0.0, row
        worse = row["p95"] <= row["median"] if row["unit"].endswith("/s") else row["p95"] >= row["median"]
        assert worse, row
    assert list(tmp_path.iterdir()) == [no_peers]  # what is measured leaves nothing where the user stands


def test_a_run_without_names_leaves_out_what_takes_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soak, live trading and what peers take part in run when they are named; everything else runs by default."""
    ran: list[str] = []

    def noting(subject: Subject) -> Subject:
        return Subject(
            subject.name, subject.help, lambda quick: ran.append(subject.name) or [], subject.only_when_named
        )

    known = {name: noting(subject) for name, subject in runner.subjects().items()}
    monkeypatch.setattr(runner, "subjects", lambda: known)
    assert runner.main((), as_json=True, baseline=False) == 0
    assert ran == sorted(set(known) - {soak.SUBJECT, "backtest", "sweep", "live"})
    runner.main((soak.SUBJECT,), as_json=True, baseline=False)
    assert ran[-1] == soak.SUBJECT
