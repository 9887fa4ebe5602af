"""Take the pictures of this folder from the running program: `make pictures`.

Runs `perpbot demo --headless` in a folder of its own, waits until it has closed a trade and holds a position, and
lets `perp_bot.tui.picture` export what the dashboard then shows. Nothing is drawn by hand; prices differ a little
from run to run because threads of a demo at speed decide when within a candle a thing happens.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEMO_S = 240
WAIT_S = 200.0

# file -> arguments of `python -m perp_bot.tui.picture`; all but the last need the living daemon
PICTURES: dict[str, list[str]] = {
    "overview.svg": ["--size", "120x40"],
    "small.svg": ["--size", "80x24"],
    "kill.svg": ["--size", "120x40", "--keys", "k"],
    "signals.svg": ["--size", "120x24", "--screen", "signals"],
    "decisions.svg": ["--size", "120x24", "--screen", "decisions"],
    "offline.svg": ["--size", "120x24", "--offline"],
}
_REMOTE_FONTS = re.compile(r"@font-face\s*\{[^}]*\}\s*")


def main() -> int:
    """Take every picture; exit code 1 when the demo did not come as far as needed."""
    with tempfile.TemporaryDirectory(prefix="perpbot-") as folder:
        demo = subprocess.Popen(
            [sys.executable, "-m", "perp_bot", "--config", str(ROOT / "config.yaml"), "demo", "--headless",
             "--duration", str(DEMO_S)],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            config = _session(demo)
            if not _wait_for_position(config):
                return 1
            for name, options in PICTURES.items():
                if "--offline" not in options:
                    _take(config, name, options)
        finally:
            demo.terminate()
            demo.communicate()
        _take(config, "offline.svg", PICTURES["offline.svg"])
    return 0


def _session(demo: subprocess.Popen[str]) -> Path:
    """Return the session's config, whose folder the demo names on its first line."""
    assert demo.stderr is not None
    line = demo.stderr.readline()
    if not line.startswith("demo: session "):
        raise SystemExit(f"the demo did not start: {line.strip()}")
    return Path(line.removeprefix("demo: session ").strip()) / "config.yaml"


def _wait_for_position(config: Path) -> bool:
    deadline_s = time.monotonic() + WAIT_S
    last = ""
    while time.monotonic() < deadline_s:
        found = subprocess.run(
            [sys.executable, "-m", "perp_bot", "--config", str(config), "status", "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if found.returncode == 0:
            state = json.loads(found.stdout)["state"]
            if state["positions"] and state["counters"]["trades"]:
                return True
            last = f"{state['status']}, {state['counters']}"
        else:
            last = found.stderr.strip()
        time.sleep(0.3)
    print(f"no position with a closed trade before it within {WAIT_S:.0f} s; at the end: {last}", file=sys.stderr)
    return False


def _take(config: Path, name: str, options: list[str]) -> None:
    out = HERE / name
    subprocess.run(
        [sys.executable, "-m", "perp_bot.tui.picture", "--config", str(config), "--out", str(out), *options],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    # The exporter names fonts on a server of somebody else; a picture of ours loads nothing from anywhere.
    out.write_text(_REMOTE_FONTS.sub("", out.read_text(encoding="utf-8")), encoding="utf-8")
    print(out.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
