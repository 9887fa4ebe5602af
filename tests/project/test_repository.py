"""The repository itself: nothing in it names a machine, and the commands that the README promises exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# In pieces, so that this file does not contain what it forbids.
MACHINE_PATHS = re.compile(
    "|".join(("/" + "home/[a-z]", "/" + "Users/[A-Za-z]", "/" + "root/", "/" + "work/(main|shared)"))
)
REGISTRIES = re.compile(
    "|".join(("py" + "pi", "python" + "hosted", "npm" + "js", "crates" + r"\.io", "proxy\\." + "golang"))
)
PRIVATE_KEYS = re.compile("BEGIN [A-Z ]*PRIVATE " + "KEY")


def kept_files() -> list[Path]:
    """Return the files that are in the repository or would be added to it."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git work tree: what belongs to the repository is not known")
    listed = subprocess.run(
        [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in kept_files():
        content = path.read_bytes()
        if b"\0" not in content[:4096]:
            found.append((path, content.decode("utf-8", errors="replace")))
    return found


@pytest.mark.parametrize(
    ("what", "pattern"),
    [("a machine's path", MACHINE_PATHS), ("a package registry", REGISTRIES), ("a private key", PRIVATE_KEYS)],
)
def test_no_file_holds(what: str, pattern: re.Pattern[str]) -> None:
    """Paths of one machine, hosts of package registries and keys have no place in any file."""
    hits = [f"{path.relative_to(ROOT)}: {found[0]}" for path, text in texts() if (found := pattern.search(text))]
    assert hits == [], what


def test_nothing_that_a_daemon_leaves_behind_would_be_committed() -> None:
    """A run in the work tree leaves the tree clean: state, logs, latches and secrets are ignored."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    left_behind = [
        "perp_bot.db", "perp_bot.db-wal", "perp_bot.db-shm", "perp_bot.db.lock", "perp-bot.sock", "perp-bot.log",
        "perp-bot.log.1", "perp-bot-cli.log", "KILL", "emergency.journal", "last_run.json", "signal_cache.db",
        "backups/perp_bot-20260115T180000Z.db", ".perpbot-demo/20260115-180000/config.yaml", ".env",
    ]  # fmt: skip
    ignored = subprocess.run(
        [git, "-C", str(ROOT), "check-ignore", "--no-index", *left_behind], capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == left_behind


def test_the_makefile_has_what_the_documents_promise() -> None:
    """Targets are phony, documented ones exist, and CI runs the README's test command and nothing else."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(phony[1].split()) == targets
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    promised = {name for page in pages for name in re.findall(r"\bmake ([a-z-]+)", _code_of(page))}
    assert {"run", "test", "setup"} <= promised <= targets
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in script if line.startswith("make")] == ["make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def _code_of(page: Path) -> str:
    """Return the code of a page: fenced blocks and code spans."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(encoding="utf-8"), re.DOTALL))


@pytest.mark.slow
def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    """`make setup` with a Python that is too old says what it needs and makes nothing."""
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    ran = subprocess.run(["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[0] == (
        f"perpbot needs Python 3.11 or newer; {old} is Python 3.9.1. Try: make PYTHON=python3.11 setup"
    )
    assert not (tmp_path / ".venv").exists()


def test_every_dependency_says_why_it_is_there() -> None:
    """A line of pyproject that adds a package has its reason beside it, and constraints.txt pins what is installed."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    runtime = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    dev = re.search(r"^dev = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert runtime is not None
    assert dev is not None
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    pinned = {_normal(name) for name in pins}
    for line in (runtime[1] + dev[1]).splitlines():
        assert re.fullmatch(r'\s+"[^"]+",\s+# .+', line), line
        name = re.match(r'\s+"([\w.-]+)', line)
        assert name is not None
        assert _normal(name[1]) in pinned, line


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
