"""The perpetuals of the practice venue and what each of them is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CoinSpec:
    """One perpetual. Rules (decimals, leverage, table) are the recorded meta's; the rest shapes the generated market.

    `source` names the recorded coin; `base_px` is None for that coin itself. A derived coin's price is
    base_px x (source price / the source's first open) ^ beta, and its volume is `volume_share` of the source's in USD.
    """

    name: str
    sz_decimals: int
    max_leverage: int
    margin_table_id: int
    source: str
    base_px: float | None = None
    beta: float = 1.0
    volume_share: float = 1.0
    is_delisted: bool = False
    trades_per_minute: float = 30.0
    premium_scale: float = 1.0
    open_interest: float = 0.0  # coins
    impact_usd: float = 6_000.0  # notional of the venue's impact prices: 20,000 for BTC and ETH, 6,000 else
    level_usd: float = 50_000.0  # typical notional of one book level

    @property
    def px_decimals(self) -> int:
        """Decimals of the finest price unit."""
        return 6 - self.sz_decimals

    @property
    def label(self) -> str:
        """Say where the prices come from."""
        if self.is_delisted:
            return "delisted, last recorded price"
        if self.base_px is None:
            return "recorded 1h anchors, generated below"
        return f"derived from {self.source} 1h anchors (beta {self.beta:g}), generated below"


COINS: tuple[CoinSpec, ...] = (
    CoinSpec(
        "BTC",
        5,
        40,
        56,
        "BTC",
        trades_per_minute=40.0,
        open_interest=27_000.0,
        impact_usd=20_000.0,
        level_usd=180_000.0,
    ),
    CoinSpec(
        "ETH",
        4,
        25,
        55,
        "ETH",
        trades_per_minute=35.0,
        premium_scale=1.2,
        open_interest=620_000.0,
        impact_usd=20_000.0,
        level_usd=120_000.0,
    ),
    CoinSpec("MATIC", 1, 20, 20, "ETH", base_px=0.37621, is_delisted=True),
    CoinSpec(
        "SOL",
        2,
        20,
        54,
        "ETH",
        base_px=124.5,
        beta=1.1,
        volume_share=0.4,
        trades_per_minute=25.0,
        premium_scale=1.5,
        open_interest=4_100_000.0,
    ),
    CoinSpec(
        "XRP",
        0,
        20,
        53,
        "ETH",
        base_px=1.87,
        beta=1.05,
        volume_share=0.1,
        trades_per_minute=20.0,
        premium_scale=1.7,
        open_interest=47_000_000.0,
        level_usd=30_000.0,
    ),
    CoinSpec(
        "DOGE",
        0,
        10,
        52,
        "BTC",
        base_px=0.1234,
        beta=1.4,
        volume_share=0.03,
        trades_per_minute=15.0,
        premium_scale=2.0,
        open_interest=190_000_000.0,
        level_usd=20_000.0,
    ),
)
INDEX: dict[str, int] = {coin.name: index for index, coin in enumerate(COINS)}

MARGIN_TABLES: tuple[tuple[int, str, tuple[tuple[str, int], ...]], ...] = (
    (50, "", (("0.0", 50),)),
    (51, "tiered 10x", (("0.0", 10), ("3000000.0", 5))),
    (52, "tiered 10x (2)", (("0.0", 10), ("20000000.0", 5))),
    (53, "tiered 20x", (("0.0", 20), ("40000000.0", 10))),
    (54, "tiered 20x (2)", (("0.0", 20), ("70000000.0", 10))),
    (55, "tiered 25x", (("0.0", 25), ("100000000.0", 15))),
    (56, "tiered 40x", (("0.0", 40), ("150000000.0", 20))),
)
"""Margin tables as recorded; an id below 50 means a single tier of that leverage."""
