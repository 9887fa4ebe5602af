"""Books against the venue's account, again and again: when to read it, what differs, what stops entries."""

from __future__ import annotations

from collections.abc import Iterable

from perp_bot.config.model import Config
from perp_bot.core.account_events import AccountRead
from perp_bot.core.types import Order, OrderState, Position
from perp_bot.core.venue_account import VenueAccount
from perp_bot.execution.live import reconcile
from perp_bot.execution.live.reconcile import Difference, Drift
from perp_bot.execution.live.voice import Voice

READ_EVERY_S = 60.0
READ_AGAIN_S, READ_AGAIN_MAX_S = 1.0, 7.0  # never in step with orders that are tried again every 5 s
_BLOCKING = frozenset(Drift) - {Drift.FOREIGN_ORDER, Drift.PRICE, Drift.LEVERAGE}  # entries of every coin
_GRAVE = _BLOCKING | {Drift.LEVERAGE}  # which stops those of its own coin alone
_OF_POSITIONS = frozenset({Drift.PHANTOM, Drift.ORPHAN, Drift.SIDE, Drift.SIZE})
_RESTS = (OrderState.OPEN, OrderState.PARTLY_FILLED)

_Key = tuple[str, str, int | None, str | None]


class AccountWatch:
    """Takes reads of the account. A difference counts when two reads in a row have it."""

    def __init__(self, config: Config, voice: Voice) -> None:
        self._coins = config.trading.symbols
        self._leverage = config.trading.leverage
        self._voice = voice
        self._next_read_s = 0.0  # monotonic
        self._moving_reads = 0  # in a row
        self._suspects: frozenset[_Key] = frozenset()
        self.account: VenueAccount | None = None
        self.reads = 0  # answered ones, for who has to see something twice
        self.drift: tuple[Difference, ...] = ()
        self.failure: str | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether the account should be read now."""
        return now_s >= self._next_read_s

    def asked(self, now_s: float) -> None:
        """Note that it was asked for."""
        self._next_read_s = now_s + READ_EVERY_S

    def read_again(self, now_s: float) -> None:
        """Ask for it again soon."""
        self._next_read_s = min(self._next_read_s, now_s + READ_AGAIN_S)

    def failed(self, text: str, now_s: float) -> None:
        """Take a read that failed: no entry is made on an account that cannot be seen."""
        self.failure = f"the account cannot be read: {text}"
        self.read_again(now_s + READ_AGAIN_S)

    @property
    def differs(self) -> bool:
        """Whether a difference that matters was seen twice."""
        return any(item.kind in _BLOCKING for item in self.drift)

    def trouble(self) -> str | None:
        """Return why no entry may be made; None when books and account agree and can be compared."""
        grave = [item.text for item in self.drift if item.kind in _BLOCKING]
        return "books and venue differ: " + "; ".join(grave) if grave else self.failure

    def coin_troubles(self) -> dict[str, str]:
        """Return why no entry of a coin may be made, by coin: its position has another leverage."""
        return {item.symbol: item.text for item in self.drift if item.kind is Drift.LEVERAGE}

    def take(
        self,
        event: AccountRead,
        positions: Iterable[Position],
        orders: Iterable[Order],
        *,
        is_moving: bool,
        now_s: float,
    ) -> tuple[str, ...] | None:
        """Compare; return the client order ids that have to be asked for, None when nothing can be said yet.

        `is_moving`: something is under way that the venue may have done and we have not booked.
        """
        self.account, self.failure = event.account, None
        self.reads += 1
        if is_moving:
            # Longer each time: an outcome that stays unknown for minutes must not use up the weight budget.
            distance_s = min(READ_AGAIN_MAX_S, READ_AGAIN_S * 2 ** min(self._moving_reads, 4))
            self._moving_reads += 1
            self._next_read_s = min(self._next_read_s, now_s + distance_s)
            return None
        self._moving_reads = 0
        found = reconcile.differences(
            event.account,
            event.orders,
            positions=positions,
            orders=[order for order in orders if order.state in _RESTS],
            leverage=dict.fromkeys(self._coins, self._leverage),
        )
        keys = frozenset(_key(item) for item in found)
        confirmed = tuple(item for item in found if _key(item) in self._suspects)
        if len(confirmed) != len(found):
            self.read_again(now_s)
        self._suspects = keys
        self._tell(confirmed)
        lost = (Drift.MISSING_STOP, Drift.LOST_ORDER)
        return tuple(item.cloid for item in found if item.kind in lost and item.cloid is not None)

    @property
    def has_suspects(self) -> bool:
        """Whether the last read showed a difference."""
        return bool(self._suspects)

    @property
    def position_differs(self) -> bool:
        """Whether two reads have shown a position that is not as in the books."""
        return any(item.kind in _OF_POSITIONS for item in self.drift)

    def _tell(self, confirmed: tuple[Difference, ...]) -> None:
        """Tell new differences in one batch, and their end."""
        before = {_key(item) for item in self.drift}
        new = [item for item in confirmed if _key(item) not in before]
        if new:
            text = "; ".join(f"{item.kind.value}: {item.text}" for item in new)
            self._voice.tell("DRIFT", text, None, grave=any(item.kind in _GRAVE for item in new))
        elif self.drift and not confirmed:
            self._voice.tell("DRIFT", "books and venue agree again", None)
        self.drift = confirmed


def _key(item: Difference) -> _Key:
    return item.kind.value, item.symbol, item.oid, item.cloid
