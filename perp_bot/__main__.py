"""`perpbot` and `python -m perp_bot`: answers `--version` before anything else is imported."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.argv[1:] == ["--version"]:
        from perp_bot.version import VERSION

        print(f"perpbot {VERSION}")
        return 0
    from perp_bot.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
