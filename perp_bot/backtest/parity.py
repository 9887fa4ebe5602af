"""A session beside the free backtest of the same days: trades matched, every difference named or counted.

Trades are matched by deciding candle, coin and side. A missed or extra one names the first event that split the
paths. The net of a matched one is taken apart, each part by its own formula; what they do not explain is the
remainder, and it is printed.

With n the size, d the side, e and x the entry and exit price, of the session (1) and the backtest (0):
gross 1 - gross 0 = n0 d (x1 - x0) - n0 d (e1 - e0) + (n1 - n0) d (x1 - e1).

Where the session's books were recorded, its prices, fees and funding are those that the recorded inputs explain
(`price_parts`), not those of its rows, and the price differences are told apart: reference, spread, latency, slippage,
and what the backtest's own fills from candles add to the reference (`model`). Elsewhere they are `entry` and `exit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from perp_bot.backtest.price_parts import ExplainedTrade, PriceParts
from perp_bot.backtest.results import SimulatedTrade
from perp_bot.core.timeframes import iso
from perp_bot.core.types import Action, ClosedTrade, DecisionRecord

PARTS = ("entry", "exit", "reference", "spread", "latency", "slippage", "model", "size", "fees", "funding")
Explained = Mapping[str, ExplainedTrade]  # by trade id


@dataclass(frozen=True, slots=True)
class MatchedTrade:
    """A trade that both made; every number is session minus backtest, USD."""

    symbol: str
    side: str
    decided_ms: int
    net_usd: float
    parts: dict[str, float]
    exit_reasons: tuple[str, str]  # the session's, the backtest's

    @property
    def remainder_usd(self) -> float:
        """What the parts do not explain."""
        return self.net_usd - sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class LoneTrade:
    """A trade that only one of them made, and the first event that split the paths."""

    symbol: str
    side: str
    decided_ms: int
    net_usd: float
    split: str


@dataclass(frozen=True, slots=True)
class Parity:
    """What came of the comparison."""

    matched: tuple[MatchedTrade, ...]
    missed: tuple[LoneTrade, ...]  # the session made it, the backtest did not
    extra: tuple[LoneTrade, ...]  # the other way round

    @property
    def remainder_usd(self) -> float:
        """The largest remainder of a matched trade, by amount."""
        return max((trade.remainder_usd for trade in self.matched), key=abs, default=0.0)


def compare_trades(
    session: Sequence[ClosedTrade],
    simulated: Sequence[SimulatedTrade],
    stored: Sequence[DecisionRecord],
    journal: Sequence[DecisionRecord],
    explained: Explained | None = None,
    explained_simulated: Sequence[ExplainedTrade | None] = (),
) -> Parity:
    """Match the trades of a session with those of its backtest; the decisions of both name what split them.

    `explained` are the session's trades as its recorded inputs explain them; `explained_simulated` the backtest's, in
    the order of `simulated`, where it ran on the recorded market.
    """
    ours = explained or {}
    theirs_explained = {
        _key(trade.symbol, trade.side, trade.decided_ms): found
        for trade, found in zip(simulated, explained_simulated, strict=False)
    }
    mine = {_key(trade.symbol, str(trade.side), _decided_ms(trade)): trade for trade in session}
    theirs = {_key(trade.symbol, trade.side, trade.decided_ms): trade for trade in simulated}
    splits = _Splits(stored, journal, session, simulated)
    matched = tuple(
        _matched(mine[key], theirs[key], ours.get(mine[key].trade_id), theirs_explained.get(key))
        for key in sorted(mine.keys() & theirs.keys(), key=_in_time)
    )
    missed = tuple(
        LoneTrade(key[0], key[1], key[2], float(mine[key].net_usd), splits.before(key[2]))
        for key in sorted(mine.keys() - theirs.keys(), key=_in_time)
    )
    extra = tuple(
        LoneTrade(key[0], key[1], key[2], theirs[key].net_usd, splits.before(key[2]))
        for key in sorted(theirs.keys() - mine.keys(), key=_in_time)
    )
    return Parity(matched, missed, extra)


def trades_until(
    session: Sequence[ClosedTrade], simulated: Sequence[SimulatedTrade], until_ms: int
) -> list[ClosedTrade]:
    """Return the session's trades that a backtest which ended early could have finished, or did."""
    made = {_key(trade.symbol, trade.side, trade.decided_ms) for trade in simulated}
    return [
        trade
        for trade in session
        if trade.closed_ms <= until_ms or _key(trade.symbol, str(trade.side), _decided_ms(trade)) in made
    ]


Key = tuple[str, str, int]


def _key(symbol: str, side: str, decided_ms: int) -> Key:
    return symbol, side, decided_ms


def _in_time(key: Key) -> tuple[int, str, str]:
    return key[2], key[0], key[1]


def _decided_ms(trade: ClosedTrade) -> int:
    """Return the close that decided an entry: the last part of the decision's id."""
    return int(trade.entry_decision_id.rpartition(":")[2])


