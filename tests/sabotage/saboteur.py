"""A copy of the package with one file changed, and a test run against the copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sabotages import Sabotage

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "perp_bot"
TIMEOUT_S = 60.0
WRONG_PACKAGE = 77

# Loaded by the run itself: what is tested must be the copy, or a pass and a failure would mean nothing.
_PLUGIN = f"""
import os
import pytest

def pytest_configure(config):
    import perp_bot
    if not perp_bot.__file__.startswith(os.environ["SABOTAGED_COPY"] + os.sep):
        pytest.exit(f"{{perp_bot.__file__}} is not the copy", returncode={WRONG_PACKAGE})
"""


@dataclass(frozen=True, slots=True)
class Run:
    """How a test run ended (pytest's code: 0 passed, 1 failed, others mean that it did not run)."""

    code: int
    output: str


class Copy:
    """The package as links into the repository; a patched file is a real one for as long as it is tested."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._package = root / "perp_bot"
        shutil.copytree(
            PACKAGE,
            self._package,
            copy_function=os.symlink,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.nbi", "*.nbc"),
        )
        for kept in (*PACKAGE.rglob("*.nbi"), *PACKAGE.rglob("*.nbc")):
            # compiled kernels: what was made of a source that a patch changes is not taken, the rest saves a minute
            place = self._package / kept.relative_to(PACKAGE)
            place.parent.mkdir(exist_ok=True)
            shutil.copy2(kept, place)
        (root / "is_the_copy.py").write_text(_PLUGIN)

    def run(self, node: str) -> Run:
        """Run one test of the repository against the copy."""
        path, _, name = node.partition("::")
        command = [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            f"{REPOSITORY / 'tests' / path}::{name}",
            "-q",
            "-x",
            "--no-header",
        ]
        command += ["-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY), "--tb=line"]
        command += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "is_the_copy"]
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_", "COVERAGE_"))}
        env |= {"PYTHONPATH": str(self.root), "SABOTAGED_COPY": str(self.root)}
        done = subprocess.run(
            command, cwd=self.root, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def run_sabotaged(self, sabotage: Sabotage) -> Run:
        """Apply a patch, run its catcher, take the patch back."""
        original, place = PACKAGE / sabotage.file, self._package / sabotage.file
        text = original.read_text()
        count = text.count(sabotage.old)
        assert count == 1, (
            f"{sabotage.file} holds the text of {sabotage.name!r} {count} times; bring the table up to date"
        )
        place.unlink()
        try:
            place.write_text(text.replace(sabotage.old, sabotage.new))
            return self.run(sabotage.caught_by)
        finally:
            place.unlink()
            place.symlink_to(original)
