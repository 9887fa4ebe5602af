"""`perpbot bench`: which subjects there are, what is printed, and the baseline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perp_bot.bench import ingest, ipc, runner, startup
from perp_bot.bench.measure import Measurement, machine
from perp_bot.bench.runner import Subject
from perp_bot.core.errors import PerpBotError, UsageError

Figures = dict[str, float]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Figures:
    """Two subjects whose medians the test sets; cache folder and working directory are empty."""
    values: Figures = {"quick time": 10.0, "fast rate": 1000.0}

    def runs(name: str, unit: str) -> Callable[[bool], list[Measurement]]:
        def run(quick: bool) -> list[Measurement]:
            if values[name] < 0:
                raise PerpBotError("the venue went away")
            return [Measurement(name.split()[0], name, unit, 9, values[name], values[name] * 2)]

        return run

    known = {
        "quick": Subject("quick", "a time", runs("quick time", "ms")),
        "fast": Subject("fast", "a rate", runs("fast rate", "messages/s")),
    }
    monkeypatch.setattr(runner, "subjects", lambda: known)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return values


def printed_json(capsys: pytest.CaptureFixture[str]) -> Any:
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_every_file_that_declares_a_subject_is_found_with_its_help() -> None:
    """The parts of subjects (servers in processes of their own) are no subjects."""
    found = runner.subjects()
    assert {"ingest", "ipc", "startup"} <= set(found)
    assert not {"measure", "runner", "flood_server", "ipc_peers", "ingest_rig"} & set(found)
    assert all(subject.help and "\n" not in subject.help for subject in found.values())


def test_an_unknown_subject_is_refused_with_the_nearest_name(figures: Figures) -> None:
    """A usage error (exit code 2) in one line; nothing is measured."""
    with pytest.raises(
        UsageError, match=r"no subject 'fats' to measure; did you mean fast\? There are: fast, quick"
    ) as caught:
        runner.main(("fats",), as_json=False, baseline=False)
    assert caught.value.exit_code == 2


def test_json_is_one_object_on_stdout_with_machine_and_figures(
    figures: Figures, capsys: pytest.CaptureFixture[str]
) -> None:
    """n, median, p95 and unit of each; progress goes to stderr."""
    assert runner.main((), as_json=True, baseline=False) == 0
    found = printed_json(capsys)
    assert found["machine"] == machine()
    assert [(row["subject"], row["n"], row["median"], row["p95"], row["unit"]) for row in found["measurements"]] == [
        ("fast", 9, 1000.0, 2000.0, "messages/s"),
        ("quick", 9, 10.0, 20.0, "ms"),
    ]
    assert found["failed"] == {}


def test_the_table_shows_every_figure(figures: Figures, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: subject, name, n, median, p95, unit."""
    assert runner.main(("quick", "quick"), as_json=False, baseline=False) == 0
    out = capsys.readouterr()
    row = next(line for line in out.out.splitlines() if "quick time" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][:6] == ["quick", "quick time", "9", "10", "20", "ms"]
    assert "measuring quick: a time" in out.err
    assert out.out.count("quick time") == 1


def test_a_subject_that_fails_is_named_and_the_others_are_measured(
    figures: Figures, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the reason in one line, the other figures there."""
    figures["fast rate"] = -1.0
    assert runner.main((), as_json=True, baseline=False) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["failed"] == {"fast": "the venue went away"}
    assert [row["subject"] for row in found["measurements"]] == ["quick"]
    assert "perpbot bench: fast failed: the venue went away" in captured.err


def test_the_first_baseline_is_stored_and_later_figures_are_compared_with_it(
    figures: Figures, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Ratios are new / stored; the stored figures do not drift with later runs."""
    runner.main((), as_json=True, baseline=True)
    first = printed_json(capsys)
    assert first["baseline"]["path"] == str(tmp_path / "cache" / "perpbot" / "bench-baseline.json")
    assert first["baseline"]["added"] == 2
    assert [row["ratio_to_baseline"] for row in first["measurements"]] == [None, None]
    figures |= {"quick time": 15.0, "fast rate": 2000.0}
    for _ in range(2):
        runner.main((), as_json=True, baseline=True)
        later = printed_json(capsys)
        assert [row["ratio_to_baseline"] for row in later["measurements"]] == [2.0, 1.5]
        assert later["baseline"]["added"] == 0
    runner.main((), as_json=False, baseline=True)
    out = capsys.readouterr().out
    assert "2.00x better" in out
    assert "1.50x worse" in out


def test_a_baseline_in_the_working_directory_is_preferred(figures: Figures, capsys: pytest.CaptureFixture[str]) -> None:
    """A project can keep its own; one of another machine says that its ratios mean little."""
    stored = {"machine": {"cpu": "abacus"}, "version": "0.0.9", "medians": {"quick/quick time/ms": 5.0}}
    Path("bench-baseline.json").write_text(json.dumps(stored))
    runner.main(("quick",), as_json=True, baseline=True)
    found = printed_json(capsys)
    assert found["measurements"][0]["ratio_to_baseline"] == 2.0
    assert "another machine" in found["baseline"]["note"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"medians": 3}'])
def test_a_broken_baseline_is_one_clear_line(figures: Figures, text: str) -> None:
    """It names the file and what to do; it is not overwritten."""
    Path("bench-baseline.json").write_text(text)
    with pytest.raises(UsageError, match=r"bench-baseline\.json is not a .*baseline.*remove it to take a new one"):
        runner.main(("quick",), as_json=True, baseline=True)
    assert Path("bench-baseline.json").read_text() == text


# ---------------------------------------------------------------- our subjects, on little


@pytest.mark.slow
def test_ingest_counts_every_message_through_the_real_socket_and_queue() -> None:
    """Two small rounds from another process: a rate per wall second and per CPU second, and each kind alone."""
    found = ingest.run(quick=True)
    assert [(item.name, item.unit) for item in found] == [
        ("socket to queue", "messages/s"),
        ("socket to queue, of CPU time", "messages/s"),
        ("l2Book decoded and queued", "us"),
        ("trades decoded and queued", "us"),
    ]
    assert all(item.median > 0 for item in found)


@pytest.mark.slow
def test_ingest_refuses_a_figure_of_dropped_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """When trades do not reach the queue there is no figure but an error."""
    from perp_bot.data.ingest import StreamIngest

    monkeypatch.setattr(StreamIngest, "_on_trades", lambda self, frame: None)
    with pytest.raises(
        PerpBotError, match=r"ingest: (0 of \d+ trades were queued|\d+ of 4000 messages did not arrive)"
    ):
        ingest.run(quick=True)


@pytest.mark.slow
def test_ipc_measures_a_four_kilobyte_status_with_twenty_clients() -> None:
    """The snapshot is 4 KB on the wire; alone, with 20 attached, and undecoded."""
    found = ipc.run(quick=True)
    assert [item.n for item in found] == [200, 200, 200]
    size = int(found[1].detail.split()[0].replace(",", ""))
    assert 4_000 <= size <= 4_300


@pytest.mark.slow
def test_startup_runs_whole_processes_and_refuses_a_command_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command is run and its exit code checked; a figure of a crash is never given."""
    monkeypatch.setattr(startup, "IMPORTS", ("click",))
    names = [item.name for item in startup.run(quick=True)]
    assert names[:4] == ["python -c pass (floor)", "perpbot --version", "perpbot --help", "perpbot status, no daemon"]
    monkeypatch.setattr(startup, "IMPORTS", ("no_such_module",))
    with pytest.raises(PerpBotError, match="import no_such_module` ended with 1, expected 0: ModuleNotFoundError"):
        startup.run(quick=True)
