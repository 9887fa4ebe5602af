"""Show how the stored books and the venue differ, and do about it what was asked for."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import click

from perp_bot.cli.output import put, put_json, say
from perp_bot.cli.places import make_folder
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.config.venues import base_url
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, UsageError
from perp_bot.core.timeframes import iso
from perp_bot.core.venue_account import VenueFill
from perp_bot.data.account_reads import FILLS_BEFORE_MS
from perp_bot.execution.live import arming
from perp_bot.execution.live.access import Access, acting, reading
from perp_bot.execution.live.books import Books, stored_books
from perp_bot.execution.live.direct import Direct, Flatness, View
from perp_bot.execution.live.plan import Do, Plan, Step, plan
from perp_bot.execution.live.signer import signer_of
from perp_bot.ipc.heartbeat import living_daemon
from perp_bot.ops.instance_lock import InstanceLock


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was taken; `trouble` says why it is not certain that it was done."""

    step: Step
    trouble: str = ""


def run(config: Config, *, apply: bool, yes: bool, as_json: bool) -> int:
    """Show the plan, take its steps when asked, and return the exit code: 0 when all is well, 1 when not.

    Raises:
        UsageError: the mode is not live, or nobody can be asked.
        ConfigError, DaemonBusy, StoreError, VenueError: in one line.
    """
    if config.mode != "live":
        where = config.source_path or "the settings"
        raise UsageError(f"reconcile compares live books with the venue; {where} says mode: {config.mode}")
    if apply and not yes and not sys.stdin.isatty():
        raise UsageError("reconcile --apply asks before it acts, and this is not a terminal: add --yes")
    paths = RuntimePaths(config.data.db_path)
    with reading(config) as access:
        pid = living_daemon(paths)
        books = stored_books(paths.db)
        found = _planned(config, access, books, _looked(access))
        if not as_json:
            _show(found, books, pid)
        done = _applied(config, paths, access, found, yes=yes, pid=pid) if apply else None
        after = found if done is None else _planned(config, access, stored_books(paths.db), _looked(access))
    if as_json:
        put_json(_json(found, books, pid, done))
    elif done is not None:
        for item in done:
            put(f"done: {item.step.text}" if not item.trouble else f"NOT done: {item.step.text}: {item.trouble}")
    if done is None:
        return EXIT_OK if found.is_well else EXIT_FAILURE
    is_done = not any(item.trouble for item in done) and not after.steps and not after.left
    return EXIT_OK if is_done else EXIT_FAILURE


def _looked(access: Access) -> View:
    """Read positions and open orders together."""
    orders = tuple(order for order in access.reads.open_orders() if order.symbol in access.instruments)
    return View(access.reads.account(), orders)


def _planned(config: Config, access: Access, books: Books, view: View) -> Plan:
    until_ms = books.booked_until_ms
    fills = () if until_ms is None else access.reads.fills_since(until_ms - FILLS_BEFORE_MS)
    return plan(config, books, view, fills, access.instruments)


def _applied(
    config: Config, paths: RuntimePaths, access: Access, shown: Plan, *, yes: bool, pid: int | None
) -> list[Done] | None:
    """Take the steps under both locks, if they are still the ones that were shown."""
    if pid is not None:
        say(f"nothing applied: a daemon lives (pid {pid}); it reconciles by itself, and `perpbot status` says how")
        return None
    if not shown.steps:
        return []
    if not yes and not click.confirm("Do it?", default=False, err=True):
        say("nothing applied: you said no")
        return None
    make_folder(config, paths)
    with ExitStack() as stack:
        stack.enter_context(InstanceLock(paths.lock))
        signer = signer_of(config.secrets, base_url(config.venue))
        direct = stack.enter_context(acting(access, signer, paths.kill_latch))
        now = _planned(config, access, stored_books(paths.db), direct.look())
        if [step.text for step in now.steps] != [step.text for step in shown.steps]:
            say("nothing applied: it has changed meanwhile; look again")
            return None
        return [_take(direct, step) for step in now.steps]


def _take(direct: Direct, step: Step) -> Done:
    if step.do is Do.PLACE_STOP:
        assert step.bare is not None
        px, why = arming.arm(direct, step.bare)
        return Done(step, why if px is None else "")
    if step.do is Do.CLOSE:
        closing = direct.close(step.symbol)
        return Done(step, "" if closing.flatness is Flatness.FLAT else "; ".join(closing.reasons))
    assert step.oid is not None
    return Done(step, direct.cancel(step.oid))


# ------------------------------------------------------------ words


def _show(found: Plan, books: Books, pid: int | None) -> None:
    until = "never traded live" if books.booked_until_ms is None else f"booked until {iso(books.booked_until_ms)}"
    daemon = "no daemon runs" if pid is None else f"a daemon lives (pid {pid}): its books may be ahead of the stored"
    say(f"the stored books ({until}) against the venue; {daemon}")
    for fill in found.fills:
        put(f"not booked yet: {_fill_text(fill)}")
    for item in found.found:
        put(f"{item.difference.kind}: {item.difference.text}: {item.outlook}")
    for text in found.left:
        put(f"left as it is: {text}")
    for step in found.steps:
        put(f"--apply would {step.text}")
    if found.is_well:
        put("books and venue agree, and every position is protected")


def _fill_text(fill: VenueFill) -> str:
    return f"{iso(fill.at_ms)} {fill.side} {fill.size} {fill.symbol} @ {fill.px} ({fill.direction})"


def _json(found: Plan, books: Books, pid: int | None, done: list[Done] | None) -> dict[str, Any]:
    return {
        "daemon_pid": pid,
        "booked_until_ms": books.booked_until_ms,
        "fills_not_booked": [_fill_text(fill) for fill in found.fills],
        "differences": [
            {
                "kind": item.difference.kind,
                "symbol": item.difference.symbol,
                "text": item.difference.text,
                "oid": item.difference.oid,
                "cloid": item.difference.cloid,
                "outlook": item.outlook,
            }
            for item in found.found
        ],
        "left": list(found.left),
        "steps": [{"do": step.do, "symbol": step.symbol, "text": step.text} for step in found.steps],
        "applied": None
        if done is None
        else [{"do": d.step.do, "symbol": d.step.symbol, "text": d.step.text, "trouble": d.trouble} for d in done],
    }
