"""One stepped session looked at from outside after every minute: state over the socket, sums from the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rig import Rig
from sessions import Stretch, rig_of

from perp_bot.ipc.state import StateSnapshot


@dataclass(frozen=True, slots=True)
class Look:
    """The daemon's own words beside what the rows add up to, by arithmetic written here and nowhere else."""

    state: StateSnapshot
    db_cash_usd: Decimal
    db_sizes: dict[str, Decimal]  # signed, by symbol, flat ones left out
    db_stops: dict[str, list[tuple[str, Decimal, Decimal, str]]]  # symbol -> (side, left, trigger, state) of live stops

    @property
    def db_equity_usd(self) -> Decimal:
        """Cash and positions at the marks that the state shows."""
        marks = {row.symbol: Decimal(repr(row.mark_px)) for row in self.state.prices}
        return self.db_cash_usd + sum((size * marks[symbol] for symbol, size in self.db_sizes.items()), Decimal(0))


def look(rig: Rig, state: StateSnapshot) -> Look:
    """Read the database (everything up to `state` is on disk when a step is settled)."""
    cash = Decimal("670")  # trading.capital_usd
    sizes: dict[str, Decimal] = {}
    for symbol, side, px, size, fee in rig.rows("SELECT symbol, side, px, size, fee_usd FROM fills"):
        signed = Decimal(size) if side == "buy" else -Decimal(size)
        cash -= signed * Decimal(px) + Decimal(fee)
        sizes[symbol] = sizes.get(symbol, Decimal(0)) + signed
    for (usd,) in rig.rows("SELECT usd FROM funding_payments WHERE usd IS NOT NULL"):
        cash += Decimal(usd)
    stops: dict[str, list[tuple[str, Decimal, Decimal, str]]] = {}
    live = "SELECT symbol, side, size, filled, trigger_px, state FROM orders WHERE role = 'stop' AND state IN (?, ?)"
    for symbol, side, size, filled, trigger, order_state in rig.rows(live, "open", "partly_filled"):
        stops.setdefault(symbol, []).append((side, Decimal(size) - Decimal(filled), Decimal(trigger), order_state))
    return Look(state, cash, {symbol: size for symbol, size in sizes.items() if size}, stops)


@contextmanager
def watching(stretch: Stretch, folder: Path) -> Iterator[tuple[Rig, list[Look]]]:
    """Live through a stretch minute by minute, with a look after each; the daemon still runs afterwards."""
    with rig_of(stretch, folder) as rig:
        looks = [look(rig, rig.start())]
        for to, count in stretch.legs:
            looks += [look(rig, rig.step(to)) for _ in range(count)]
        yield rig, looks
