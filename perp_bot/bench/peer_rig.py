"""Starts the peers that are installed for one task, and names those that are not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from perp_bot.bench import peers
from perp_bot.bench.peer_worker import PeerWorker


@dataclass(frozen=True, slots=True)
class Contender:
    """A peer and the script that runs it."""

    peer: str
    script: str
    trades_like: str  # the reference that its trades must equal
    is_slow: bool = True  # seconds a run: it takes part in fewer rounds


def start_installed(
    subject: str, contenders: Iterable[Contender], task: Path, stack: ExitStack, *, warm_up_rows: int
) -> list[tuple[Contender, PeerWorker]]:
    """Return the workers of the peers that are there, warm; they end with `stack`. The others are said on stderr."""
    started = []
    for contender in contenders:
        there = peers.find(contender.peer)
        python = None if there is None else peers.interpreter(there.environment)
        if python is None:
            print(f"{subject}: {contender.peer} is not installed; see: {peers.HOW}", file=sys.stderr)
            continue
        script = peers.SCRIPTS / contender.script
        worker = PeerWorker(contender.peer, python, script, task, warm_up_rows=warm_up_rows)
        started.append((contender, stack.enter_context(worker)))
    return started
