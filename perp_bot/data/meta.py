"""The venue's rules of its coins, kept for research: as the daemon or a backfill stored them, else as bundled."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import iso
from perp_bot.core.types import Instrument, MarginTier
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import StateRow

KEY = "meta"


def meta_row(instruments: Iterable[Instrument], now_ms: int) -> StateRow:
    """Return the row that stores what the venue's meta says at `now_ms`."""
    coins = [
        [
            item.symbol,
            item.sz_decimals,
            item.max_leverage,
            item.is_delisted,
            [[tier.lower_bound_usd, tier.max_leverage] for tier in item.margin_tiers],
        ]
        for item in instruments
    ]
    return StateRow(KEY, {"at_ms": now_ms, "coins": coins}, now_ms)


def stored_instruments(db_path: Path) -> tuple[dict[str, Instrument], str]:
    """Return the instruments by symbol, and where they come from ("stored 2026-11-27", "bundled recording ...")."""
    with Reader(db_path) as reader:
        stored = reader.state(KEY)
    if stored is None:
        return bundled_instruments()
    try:
        return {coin[0]: _instrument(place, *coin) for place, coin in enumerate(stored["coins"])}, (
            f"stored {iso(int(stored['at_ms']))[:10]}"
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StoreError(
            f"{db_path}: the stored meta cannot be read ({error!r}); run `perpbot backfill` again"
        ) from error


def bundled_instruments() -> tuple[dict[str, Instrument], str]:
    """Return the recorded mainnet meta that ships with the package (see its ATTRIBUTION)."""
    recorded = json.loads((files("perp_bot.data") / "recorded" / "meta.json").read_text(encoding="utf-8"))
    tables = dict(recorded["margin_tables"])
    found = {
        name: _instrument(place, name, sz_decimals, leverage, bool(is_delisted), tables.get(table, []))
        for place, (name, sz_decimals, leverage, table, is_delisted) in enumerate(recorded["universe"])
    }
    return found, str(recorded["source"])


def _instrument(
    place: int, name: str, sz_decimals: int, leverage: int, is_delisted: bool, tiers: list[list[Any]]
) -> Instrument:
    margin = tuple(MarginTier(float(bound), int(most)) for bound, most in tiers)
    return Instrument(name, place, int(sz_decimals), int(leverage), bool(is_delisted), margin_tiers=margin)
