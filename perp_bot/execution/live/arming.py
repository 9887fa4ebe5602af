"""Positions without a full stop, and the stop each of them gets: the stored one, else the capital's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.rounding import plain, to_decimal
from perp_bot.core.types import Instrument
from perp_bot.core.venue_account import RestingOrder, VenuePosition
from perp_bot.execution.live.books import Books
from perp_bot.execution.live.direct import Direct, position_text
from perp_bot.execution.live.protection import venue_coverage
from perp_bot.risk.sizing import instrument_stop_px, stop_beyond_liquidation


@dataclass(frozen=True, slots=True)
class Bare:
    """A position that resting stops cover less than wholly; `prices` are tried in their order."""

    position: VenuePosition
    coverage: Decimal
    prices: tuple[Decimal, ...]

    @property
    def text(self) -> str:
        """What is bare, in words."""
        return f"{position_text(self.position)}: {self.coverage:.0%} under a resting stop"


def bare_positions(
    held: Iterable[VenuePosition],
    resting: Iterable[RestingOrder],
    *,
    books: Books,
    config: Config,
    instruments: Mapping[str, Instrument],
) -> tuple[Bare, ...]:
    """Return the positions that resting stops do not wholly cover."""
    orders = tuple(resting)
    found = []
    for position in held:
        coverage = venue_coverage(position, orders)
        if coverage < 1:
            prices = stop_prices(position, books, config, instruments.get(position.symbol))
            found.append(Bare(position, coverage, prices))
    return tuple(found)


def stop_prices(
    position: VenuePosition, books: Books, config: Config, instrument: Instrument | None
) -> tuple[Decimal, ...]:
    """Return where the stop of a position may stand, the first choice first.

    The books' stop of that coin and side; then the capital stop, which the strategy's own may be nearer than, and
    which is all there is for a position that the books do not have.
    """
    side, found = position.side, []
    stored = books.position(position.symbol)
    if stored is not None and stored.side is side and stored.stop_px is not None:
        found.append(plain(to_decimal(stored.stop_px)))
    if instrument is not None and position.entry_px is not None:
        size = abs(position.signed_size)
        own = None if found else _own_stop(position, books)
        found.append(plain(to_decimal(instrument_stop_px(config, instrument, side, position.entry_px, size, own))))
    return tuple(dict.fromkeys(found))


def arm(direct: Direct, bare: Bare) -> tuple[Decimal | None, str]:
    """Rest a stop of the whole position at the first price that the venue takes; return it, or why there is none."""
    why = "there is no price to place a stop at"
    for px in bare.prices:
        refused = direct.arm(bare.position, px)
        if refused is None:
            return px, ""
        why = f"{refused.text} (stop at {px})"
        if not refused.is_passed:
            break  # asked for a reason that another price does not change
    return None, why


def liquidation_note(position: VenuePosition, px: Decimal) -> str:
    """Return a warning where the venue would liquidate the position before that stop, else nothing."""
    found = position.liquidation_px
    if found is None or not stop_beyond_liquidation(position.side, px, float(found)):
        return ""
    return f"; the venue liquidates it before, at {found}"


def _own_stop(position: VenuePosition, books: Books) -> float | None:
    """Return the strategy's stop of the entry that opened it, when the daemon ended before it had booked the fill."""
    side = position.side.opening
    wanted = (o.intent.stop_px for o in books.orders if o.intent.symbol == position.symbol and o.intent.side is side)
    return next((px for px in wanted if px is not None), None)
