"""Each invariant and each known mistake is broken on purpose in a copy, and a named test must catch it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sabotages import SABOTAGES, Sabotage
from saboteur import Copy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The unpatched copy, one for all."""
    return Copy(tmp_path_factory.mktemp("sabotage"))


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_a_sabotage_is_caught(sabotage: Sabotage, copy: Copy) -> None:
    """The catcher runs against the patched copy and fails: not an import error, not another package, not a skip."""
    run = copy.run_sabotaged(sabotage)
    assert run.code == 1, f"{sabotage.caught_by} did not notice: {sabotage.name}\n{run.output[-2000:]}"
    assert "stopping after 1 failures" in run.output, run.output[-2000:]


@pytest.mark.parametrize("name", ["a gap in the books stops nothing", "the latch is not synced"])
def test_the_copy_itself_passes(name: str, copy: Copy) -> None:
    """Without a patch the same run passes, so a failure above is the patch's doing."""
    (sabotage,) = (one for one in SABOTAGES if one.name == name)
    run = copy.run(sabotage.caught_by)
    assert run.code == 0, run.output[-2000:]


def test_a_run_against_another_package_is_noticed(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard works: when the import finds the repository's package, nothing counts."""
    stray = Copy(tmp_path)
    monkeypatch.setattr(stray, "root", copy.root / "elsewhere")
    (copy.root / "elsewhere").mkdir(exist_ok=True)
    (copy.root / "elsewhere" / "is_the_copy.py").write_text((tmp_path / "is_the_copy.py").read_text())
    assert stray.run(SABOTAGES[0].caught_by).code == 77


def test_every_invariant_is_broken_at_least_once() -> None:
    """I1 to I12; and no name is used twice."""
    broken = {sabotage.breaks for sabotage in SABOTAGES}
    assert {f"I{n}" for n in range(1, 13)} <= broken
    assert len({sabotage.name for sabotage in SABOTAGES}) == len(SABOTAGES)
    assert all(sabotage.old != sabotage.new for sabotage in SABOTAGES)
