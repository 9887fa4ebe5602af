"""What is done for an account that nobody trades any more: stops first, then entries; closing by policy alone.

No stop is ever cancelled here. Everything may be done again and again: what is well is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import StoreError, VenueError
from perp_bot.core.types import Instrument
from perp_bot.execution.live.arming import arm, bare_positions, liquidation_note
from perp_bot.execution.live.books import Books, stored_books
from perp_bot.execution.live.direct import Direct, Flatness, View, position_text
from perp_bot.execution.live.protection import venue_coverage
from perp_bot.risk import kill_switch


@dataclass(frozen=True, slots=True)
class Rescued:
    """What was done, and what is not as it should be; nothing of the latter: the account is safe."""

    did: tuple[str, ...]
    trouble: tuple[str, ...]

    @property
    def is_safe(self) -> bool:
        """Whether every position is wholly under resting stops and no entry rests (flat, where that was asked for)."""
        return not self.trouble


class Rescuer:
    """Acts for one account with the watchdog's key."""

    def __init__(
        self,
        direct: Direct,
        config: Config,
        paths: RuntimePaths,
        coins: Callable[[], Mapping[str, Instrument]],
        *,
        flatten: bool,
    ) -> None:
        """`coins` are the venue's, as they are now; `flatten` is the policy."""
        self._direct = direct
        self._config = config
        self._paths = paths
        self._coins = coins
        self._flatten = flatten

    def rescue(self, why: str) -> Rescued:
        """Protect every position, cancel entries, and close where the policy says so; `why` goes into the latch."""
        did: list[str] = []
        trouble: list[str] = []
        try:
            books = stored_books(self._paths.db)
        except StoreError as error:
            did.append(f"the stored stops cannot be read, capital stops take their place: {error}")
            books = Books()
        try:
            self._protect(self._direct.look(), books, did)
            entries = self._direct.cancel_entries()
            if entries.gone:
                did.append(f"cancelled {entries.gone} entry orders")
            if not entries.is_certain:
                left = f"{len(entries.left)} still rest; " if entries.left else ""
                trouble.append(f"entry orders are not certainly gone: {left}{entries.trouble}")
            if self._flatten:
                self._close(why, did, trouble)
            # Once more, whatever has happened: an entry may have filled, a cancelled parent takes its stops along.
            trouble += self._protect(self._direct.look(), books, did)
        except VenueError as error:
            trouble.append(f"the venue cannot be read: {error}")
        return Rescued(tuple(did), tuple(trouble))

    def _protect(self, view: View, books: Books, did: list[str]) -> list[str]:
        """Place missing stops; return what is still bare, and why."""
        bare = bare_positions(view.held(None), view.orders, books=books, config=self._config, instruments=self._coins())
        still = []
        for item in bare:
            px, why = arm(self._direct, item)
            if px is None:
                still.append(f"{item.text}: {why}")
            else:
                did.append(
                    f"armed a stop of {position_text(item.position)} at {px} ({item.coverage:.0%} was covered)"
                    f"{liquidation_note(item.position, px)}"
                )
        return still

    def _close(self, why: str, did: list[str], trouble: list[str]) -> None:
        try:
            if kill_switch.latch(
                self._paths.kill_latch, who=f"perpbot watchdog, pid {os.getpid()}", reason=why, venue_ms=None
            ):
                did.append(f"killed: latched at {self._paths.kill_latch}")
        except StoreError as error:
            trouble.append(str(error))
        closing = self._direct.close(keep_stops=True)
        if closing.orders_sent:
            did.append(f"sent {closing.orders_sent} closing orders")
        if closing.flatness is not Flatness.FLAT:
            trouble.append("; ".join(closing.reasons))


def account_text(view: View) -> str:
    """Return the account in a few words: positions with their coverage, entry orders."""
    held = ", ".join(f"{position_text(p)} {_covered(p.symbol, view):.0%} under a stop" for p in view.held(None))
    return f"{held or 'flat'}; {len(view.entries(None))} entry orders"


def bare_text(view: View) -> str:
    """Return the positions that resting stops do not wholly cover, in words; nothing where there are none."""
    bare = [p for p in view.held(None) if _covered(p.symbol, view) < 1]
    return ", ".join(f"{position_text(p)} {_covered(p.symbol, view):.0%} under a stop" for p in bare)


def _covered(symbol: str, view: View) -> float:
    return float(next(venue_coverage(position, view.orders) for position in view.held(symbol)))
