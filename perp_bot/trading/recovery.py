"""Start where the last run ended: the desk rebuilt from the store, and what happened while nobody watched.

Positions and money are rebuilt from fills and funding alone; orders that were live go on; risk, pauses and latches
are read back. Hours and stops that fell into the downtime are made up for from the venue's candles, and said so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from perp_bot.config.model import Config
from perp_bot.core.errors import StoreError
from perp_bot.core.rounding import to_decimal
from perp_bot.core.types import (
    Fill,
    FundingPayment,
    Instrument,
    Order,
    Position,
)
from perp_bot.data.db.reader import Reader
from perp_bot.decision.delay import pending_from_json
from perp_bot.execution import funding, orders
from perp_bot.execution.account import Account
from perp_bot.execution.live.executor import LiveExecutor
from perp_bot.execution.paper import PaperExecutor
from perp_bot.execution.positions import StopRule
from perp_bot.risk import kill_switch
from perp_bot.risk.breakers import Breakers
from perp_bot.risk.limits import weekly_nets
from perp_bot.risk.manager import Pause
from perp_bot.risk.state import RiskState
from perp_bot.strategies.protocol import Strategy
from perp_bot.trading.desk import RECENT_DECISIONS, Desk, Totals, state_key, stop_rule_of
from perp_bot.trading.listed import Listed
from perp_bot.trading.live_account import LivePorts

LOG = logging.getLogger(__name__)

_ALL = 1_000_000_000


def rebuild(
    config: Config,
    strategy: Strategy,
    instruments: Callable[[], Mapping[str, Instrument]],
    kill_latch_path: Any,
    reader: Reader,
    *,
    force: bool,
    book_max_age_ms: int,
    live: LivePorts | None = None,
) -> Desk:
    """Return the desk as the stored rows of the config's mode leave it; `live` where that is live.

    Raises:
        StoreError: when stored state cannot be read or contradicts itself; nothing is guessed.
    """
    listed = Listed(instruments)
    rule = stop_rule_of(config, listed)
    source = config.mode
    stored_orders = [order for order in reader.orders(_ALL) if order.intent.source == source]
    fills = reader.fills(source)
    account = Account.rebuild(
        source,
        start_cash(config, reader) if live is None else live.start_cash,
        fills,
        _payments(reader, source),
        intents={order.intent.cloid: order.intent for order in stored_orders},
        stop_rule=rule,
    )
    stored_positions = reader.positions(source)
    _check_positions(account.positions, stored_positions)
    for stored in stored_positions:
        # A stop does not move because the settings changed while the daemon was down.
        if stored.stop_px is not None:
            account.set_stop(stored.symbol, stored.stop_px)
    executor: PaperExecutor | LiveExecutor
    if live is None:
        executor = PaperExecutor(config, source, _Instruments(listed), rule, book_max_age_ms)
        executor.restore(_live(stored_orders, fills), account.positions)
    else:
        executor = _live_executor(config, listed, rule, live, stored_orders, fills)
        executor.restore_positions(account.positions)
    desk = Desk(config, strategy, listed, kill_latch_path, account, executor, _risk(reader, source))
    desk.force = force
    desk.breakers = Breakers.from_json(reader.state(state_key("breakers", source)))
    desk.book_max_age_ms = book_max_age_ms
    latch = kill_switch.read(kill_latch_path)
    stored_kill = reader.state("kill")
    if latch is None and stored_kill is not None:
        # Either one latches: the file may have been lost with the folder, the operator has not lifted the kill.
        kill_switch.latch(kill_latch_path, who="the stored kill", reason=str(stored_kill), venue_ms=None)
        latch = kill_switch.read(kill_latch_path)
    desk.killed = None if latch is None else latch.text
    desk.pauses = tuple(Pause(row["scope"], row["name"], row["reason"]) for row in reader.state("pauses") or ())
    desk.pending = pending_from_json(reader.state(state_key("pending", source)) or ())
    desk.week_nets = weekly_nets(account.trades)
    desk.handled_ms = int(reader.state(state_key("handled_ms", source)) or 0)
    for due in reader.funding_due(source):
        desk.funding_due[(due.symbol, due.hour_ms)] = funding.FundingDue(
            due.symbol, due.hour_ms, Decimal(due.signed_size), Decimal(due.oracle_px), due.strategy, due.source
        )
    recent = reader.decisions(RECENT_DECISIONS * len(config.trading.symbols))
    for record in recent:
        desk.decided_ids.append(record.decision_id)
        desk.last_decisions[record.symbol] = record
    desk.totals = _totals(reader, source)
    return desk


def _check_positions(rebuilt: Iterable[Position], stored: Iterable[Position]) -> None:
    """Compare what the fills add up to with the stored positions: one transaction wrote both.

    Raises:
        StoreError: when they differ.
    """
    by_fills = {p.symbol: (p.signed_size, p.entry_px) for p in rebuilt}
    by_rows = {p.symbol: (p.signed_size, p.entry_px) for p in stored}
    for symbol in sorted(by_fills.keys() | by_rows.keys()):
        one, other = by_fills.get(symbol), by_rows.get(symbol)
        if one != other:
            raise StoreError(
                f"the stored fills of {symbol} add up to {_held(one)}, the stored position is {_held(other)}: "
                "rows were changed or lost; restore a backup of the database"
            )


def _held(found: tuple[Decimal, Decimal] | None) -> str:
    return "flat" if found is None else f"{found[0]} @ {found[1]:.8g}"


def start_cash(config: Config, reader: Reader) -> Decimal:
    """Return the cash the paper account began with: stored once, so that a changed config cannot change history."""
    stored = reader.state("start_cash")
    return to_decimal(config.trading.capital_usd) if stored is None else Decimal(str(stored))


def never_stored(emergencies: list[dict[str, Any]], reader: Reader) -> list[dict[str, Any]]:
    """Return the records of the emergency journal whose order the database does not know."""
    if not emergencies:
        return []
    known = {order.intent.cloid for order in reader.orders(_ALL)}
    return [record for record in emergencies if record["cloid"] not in known]


class _Instruments(Mapping[str, Instrument]):
    """The venue's coins as a mapping that follows their refresh."""

    def __init__(self, current: Callable[[], Mapping[str, Instrument]]) -> None:
        self._current = current

    def __getitem__(self, symbol: str) -> Instrument:
        return self._current()[symbol]

    def __iter__(self) -> Any:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())


