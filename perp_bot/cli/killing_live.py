"""A kill in live mode without a daemon: straight to the venue, under the signer's lock.

The latch stands already. Entry orders are cancelled without a question, for that is the kill; closing positions shows
what it would do and asks. The database is not written: the next daemon books from the venue's fills.
"""

from __future__ import annotations

from contextlib import ExitStack
from threading import Event

import click

from perp_bot.cli.killing import KillOrder, KillOutcome
from perp_bot.cli.output import say
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.config.venues import base_url
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, PerpBotError, StoreError, VenueError
from perp_bot.core.types import Order
from perp_bot.core.venue_account import VenuePosition
from perp_bot.execution.live.access import Access, acting, reading
from perp_bot.execution.live.books import stored_books
from perp_bot.execution.live.direct import Direct, EntriesGone, Flatness, View, position_text
from perp_bot.execution.live.order_desk import EXPIRED_MARGIN_MS
from perp_bot.execution.live.protection import venue_coverage
from perp_bot.execution.live.signer import signer_of
from perp_bot.ipc.protocol import ControlResult
from perp_bot.trading.live_account import entry_valid_ms

_BOOKED = "the daemon books it from the venue's fills at its next start"
_POLL_S = 0.5
_PATIENCE_S = 10.0


def kill_at_venue(config: Config, paths: RuntimePaths, order: KillOrder, done: str) -> KillOutcome:
    """Cancel entry orders at the venue, and close there when asked.

    Args:
        config: the settings, in live mode.
        paths: of the daemon that is not there.
        order: what was asked for.
        done: what has been achieved already, as the outcome's text begins.
    """
    try:
        with ExitStack() as stack:
            access = stack.enter_context(reading(config, patience_s=_PATIENCE_S))
            signer = signer_of(config.secrets, base_url(config.venue))
            direct = stack.enter_context(acting(access, signer, paths.kill_latch))
            return _kill(access, direct, paths, order, done)
    except PerpBotError as error:
        wanted = "entry orders NOT cancelled, NOT flattened" if order.flatten else "entry orders NOT cancelled"
        return _outcome("killed", f"{done}; at the venue {wanted}: {error}", error.exit_code)


def _kill(access: Access, direct: Direct, paths: RuntimePaths, order: KillOrder, done: str) -> KillOutcome:
    gone = direct.cancel_entries()
    late = _late_entries(access, direct, paths)
    if late is not None:
        again = direct.cancel_entries()
        gone = EntriesGone(gone.gone + again.gone, again.left, again.trouble or late, again.view)
    text = f"{done}; {_entries_text(gone)}"
    if not order.flatten:
        text += _stays_text(gone.view)
        return _outcome("killed" if gone.is_certain else "unknown", text, EXIT_OK if gone.is_certain else EXIT_FAILURE)
    if order.strategy is not None:
        return _outcome(
            "killed",
            f"{text}; NOT flattened: the venue knows no strategies, so without a daemon use --symbol, or neither",
            EXIT_FAILURE,
        )
    try:
        refused = _refusal(direct, order)
    except VenueError as error:
        return _outcome("unknown", f"{text}; NOT flattened: the account cannot be read: {error}", error.exit_code)
    except click.Abort:
        refused = "interrupted"
    if refused:
        return _outcome("killed", f"{text}; NOT flattened: {refused}", EXIT_FAILURE)
    return _flatten(direct, order, text, gone)


def _flatten(direct: Direct, order: KillOrder, text: str, gone: EntriesGone) -> KillOutcome:
    say("closing at the venue; stops stay until it is flat")
    closing = direct.close(order.symbol)
    what = order.symbol or "the account"
    reasons = "; ".join(closing.reasons)
    if closing.flatness is Flatness.FLAT:
        text += f"; {what} is flat, read twice at the venue, and its stops are gone"
        text = f"{text}, but {reasons}" if reasons else text
    elif closing.flatness is Flatness.PARTLY_FLAT:
        text += f"; {what} is NOT flat: {reasons}; what is left keeps its stops"
    else:
        text += f"; whether {what} is flat is not known: {reasons}"
    if closing.orders_sent:
        text += f"; {_BOOKED}"
    is_certain = closing.is_certain and gone.is_certain
    status = closing.flatness.value if is_certain or closing.flatness is not Flatness.FLAT else "unknown"
    return _outcome(status, text, EXIT_OK if is_certain else EXIT_FAILURE)


def _refusal(direct: Direct, order: KillOrder) -> str:
    """Show what closing would do and ask; return why it is not done, nothing when it is."""
    held = direct.look().held(order.symbol)
    if not held:
        return ""  # nothing to confirm, but that it is flat has still to be read
    say(f"flatten would close at the venue, within 8 % of the best price: {', '.join(map(_closing_text, held))}")
    if order.yes:
        return ""
    if not order.can_ask:
        return "this is not a terminal, add --yes"
    return "" if click.confirm("Do it?", default=False, err=True) else "you said no"


# ------------------------------------------------------------ what a dead daemon may have sent


def _late_entries(access: Access, direct: Direct, paths: RuntimePaths) -> str | None:
    """Wait until no entry that a daemon sent before it ended can be taken any more.

    Returns None where there was none to wait for, else what stands against certainty, or nothing.
    """
    try:
        books = stored_books(paths.db)
    except StoreError as error:
        return f"whether the daemon had sent an entry is not known: {error}"
    valid_ms = entry_valid_ms(access.clock.speed) + EXPIRED_MARGIN_MS
    orders = books.entries_under_way(access.clock.now_ms(), valid_ms)
    if not orders:
        return None
    until_ms = max(order.intent.created_ms for order in orders) + valid_ms
    if not access.clock.stepped:
        say("an entry of the daemon that ended may still be under way; waiting until the venue cannot take it any more")
        while (left_s := access.clock.wall_seconds_until(until_ms)) and left_s > 0:
            Event().wait(min(left_s, _POLL_S))
        return ""
    return _asked_for(access, orders)


def _asked_for(access: Access, orders: tuple[Order, ...]) -> str:
    """Ask for orders at a venue whose time stands still."""
    try:
        lost = [o.intent for o in orders if access.reads.order(o.intent.cloid) is None]
    except VenueError as error:
        return f"an entry of the daemon that ended may still be under way: {error}"
    if not lost:
        return ""
    one = lost[0]
    return f"{one.side} {one.size} {one.symbol} of the daemon that ended may still be under way"


# ------------------------------------------------------------ texts


def _entries_text(gone: EntriesGone) -> str:
    if gone.is_certain:
        return f"at the venue no entry order rests ({gone.gone} cancelled)"
    left = f"{len(gone.left)} still rest: " if gone.left else ""
    return f"whether all entry orders are gone is NOT certain: {left}{gone.trouble}"


def _stays_text(view: View | None) -> str:
    held = () if view is None else view.held(None)
    if view is None or not held:
        return ""
    covered = ", ".join(f"{position_text(p)} ({venue_coverage(p, view.orders):.0%} under a stop)" for p in held)
    return f"; positions stay, and what protects them: {covered}"


def _closing_text(position: VenuePosition) -> str:
    size = abs(position.signed_size)
    return f"{position.side.closing} {size} {position.symbol} ({position.unrealized_usd:+,.2f} USD open)"


def _outcome(status: str, text: str, exit_code: int) -> KillOutcome:
    return KillOutcome(ControlResult(status, text), exit_code)
