"""The market stream's frames, decoded from bytes straight into typed values, told apart by `channel`."""

from __future__ import annotations

from typing import Any

import msgspec

from perp_bot.core.errors import BadAnswer
from perp_bot.data.account_wire import WireFill, WireReport, WireStreamFunding
from perp_bot.data.wire import EpochMs, Price, WireBook, WireCandle, WireContext, WireTrade


class Mids(msgspec.Struct, frozen=True):
    """Mids of every coin."""

    mids: dict[str, Price]


class BestLevel(msgspec.Struct, frozen=True, gc=False):
    """Best price of one side."""

    px: Price
    sz: Price


class BestQuote(msgspec.Struct, frozen=True):
    """Best bid and ask; a side is None when it is empty."""

    coin: str
    time: EpochMs
    bbo: tuple[BestLevel | None, BestLevel | None]


class CoinContext(msgspec.Struct, frozen=True):
    """A coin's context; `time` is sent by the practice venue only."""

    coin: str
    ctx: WireContext
    time: EpochMs | None = None


class Acknowledged(msgspec.Struct, frozen=True):
    """What was subscribed, defaults filled in."""

    method: str
    subscription: dict[str, Any]


class PracticeTime(msgspec.Struct, frozen=True):
    """The practice venue's clock; at `step` (speed None) the frame ends a batch."""

    time: EpochMs
    speed: float | None
    step: int


class AllMidsFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="allMids"):
    """Channel allMids."""

    data: Mids


class BookFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="l2Book"):
    """Channel l2Book."""

    data: WireBook


class TradesFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="trades"):
    """Channel trades."""

    data: tuple[WireTrade, ...]


class CandleFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="candle"):
    """Channel candle: the open candle, again and again."""

    data: WireCandle


class BboFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="bbo"):
    """Channel bbo."""

    data: BestQuote


class ContextFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="activeAssetCtx"):
    """Channel activeAssetCtx."""

    data: CoinContext


class SubscribedFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="subscriptionResponse"):
    """Channel subscriptionResponse."""

    data: Acknowledged


class PongFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="pong"):
    """Channel pong."""


class ErrorFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="error"):
    """Channel error."""

    data: str


class PracticeClockFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="practiceClock"):
    """Channel practiceClock (the practice venue only)."""

    data: PracticeTime


class FillsOfUser(msgspec.Struct, frozen=True):
    """Fills of an account; the first message of a subscription is a snapshot."""

    user: str
    fills: tuple[WireFill, ...]
    isSnapshot: bool = False  # noqa: N815 - the venue's key


class FundingsOfUser(msgspec.Struct, frozen=True):
    """Funding of an account."""

    user: str
    fundings: tuple[WireStreamFunding, ...]
    isSnapshot: bool = False  # noqa: N815


class OrderUpdatesFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="orderUpdates"):
    """Channel orderUpdates: no snapshot, not after a reconnect either."""

    data: tuple[WireReport, ...]


class UserFillsFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="userFills"):
    """Channel userFills."""

    data: FillsOfUser


class UserFundingsFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="userFundings"):
    """Channel userFundings."""

    data: FundingsOfUser


Frame = (
    AllMidsFrame
    | BookFrame
    | TradesFrame
    | CandleFrame
    | BboFrame
    | ContextFrame
    | SubscribedFrame
    | PongFrame
    | ErrorFrame
    | PracticeClockFrame
    | OrderUpdatesFrame
    | UserFillsFrame
    | UserFundingsFrame
)

_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame, strict=False)


class UnknownChannel(BadAnswer):
    """The frame is of a channel that we do not read; harmless."""


def decode(payload: bytes | memoryview) -> Frame:
    """Return the typed frame of one socket message.

    Raises:
        UnknownChannel: when the channel is none of ours.
        BadAnswer: when the payload is not JSON, or a field is missing, mistyped or not a finite number.
    """
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        if text.startswith("Invalid value") and text.endswith("`$.channel`"):
            raise UnknownChannel(f"unknown channel: {text}") from None
        raise BadAnswer(f"unreadable market frame: {text}; it begins {bytes(payload[:80])!r}") from None
