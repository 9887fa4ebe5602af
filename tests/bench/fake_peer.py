"""A peer that needs no library: a real process of the worker protocol for the tests.

Argument 1 is the folder of `worker.py`; argument 2 how it behaves: well, or which misbehaviour.
"""

import sys

sys.path.insert(0, sys.argv[1])

from worker import Case, Timed, serve

MANNER = sys.argv[2]


def prepare(data):
    """Return cases that print, measure themselves, and give trades of the data."""

    def quick():
        print("a library that chats on stdout")
        if MANNER == "dies":
            raise SystemExit("no memory left")
        return len(data.close)

    def honest():
        return Timed("made", 0.125)

    if MANNER == "hangs" and len(data.close) > 3:
        sys.stdin.read()
    return {
        "quick": Case(quick, lambda rows: [[0, rows, data.close[0], data.close[-1], 1.5]]),
        "honest": Case(honest, str),
    }


if MANNER == "chats":
    print("hello from a banner", flush=True)
serve(prepare, "1.2.3")