def _matched(
    session: ClosedTrade,
    simulated: SimulatedTrade,
    ours: ExplainedTrade | None,
    theirs: ExplainedTrade | None,
) -> MatchedTrade:
    parts = _by_rows(session, simulated) if ours is None else _by_inputs(session, simulated, ours, theirs)
    return MatchedTrade(
        session.symbol,
        str(session.side),
        simulated.decided_ms,
        float(session.net_usd) - simulated.net_usd,
        parts,
        (session.exit_reason, simulated.exit_reason),
    )


def _by_rows(session: ClosedTrade, simulated: SimulatedTrade) -> dict[str, float]:
    d = session.side.sign
    n1, e1, x1 = float(session.size), float(session.entry_px), float(session.exit_px)
    n0, e0, x0 = simulated.size, simulated.entry_px, simulated.exit_px
    return {
        "entry": -n0 * d * (e1 - e0),
        "exit": n0 * d * (x1 - x0),
        "size": (n1 - n0) * d * (x1 - e1),
        "fees": -(float(session.fees_usd) - simulated.fees_usd),
        "funding": float(session.funding_usd) - simulated.funding_usd,
    }


def _by_inputs(
    session: ClosedTrade, simulated: SimulatedTrade, ours: ExplainedTrade, theirs: ExplainedTrade | None
) -> dict[str, float]:
    d, n1, n0 = session.side.sign, session.size, Decimal(repr(simulated.size))
    sums = dict.fromkeys(("reference", "spread", "latency", "slippage", "model"), Decimal(0))
    sides = (
        (-n0 * d, ours.entry, None if theirs is None else theirs.entry, simulated.entry_px),
        (n0 * d, ours.exit, None if theirs is None else theirs.exit, simulated.exit_px),
    )
    for factor, mine, its, its_px in sides:
        own = Decimal(0) if its is not None else Decimal(repr(its_px)) - mine.reference_px
        other = its or PriceParts(mine.reference_px, Decimal(0), Decimal(0), Decimal(0), Decimal(0))
        sums["reference"] += factor * (mine.reference_px - other.reference_px)
        sums["spread"] += factor * (mine.spread - other.spread)
        sums["latency"] += factor * (mine.latency - other.latency)
        sums["slippage"] += factor * (mine.slippage - other.slippage)
        sums["model"] -= factor * own
    found = {name: float(amount) for name, amount in sums.items()}
    found["size"] = float((n1 - n0) * d * (ours.exit.px - ours.entry.px))
    found["fees"] = -(float(ours.entry.fees_usd + ours.exit.fees_usd) - simulated.fees_usd)
    found["funding"] = float(ours.funding_usd) - simulated.funding_usd
    return found


class _Splits:
    """Finds the first event at which the two paths differ."""

    def __init__(
        self,
        stored: Iterable[DecisionRecord],
        journal: Iterable[DecisionRecord],
        session: Iterable[ClosedTrade],
        simulated: Iterable[SimulatedTrade],
    ) -> None:
        mine = {(row.close_ms, row.symbol): row for row in stored}
        theirs = {(row.close_ms, row.symbol): row for row in journal}
        found: list[tuple[int, str]] = []
        for key in sorted(mine.keys() | theirs.keys()):
            text = _difference(mine.get(key), theirs.get(key))
            if text is not None:
                found.append((key[0], f"{iso(key[0])} {key[1]}: {text}"))
        by_entry = {_key(t.symbol, t.side, t.decided_ms): t for t in simulated}
        for trade in session:
            other = by_entry.get(_key(trade.symbol, str(trade.side), _decided_ms(trade)))
            if other is not None and other.exit_reason != trade.exit_reason:
                at_ms = min(trade.closed_ms, other.closed_ms)
                text = (
                    f"{iso(at_ms)} {trade.symbol}: the session left by {trade.exit_reason} at "
                    f"{iso(trade.closed_ms)}, the backtest by {other.exit_reason} at {iso(other.closed_ms)}"
                )
                found.append((at_ms, text))
        self._found = sorted(found)

    def before(self, at_ms: int) -> str:
        """Return the first difference up to a close; what is known when there is none."""
        for when, text in self._found:
            if when <= at_ms:
                return text
        return "the decisions are the same: it did not fill, or is still open"


def _difference(mine: DecisionRecord | None, theirs: DecisionRecord | None) -> str | None:
    """Return how two decisions of one close differ, None when they come to the same."""
    if mine is None or theirs is None:
        return "the session decided nothing here" if mine is None else "the backtest decided nothing here"
    if (mine.action, mine.side) == (theirs.action, theirs.side):
        return None
    return f"the session {_told(mine)}, the backtest {_told(theirs)}"


def _told(row: DecisionRecord) -> str:
    if row.action is Action.BLOCKED:
        return f"was kept from {row.side} by {', '.join(sorted({reason.rule for reason in row.blocked_by}))}"
    side = "" if row.side is None else f" {row.side}"
    return f"said {row.action}{side} ({row.reason})"
