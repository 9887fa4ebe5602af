"""`make bench-peers`: makes the environments of the peers, pinned by `peers/<environment>.txt`.

A set that cannot be installed costs only itself: at the end stands what is there, what is not, and why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from perp_bot.bench import peers
from perp_bot.bench.peers import ENVIRONMENTS, Environment
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK

PINS = Path("peers")


def main() -> int:
    """Install what is missing; return 1 when some set could not be installed."""
    reasons: dict[str, str] = {}
    for environment in ENVIRONMENTS:
        reason = set_up(environment, Path.cwd() / peers.FOLDER_NAME, PINS / f"{environment.name}.txt")
        if reason is not None:
            reasons[environment.name] = reason
    there = {(item.environment, item.peer): item.version for item in peers.installed()}
    for environment in ENVIRONMENTS:
        for peer in environment.peers:
            version = there.get((environment.name, peer))
            print(f"{peer:16} {version or 'missing: ' + reasons.get(environment.name, 'not in its pins')}")
    return EXIT_FAILURE if reasons else EXIT_OK


def set_up(environment: Environment, folder: Path, pins: Path) -> str | None:
    """Make one environment; return why it could not be made, None when it is there."""
    place = folder / environment.name
    done = place / ".installed"
    if done.exists() and done.read_text(encoding="utf-8") == pins.read_text(encoding="utf-8"):
        return None
    python = find_python(environment.pythons)
    if python is None:
        return f"needs Python {' or '.join(environment.pythons)}, which is not on PATH nor in pyenv"
    print(f"setting up {place.name} with {python.name} (once)", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([str(python), "-m", "venv", str(place)], [*pip, "--no-cache-dir", "-r", str(pins)]):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            said = (ran.stderr or ran.stdout).strip().splitlines() or ["nothing"]
            errors = [line for line in said if line.startswith("ERROR")] or said
            return f"`{' '.join([Path(command[0]).name, *command[1:4]])}` failed: {errors[0]}"
    shutil.copyfile(pins, done)
    return None


def find_python(versions: tuple[str, ...]) -> Path | None:
    """Return the first interpreter of one of `versions` that runs: this one's, then on PATH, then pyenv's."""
    roots = os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"
    for version in versions:
        name = f"python{version}"
        on_path = shutil.which(name)
        candidates = [Path(sys.executable)] if sys.version.startswith(f"{version}.") else []
        candidates += [Path(on_path)] if on_path else []
        candidates += sorted(Path(roots).glob(f"versions/{version}.*/bin/{name}"), reverse=True)
        for candidate in candidates:
            ran = subprocess.run([str(candidate), "--version"], capture_output=True, check=False)
            if ran.returncode == 0:
                return candidate
    return None


if __name__ == "__main__":
    sys.exit(main())
