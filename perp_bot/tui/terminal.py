"""Terminal loss and signals are our job: a dropped terminal must not leave a spinning process behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable

CHECK_S = 1.0
EXIT_GRACE_S = 2.0
EXIT_HANGUP = 129
EXIT_BY_SIGNAL = {signal.SIGTERM: 143, signal.SIGHUP: EXIT_HANGUP, signal.SIGINT: 130}


def is_terminal_gone(fd: int) -> bool:
    """Return whether the terminal at `fd` no longer answers."""
    try:
        termios.tcgetattr(fd)
    except (termios.error, OSError, ValueError):
        return True
    return False


def controlling_fd() -> int | None:
    """Return the descriptor of the terminal the dashboard reads keys from, None when there is none."""
    try:
        fd = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    except (OSError, ValueError):
        return None
    return fd if fd >= 0 and os.isatty(fd) else None


def catch_signals(leave: Callable[[int], None]) -> None:
    """Call `leave(exit code)` on SIGTERM, SIGHUP and SIGINT, so that the terminal is restored first."""
    loop = asyncio.get_running_loop()
    for number, code in EXIT_BY_SIGNAL.items():
        try:
            loop.add_signal_handler(number, leave, code)
        except (ValueError, RuntimeError, NotImplementedError):
            return  # not the main thread: whoever runs us there handles signals


def release_signals() -> None:
    """Give the signals back."""
    loop = asyncio.get_running_loop()
    for number in EXIT_BY_SIGNAL:
        try:
            loop.remove_signal_handler(number)
        except (ValueError, RuntimeError, NotImplementedError):
            return


def end_after_hangup(code: int = EXIT_HANGUP) -> threading.Timer:
    """End the process for good if leaving cleanly takes too long: writing to a lost terminal may never return."""
    timer = threading.Timer(EXIT_GRACE_S, os._exit, args=(code,))
    timer.daemon = True
    timer.start()
    return timer