def _live_executor(
    config: Config, listed: Listed, rule: StopRule, live: LivePorts, stored: list[Order], fills: list[Fill]
) -> LiveExecutor:
    """Return the executor of real orders with every stored order, brought up to its stored fills."""
    executor = LiveExecutor(
        config, _Instruments(listed), rule, live.port, entry_valid_ms=live.entry_valid_ms, baseline_ms=live.baseline_ms
    )
    known = [order if order.intent.cloid.startswith("venue:") else orders.settled(order, fills) for order in stored]
    known.sort(key=lambda order: (order.intent.created_ms, order.intent.cloid))
    executor.restore(known, (fill.fill_id for fill in fills), max((fill.venue_ms for fill in fills), default=0))
    return executor


def _payments(reader: Reader, source: str) -> list[FundingPayment]:
    return [payment for payment in reader.funding_payments(source) if payment.usd is not None]


def _live(stored: Iterable[Order], fills: list[Fill]) -> list[Order]:
    """Return orders that can still fill, oldest first, brought up to their stored fills."""
    live = [orders.settled(order, fills) for order in stored if order.is_live]
    return sorted((o for o in live if o.is_live), key=lambda o: (o.intent.created_ms, o.intent.cloid))


def _risk(reader: Reader, source: str) -> RiskState:
    stored = reader.state(state_key("risk", source))
    if stored is None:
        return RiskState()
    if not isinstance(stored, dict):
        raise StoreError("stored risk state is damaged; restore a backup of the database")
    return RiskState.from_json(stored)


def _totals(reader: Reader, source: str) -> Totals:
    stored = reader.state(state_key("totals", source)) or {}
    return Totals(**{name: int(stored.get(name, 0)) for name in Totals().to_json()})
