"""What can happen to a block on a worker."""

from __future__ import annotations

import os
import signal


def out_of_memory(packed: object, points: object) -> object:
    """Fail as an allocation does."""
    raise MemoryError


def end_the_worker(packed: object, points: object) -> object:
    """Die as a process does that the kernel kills."""
    os.kill(os.getpid(), signal.SIGKILL)
    return None
