"""Measured tables in a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from perp_bot.bench import runner
from perp_bot.bench.markdown import table_of, write_tables
from perp_bot.bench.measure import Measurement
from perp_bot.bench.runner import Subject
from perp_bot.core.errors import UsageError

PAGE = "# Speed\n<!-- bench:race -->\nold\n<!-- /bench:race -->\nend\n"
FOUND = [
    Measurement("race", "ours", "ns/row", 9, 10.0, 12.5, "goal 12"),
    Measurement("race", "hare", "ns/row", 3, 5_500.0, 6_000.0, "62 trades equal", 550.0),
]


def test_a_table_has_the_figures_and_the_ratio_to_ours() -> None:
    """One row a figure; ours has no ratio to itself; the machine stands above."""
    lines = table_of(FOUND).splitlines()
    assert "cores" in lines[0]
    assert lines[-2:] == [
        "| ours | 10 | 12.5 | ns/row | 9 |  | goal 12 |",
        "| hare | 5,500 | 6,000 | ns/row | 3 | 550x | 62 trades equal |",
    ]


def test_only_the_places_of_measured_subjects_are_written(tmp_path: Path) -> None:
    """Twice gives the same page; what is around the markers stays."""
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    write_tables(page, FOUND)
    once = page.read_text(encoding="utf-8")
    write_tables(page, FOUND)
    assert page.read_text(encoding="utf-8") == once
    assert once.startswith("# Speed\n<!-- bench:race -->\n")
    assert once.endswith("\n<!-- /bench:race -->\nend\n")
    assert "| hare | 5,500" in once
    assert "old" not in once


@pytest.mark.parametrize("text", ["# nothing\n", "<!-- /bench:race -->\n<!-- bench:race -->\n", None])
def test_a_page_without_a_place_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """Not after ten minutes; the line names the page, and the markers that it lacks."""
    page = tmp_path / "page.md"
    if text is not None:
        page.write_text(text, encoding="utf-8")
    measured: list[bool] = []
    monkeypatch.setattr(
        runner, "subjects", lambda: {"race": Subject("race", "a race", lambda quick: measured.append(quick) or [])}
    )
    with pytest.raises(
        UsageError, match=r"page\.md(: No such file| has no place for 'race': a line <!-- bench:race -->)"
    ):
        runner.main(("race",), as_json=False, baseline=False, markdown=page)
    assert measured == []


def test_the_page_of_the_docs_has_a_place_for_every_research_subject() -> None:
    """The command on the page runs."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for subject in ("backtest", "sweep"):
        assert page.index(f"<!-- bench:{subject} -->") < page.index(f"<!-- /bench:{subject} -->")
