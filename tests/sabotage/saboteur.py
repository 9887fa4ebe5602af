"""A copy of the package with one file changed, and a test run against the copy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
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


@lru_cache(maxsize=1)
def _server() -> subprocess.Popen[str]:
    """Return the process that test runs are forked from; it ends with this one."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("fork_server.py"))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


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
        arguments = [f"{REPOSITORY / 'tests' / path}::{name}", "-q", "-x", "--no-header"]
        arguments += ["-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY), "--tb=line"]
        arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is there before pytest
        arguments += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "is_the_copy"]
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_", "COVERAGE_"))}
        env |= {"PYTHONPATH": str(self.root), "SABOTAGED_COPY": str(self.root)}
        output = self.root / "output"
        wanted = {"arguments": arguments, "env": env, "cwd": str(self.root), "output": str(output)}
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(wanted | {"timeout_s": TIMEOUT_S}) + "\n")
        server.stdin.flush()
        return Run(int(server.stdout.readline()), output.read_text())

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
