"""What the processes of the tests have in common, imported once by the server that they are forked from."""

from __future__ import annotations

import gc

from perp_bot.cli import catalog, going_live, main, output
from perp_bot.execution.live import access
from perp_bot.indicators import compiled
from perp_bot.ipc import client
from perp_bot.ops import alerts
from perp_bot.signals import wiring
from perp_bot.trading import daemon, live_side

__all__ = ["access", "alerts", "catalog", "client", "daemon", "going_live", "live_side", "main", "output", "wiring"]

compiled.load()
gc.freeze()  # what is here already need not be looked through, and its pages not be copied, in every fork
