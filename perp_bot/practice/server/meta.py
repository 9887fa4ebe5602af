"""What the venue says about its coins: rules, margin tables, a small spot universe, no builder dexs."""

from __future__ import annotations

from typing import Any

from perp_bot.practice.market.coins import MARGIN_TABLES
from perp_bot.practice.market.market import Market

Json = dict[str, Any]


def meta(market: Market, at_ms: int) -> Json:
    """Return the perp universe with its margin tables."""
    universe: list[Json] = []
    for coin in market.specs:
        entry: Json = {
            "szDecimals": coin.sz_decimals,
            "name": coin.name,
            "maxLeverage": coin.max_leverage,
            "marginTableId": coin.margin_table_id,
        }
        if market.is_delisted(coin, at_ms):
            entry["isDelisted"] = True
        universe.append(entry)
    tables = [
        [
            table_id,
            {
                "description": description,
                "marginTiers": [{"lowerBound": bound, "maxLeverage": leverage} for bound, leverage in tiers],
            },
        ]
        for table_id, description, tiers in MARGIN_TABLES
    ]
    return {"universe": universe, "marginTables": tables, "collateralToken": 0}


def spot_meta() -> Json:
    """Return a spot universe of one pair, as recorded: the SDK reads it while it is constructed."""
    return {
        "universe": [{"tokens": [1, 0], "name": "PURR/USDC", "index": 0, "isCanonical": True}],
        "tokens": [
            _token("USDC", 8, 8, 0, "0x6d1e7cde53ba9467b783cb7c530ce054"),
            _token("PURR", 0, 5, 1, "0xc1fb593aeffbeb02f85e0308e9956a90"),
        ],
    }


def _token(name: str, sz_decimals: int, wei_decimals: int, index: int, token_id: str) -> Json:
    return {
        "name": name,
        "szDecimals": sz_decimals,
        "weiDecimals": wei_decimals,
        "index": index,
        "tokenId": token_id,
        "isCanonical": True,
        "evmContract": None,
        "fullName": None,
        "deployerTradingFeeShare": "0.0",
    }
