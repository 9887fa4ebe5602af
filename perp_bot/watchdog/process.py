"""The watchdog's process: its key and lock, its alerts, one pass a second, an end by SIGTERM."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from types import FrameType

from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.config.venues import BASE_URLS, MAINNET, base_url
from perp_bot.core.clock import monotonic_s, wall_ms
from perp_bot.core.errors import EXIT_OK, ConfigError, UsageError
from perp_bot.core.timeframes import iso
from perp_bot.execution.live.access import acting, reading
from perp_bot.execution.live.signer import Signer, signer_of
from perp_bot.ipc.heartbeat import is_answering, living_daemon
from perp_bot.ops.alert_queue import AlertKind
from perp_bot.ops.alerts import Alerts
from perp_bot.ops.redaction import Redactor
from perp_bot.watchdog.alert_loop import AlertLoop
from perp_bot.watchdog.rescue import Rescuer, account_text
from perp_bot.watchdog.watch import Watch

KEY = "HL_WATCHDOG_PRIVATE_KEY"
BEAT_S = 1.0
WITHIN_S = 10.0  # of one call to the venue: what is not done then is begun again, and SIGTERM does not wait longer


def run(config: Config, *, after_s: float, flatten: bool) -> int:
    """Watch until SIGTERM or SIGINT and return the exit code.

    Raises:
        PerpBotError: when it cannot begin; one line that says why and what to do.
    """
    if config.mode != "live":
        where = config.source_path or "the settings"
        raise UsageError(f"the watchdog protects an account at the venue; {where} says mode: {config.mode}")
    paths = RuntimePaths(config.data.db_path)
    redacted = Redactor(config.secrets.values()).text
    stop = threading.Event()

    def say(text: str) -> None:
        print(f"{iso(wall_ms())} {redacted(text)}", flush=True)

    with ExitStack() as stack:
        _end_by_signal(stack, stop)
        signer = watchdog_signer(config)
        access = stack.enter_context(reading(config))
        direct = stack.enter_context(acting(access, signer, paths.kill_latch, name=KEY, within_s=WITHIN_S))
        loop = stack.enter_context(AlertLoop())
        alerts = Alerts(config.secrets, loop.submit, label=f"perpbot watchdog {config.venue}")
        stack.callback(alerts.close)
        rescuer = Rescuer(direct, config, paths, access.refreshed_instruments, flatten=flatten)
        watch = Watch(
            heartbeat=lambda: heartbeat(paths),
            look=direct.look,
            rescue=rescuer.rescue,
            say=say,
            alert=lambda text: alerts.send(AlertKind.WATCHDOG, text),
            after_s=after_s,
        )
        policy = "kills and closes everything" if flatten else "arms missing stops and cancels entries"
        say(f"watching as {signer.address}; when the daemon is gone for {after_s:g} s it {policy}")
        say(alerts.state().text)
        say(account_text(direct.look()))
        while not stop.is_set():
            watch.beat(monotonic_s())
            stop.wait(BEAT_S)
        say("stopped")
    return EXIT_OK


def heartbeat(paths: RuntimePaths) -> str:
    """Return nothing while the daemon is well, else what is wrong with it."""
    pid = living_daemon(paths)
    if pid is None:
        return "no daemon runs"
    if is_answering(paths):
        return ""
    return f"the daemon (pid {pid}) does not answer, or its loop stands still"


def watchdog_signer(config: Config) -> Signer:
    """Return the watchdog's signer; it must be of a key of its own, for one process signs with a key.

    Raises:
        ConfigError: there is no key, or it is the daemon's.
    """
    key = config.secrets.hl_watchdog_private_key
    if key is None:
        raise ConfigError(f"{KEY}: not set; the watchdog signs with an API wallet of its own (.env or environment)")
    url = base_url(config.venue)
    signer = Signer(key, is_mainnet=url == BASE_URLS[MAINNET], name=KEY)
    if config.secrets.hl_private_key is not None and signer_of(config.secrets, url).address == signer.address:
        raise ConfigError(f"{KEY} is the key of HL_PRIVATE_KEY: approve another API wallet for the watchdog")
    return signer


def _end_by_signal(stack: ExitStack, stop: threading.Event) -> None:
    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        stack.callback(signal.signal, number, signal.signal(number, on_signal))
