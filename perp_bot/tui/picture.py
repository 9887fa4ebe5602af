"""Pictures of the real dashboard as SVG: `python -m perp_bot.tui.picture --config config.yaml --out overview.svg`.

It runs the same app without a terminal, connects to the daemon that runs, waits for what it was asked to show, and
exports the screen. Nothing is drawn that the program did not draw.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import EXIT_AWAY, EXIT_OK, PerpBotError
from perp_bot.tui.app import DashboardApp
from perp_bot.tui.layout import OVERVIEW, VIEWS
from perp_bot.tui.store import Connection, connection

POLL_S = 0.1


async def take(
    config: Config,
    out: Path,
    *,
    size: tuple[int, int] = (120, 40),
    view: str = OVERVIEW,
    keys: tuple[str, ...] = (),
    settle_s: float = 1.5,
    wait_s: float = 10.0,
    needs_daemon: bool = True,
) -> bool:
    """Write the dashboard as it is now to `out` (SVG); return False when no daemon came within `wait_s`."""
    app = DashboardApp(config, RuntimePaths(config.data.db_path), screen=view)
    async with app.run_test(size=size) as pilot:
        deadline_s = monotonic_s() + wait_s
        is_live = False
        while monotonic_s() < deadline_s:
            found = connection(app.view, monotonic_s()).state
            is_live = found is Connection.LIVE
            if (is_live or (not needs_daemon and found.is_offline)) and app.view.history is not None:
                break
            await pilot.pause(POLL_S)
        if needs_daemon and not is_live:
            return False
        await pilot.pause(settle_s)
        for key in keys:
            await pilot.press(key)
        await pilot.pause(0.6)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(app.export_screenshot(title="perpbot tui"), encoding="utf-8")
    return True


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and take one picture."""
    parser = argparse.ArgumentParser(prog="python -m perp_bot.tui.picture", description=__doc__)
    parser.add_argument("--config", type=Path, default=None, help="the daemon's config file")
    parser.add_argument("--size", type=_size, default=(120, 40), help="columns x rows, e.g. 120x40")
    parser.add_argument("--screen", choices=VIEWS, default=OVERVIEW, help="which screen")
    parser.add_argument("--keys", nargs="*", default=(), help="keys to press first, e.g. k")
    parser.add_argument("--offline", action="store_true", help="a picture without a daemon is wanted")
    parser.add_argument("--out", type=Path, required=True, help="where to write the SVG")
    options = parser.parse_args(arguments)
    from perp_bot.config.load import load_config

    try:
        config = load_config(options.config)
        done = asyncio.run(
            take(
                config,
                options.out,
                size=options.size,
                view=options.screen,
                keys=tuple(options.keys),
                needs_daemon=not options.offline,
            )
        )
    except PerpBotError as error:
        print(f"perpbot: {error}", file=sys.stderr)
        return error.exit_code
    if not done:
        print("perpbot: no daemon answered within 10 s; no picture was taken", file=sys.stderr)
        return EXIT_AWAY
    print(options.out)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
