"""Which market a database belongs to: candles, decisions and positions of two venues must never mix."""

from __future__ import annotations

from perp_bot.config.venues import BASE_URLS, PRACTICE
from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import MINUTE_MS, iso
from perp_bot.data.answers import VenueStatus
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import StateRow

KEY = "venue_identity"


def venue_identity(base_url: str, status: VenueStatus) -> str:
    """Return the market behind an address: mainnet, testnet, an address, or one run of a practice venue.

    A practice venue at the same address is another market when its seed differs or its prices lie elsewhere in time
    (at speed 1 a new market is moved to the hour of its start; a restart continues it).
    """
    if status.practice is not None:
        return f"{PRACTICE} (seed {status.practice.seed}, prices from {status.practice.origin_ms})"
    names = {url: name for name, url in BASE_URLS.items()}
    return names.get(base_url, base_url)


def claim(reader: Reader, identity: str, now_ms: int) -> StateRow | None:
    """Return the row that gives an unclaimed database to `identity`; None when it is its own already.

    Raises:
        StoreError: when the database belongs to another market.
    """
    stored = reader.state(KEY)
    if stored is None:
        return StateRow(KEY, identity, now_ms)
    if stored != identity:
        which = " (or delete it: it holds practice only)" if str(stored).startswith(PRACTICE) else ""
        raise StoreError(
            f"this database belongs to {stored}, the venue is {identity}: two markets do not mix in one database; "
            f"set another data.db_path, or move the file away{which}"
        )
    return None


def refuse_earlier(handled_ms: int, now_ms: int) -> None:
    """Raise StoreError when the venue's clock is behind what the database has handled."""
    if handled_ms - now_ms <= MINUTE_MS:
        return
    raise StoreError(
        f"this database has handled the venue's time up to {iso(handled_ms)}, the venue says {iso(now_ms)}: "
        "a practice venue that began again needs another data.db_path (or move the file away, or use --start)"
    )
