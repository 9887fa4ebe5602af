"""Verdicts on this machine and its folder: clock, disk, second instance, kill, alerts. Pure: facts in, verdicts out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perp_bot.data.answers import VenueStatus
from perp_bot.data.venue_watch import SKEW_WARN_MS
from perp_bot.execution.live.nonces import MAX_AHEAD_MS
from perp_bot.ops.alert_channels import Delivery
from perp_bot.trading.doctor.verdict import Verdict, failure, ok, skipped, warning

DISK_WARN_BYTES = 10**9
DISK_FAIL_BYTES = 10**8


@dataclass(frozen=True, slots=True)
class Lock:
    """Who holds a lock, as text (`pid 7`); None: nobody. `problem`: it cannot be asked."""

    who: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KillFacts:
    """The latch file's sentence and the stored kill's; `problem`: the database cannot be asked."""

    latch: str | None = None
    stored: str | None = None
    problem: str = ""


def clock_skew(status: VenueStatus, to_wall_ms: float | None) -> Verdict:
    """Say how far the venue's clock is from this machine's; a practice venue of another speed has its own time."""
    name = "clock skew"
    if to_wall_ms is None:
        speed = None if status.practice is None else status.practice.speed
        pace = "is stepped" if speed is None else f"runs at {speed:g} times the wall's speed"
        return skipped(name, f"the practice venue {pace}")
    text = f"the venue is {round(to_wall_ms / 1000, 1) + 0.0:+.1f} s from this machine"
    fix = "set this machine's clock (NTP)"
    if abs(to_wall_ms) >= MAX_AHEAD_MS:
        return failure(name, f"{text}: nonces come from it, and the venue refuses them a day off", fix)
    if abs(to_wall_ms) > SKEW_WARN_MS:
        return warning(name, f"{text}, more than {SKEW_WARN_MS / 1000:g} s", fix)
    return ok(name, text)


def disk(folder: Path, free_bytes: int | None, *, is_writable: bool) -> Verdict:
    """Say whether the folder of the database takes what trading writes; `free_bytes` None: it cannot be asked."""
    name = "disk"
    if not is_writable:
        return failure(name, f"{folder} is not writable by this user", "set data.db_path to a folder that is")
    if free_bytes is None:
        return failure(name, f"the free space of {folder} cannot be asked", "look at the disk")
    text = f"{free_bytes / 1e9:,.1f} GB free in {folder}"
    if free_bytes < DISK_FAIL_BYTES:
        return failure(name, f"{free_bytes / 1e6:,.0f} MB free in {folder}: a full disk stops entries", "free space")
    return ok(name, text) if free_bytes >= DISK_WARN_BYTES else warning(name, text, "free space")


def second_instance(daemon: Lock, signer: Lock, signer_address: str | None) -> Verdict:
    """Say who works on this database and with this key; a daemon of our own is no fault."""
    name = "second instance"
    for lock in (daemon, signer):
        if lock.problem:
            return failure(name, lock.problem, "make the lock file readable by this user")
    if signer.who is not None and signer.who != daemon.who:
        text = f"another perpbot ({signer.who}) signs with the key of {signer_address}, for another database"
        return failure(name, text, "stop it, or take the key of another API wallet: one key, one process")
    if daemon.who is None:
        return ok(name, "no daemon runs on this database" + ("" if signer_address is None else ", or with this key"))
    return ok(name, f"a daemon runs ({daemon.who})" + (" and signs with this key" if signer.who is not None else ""))


def kill_latch(facts: KillFacts) -> Verdict:
    """Say whether a kill forbids entries: the file or the stored one, either latches."""
    name = "kill latch"
    if facts.latch is not None or facts.stored is not None:
        text = facts.latch or f"the database remembers a kill: {facts.stored}"
        return warning(name, f"{text}; nothing adds exposure", "with the daemon running: perpbot unkill")
    if facts.problem:
        return warning(name, f"no latch file; whether a kill is stored is not known: {facts.problem}", "see the text")
    return ok(name, "not latched")


def alerts(looks: tuple[tuple[str, Delivery], ...], setup_problems: tuple[str, ...]) -> Verdict:
    """Say whether anybody would be told; each look asked a channel without sending anything."""
    name = "alerts"
    if not looks and not setup_problems:
        fix = "set DISCORD_WEBHOOK_URL, or TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, in .env"
        return warning(name, "none configured: nobody is told what happens", fix)
    broken = [f"{channel}: {delivery.problem}" for channel, delivery in looks if not delivery.is_delivered]
    if broken:
        return failure(name, "; ".join((*broken, *setup_problems)), "put the channel's own address and ids into .env")
    if setup_problems:
        return warning(name, "; ".join(setup_problems), "complete or remove it in .env")
    return ok(name, f"{' and '.join(channel for channel, _ in looks)} would take a message (none was sent)")
