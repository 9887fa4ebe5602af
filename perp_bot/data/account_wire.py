"""The venue's shapes of accounts, orders and fills, and the exact values they become. Sizes and money are Decimals."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from perp_bot.core.types import Liquidity, OrderSide
from perp_bot.core.venue_account import (
    OrderReport,
    RestingOrder,
    VenueAccount,
    VenueFill,
    VenueFunding,
    VenuePosition,
)
from perp_bot.data.wire import EpochMs

_SIDES = {"B": OrderSide.BUY, "A": OrderSide.SELL}
_USD = "USDC"

SideLetter = Literal["A", "B"]
Oid = Annotated[int, msgspec.Meta(ge=0)]


class _Margin(msgspec.Struct, frozen=True):
    accountValue: Decimal  # noqa: N815 - the venue's keys
    totalRawUsd: Decimal  # noqa: N815


class _Leverage(msgspec.Struct, frozen=True):
    type: str
    value: int


class _Held(msgspec.Struct, frozen=True):
    coin: str
    szi: Decimal
    unrealizedPnl: Decimal  # noqa: N815
    entryPx: Decimal | None = None  # noqa: N815
    liquidationPx: Decimal | None = None  # noqa: N815
    leverage: _Leverage | None = None


class _AssetPosition(msgspec.Struct, frozen=True):
    position: _Held


class WireAccount(msgspec.Struct, frozen=True):
    """clearinghouseState."""

    marginSummary: _Margin  # noqa: N815
    withdrawable: Decimal
    assetPositions: tuple[_AssetPosition, ...]  # noqa: N815
    time: EpochMs = 0


class WireChild(msgspec.Struct, frozen=True):
    """A stop or target that waits for its parent."""

    oid: Oid


class WireOrder(msgspec.Struct, frozen=True):
    """An order of frontendOpenOrders and orderStatus, or the shorter one of orderUpdates."""

    coin: str
    side: SideLetter
    limitPx: Decimal  # noqa: N815
    sz: Decimal
    oid: Oid
    timestamp: EpochMs
    origSz: Decimal  # noqa: N815
    cloid: str | None = None
    reduceOnly: bool = False  # noqa: N815
    isTrigger: bool = False  # noqa: N815
    triggerPx: Decimal | None = None  # noqa: N815
    orderType: str = ""  # noqa: N815
    children: tuple[WireChild, ...] = ()


class WireReport(msgspec.Struct, frozen=True):
    """An order with what became of it."""

    order: WireOrder
    status: str
    statusTimestamp: EpochMs  # noqa: N815


class WireOrderStatus(msgspec.Struct, frozen=True):
    """orderStatus: `unknownOid`, or an order."""

    status: str
    order: WireReport | None = None


class WireFill(msgspec.Struct, frozen=True):
    """A row of userFills."""

    coin: str
    px: Decimal
    sz: Decimal
    side: SideLetter
    time: EpochMs
    startPosition: Decimal  # noqa: N815
    dir: str
    closedPnl: Decimal  # noqa: N815
    oid: Oid
    crossed: bool
    fee: Decimal
    tid: int
    feeToken: str = _USD  # noqa: N815
    cloid: str | None = None
    builderFee: Decimal | None = None  # noqa: N815
    liquidation: Any = None


class _FundingDelta(msgspec.Struct, frozen=True):
    coin: str
    usdc: Decimal
    szi: Decimal
    fundingRate: Decimal  # noqa: N815


class WireUserFunding(msgspec.Struct, frozen=True):
    """A row of userFunding."""

    time: EpochMs
    delta: _FundingDelta


class WireStreamFunding(msgspec.Struct, frozen=True):
    """A row of channel userFundings."""

    time: EpochMs
    coin: str
    usdc: Decimal
    szi: Decimal
    fundingRate: Decimal  # noqa: N815


class WireRole(msgspec.Struct, frozen=True):
    """userRole: user, agent (of `data.user`), vault, subAccount, missing."""

    role: str
    data: dict[str, Any] | None = None


class WireAgent(msgspec.Struct, frozen=True):
    """An API wallet of an account."""

    name: str
    address: str
    validUntil: EpochMs | None = None  # noqa: N815


class WireAssetData(msgspec.Struct, frozen=True):
    """activeAssetData: leverage and room of one coin."""

    leverage: _Leverage
    availableToTrade: tuple[Decimal, Decimal]  # noqa: N815 - buy, sell; USD of margin


class _SpotBalance(msgspec.Struct, frozen=True):
    coin: str
    total: Decimal


class WireSpot(msgspec.Struct, frozen=True):
    """spotClearinghouseState."""

    balances: tuple[_SpotBalance, ...] = ()

    @property
    def usd(self) -> Decimal:
        """The USDC in it, held or free."""
        return sum((row.total for row in self.balances if row.coin == _USD), Decimal(0))


def account_of(row: WireAccount) -> VenueAccount:
    """Return clearinghouseState as a VenueAccount; positions of size 0 are none."""
    positions = tuple(
        VenuePosition(
            held.coin,
            held.szi,
            held.entryPx,
            held.unrealizedPnl,
            held.liquidationPx,
            None if held.leverage is None else held.leverage.value,
            None if held.leverage is None else held.leverage.type == "cross",
        )
        for held in (entry.position for entry in row.assetPositions)
        if held.szi != 0
    )
    summary = row.marginSummary
    return VenueAccount(row.time, summary.accountValue, summary.totalRawUsd, row.withdrawable, positions)


def resting_of(row: WireOrder) -> RestingOrder:
    """Return an open order."""
    return RestingOrder(
        oid=row.oid,
        cloid=row.cloid,
        symbol=row.coin,
        side=_SIDES[row.side],
        px=row.limitPx,
        left=row.sz,
        size=row.origSz,
        reduce_only=row.reduceOnly,
        trigger_px=row.triggerPx if row.isTrigger else None,
        is_stop=row.isTrigger and row.orderType.startswith("Stop"),
        placed_ms=row.timestamp,
    )


def report_of(row: WireReport) -> OrderReport:
    """Return what became of an order."""
    order = row.order
    return OrderReport(order.oid, order.cloid, order.coin, row.status, order.sz, order.origSz, row.statusTimestamp)


def fill_of(row: WireFill) -> VenueFill:
    """Return a fill of ours."""
    return VenueFill(
        symbol=row.coin,
        side=_SIDES[row.side],
        px=row.px,
        size=row.sz,
        fee_usd=row.fee,
        closed_pnl_usd=row.closedPnl,
        at_ms=row.time,
        oid=row.oid,
        cloid=row.cloid,
        tid=row.tid,
        liquidity=Liquidity.TAKER if row.crossed else Liquidity.MAKER,
        signed_before=row.startPosition,
        direction=row.dir,
        fee_token=row.feeToken,
        is_liquidation=row.liquidation is not None,
        builder_fee_usd=row.builderFee,
    )


def funding_of(row: WireStreamFunding) -> VenueFunding:
    """Return a funding payment of the stream."""
    return VenueFunding(row.coin, row.time, row.usdc, row.szi, row.fundingRate)


def funding_row_of(row: WireUserFunding) -> VenueFunding:
    """Return a funding payment of a read."""
    delta = row.delta
    return VenueFunding(delta.coin, row.time, delta.usdc, delta.szi, delta.fundingRate)
