"""Where each pane stands, for a size and a view. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

PANES = ("positions", "orders", "trades", "signals", "decisions", "risk", "events", "log")
OVERVIEW = "overview"
OFFLINE = "offline"
VIEWS = (OVERVIEW, *PANES)
LABELS = {
    "overview": "Overview",
    "positions": "Positions",
    "orders": "Orders",
    "trades": "Trades",
    "signals": "Signals",
    "decisions": "Decisions",
    "risk": "Risk",
    "events": "Events",
    "log": "Log",
}
SHORT_LABELS = {
    "overview": "All",
    "positions": "Pos",
    "orders": "Ord",
    "trades": "Trades",
    "signals": "Signals",
    "decisions": "Decis",
    "risk": "Risk",
    "events": "Events",
    "log": "Log",
}

CARD_WIDTH = 60
CARD_HEIGHT = 12


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of cells."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The screen: where everything stands. A pane that is not named is hidden."""

    header: Box
    panes: dict[str, Box]
    tabs: Box | None
    footer: Box
    strip: Box | None = None  # alerts
    outcome: Box | None = None
    is_card: bool = False
    header_lines: int = 3
    order: tuple[str, ...] = field(default=())  # panes in the order of tab


@dataclass(frozen=True, slots=True)
class Wants:
    """What the layout depends on besides the size."""

    view: str = OVERVIEW
    is_offline: bool = False
    alerts: int = 0  # lines of the alert strip
    has_outcome: bool = False
    positions: int = 0
    limits: int = 7
    coins: int = 2


def alert_lines(height: int) -> int:
    """Return how many lines the alert strip may take."""
    return 1 if height < 24 else 2 if height < 34 else 3


def arrange(width: int, height: int, wants: Wants) -> Arrangement:
    """Return the arrangement for a terminal of `width` x `height` cells; it never refuses."""
    if width < CARD_WIDTH or height < CARD_HEIGHT:
        footer = Box(0, max(0, height - 1), width, 1 if height > 1 else 0)
        card = Box(0, 0, width, max(0, height - footer.height))
        return Arrangement(card, {}, None, footer, is_card=True, header_lines=card.height)
    header_lines = 1 if height < 20 or width < 80 else 2 if height < 24 else 3
    top = header_lines
    strip = outcome = None
    if wants.alerts:
        strip, top = Box(0, top, width, wants.alerts), top + wants.alerts
    bottom = height - 1
    footer = Box(0, bottom, width, 1)
    if wants.has_outcome:
        bottom -= 1
        outcome = Box(0, bottom, width, 1)
    is_narrow = width < 100 or height < 28
    tabs = None
    if is_narrow or wants.view != OVERVIEW:
        tabs, top = Box(0, top, width, 1), top + 1
    body = Box(0, top, width, max(1, bottom - top))
    panes = _body(body, wants, is_narrow=is_narrow)
    return Arrangement(
        Box(0, 0, width, header_lines),
        panes,
        tabs,
        footer,
        strip,
        outcome,
        header_lines=header_lines,
        order=tuple(panes),
    )


def _body(body: Box, wants: Wants, *, is_narrow: bool) -> dict[str, Box]:
    if wants.view != OVERVIEW:
        return {wants.view: body}
    if wants.is_offline:
        return _offline(body, is_narrow=is_narrow)
    if is_narrow:
        return _narrow(body, wants)
    return _wide(body, wants)


def _offline(body: Box, *, is_narrow: bool) -> dict[str, Box]:
    if is_narrow:
        log = max(3, body.height // 4)
        return _stack(body, [(OFFLINE, body.height - log), ("log", log)])
    log = max(6, body.height // 4)
    middle = max(5, body.height // 5)
    rows = _split_rows(body, [body.height - log - middle, middle, log])
    return {OFFLINE: rows[0], **_columns(rows[1], ["trades", "events"], [1, 1]), "log": rows[2]}


def _narrow(body: Box, wants: Wants) -> dict[str, Box]:
    """Positions, signals and risk above each other; the rest by tab."""
    risk = min(wants.limits + 1, body.height // 2)
    positions = min(2 + max(1, wants.positions), max(3, body.height // 4))
    signals = body.height - risk - positions
    if signals < 3:
        return (
            {"positions": body} if body.height < 6 else _stack(body, [("positions", 3), ("signals", body.height - 3)])
        )
    return _stack(body, [("positions", positions), ("signals", signals), ("risk", risk)])


def _wide(body: Box, wants: Wants) -> dict[str, Box]:
    is_full = body.width >= 150
    has_decisions = body.width >= 180  # narrower, their reasons would be cut off
    positions = min(2 + max(1, wants.positions), max(4, body.height // 4))
    signals_need = 8 * wants.coins + 1
    rest = body.height - positions
    if rest < 20:
        middle = max(8, rest - 7)
        rows = _split_rows(body, [positions, middle, body.height - positions - middle])
        return {"positions": rows[0], **_columns(rows[1], ["signals", "risk"], [11, 10]), "log": rows[2]}
    middle = max(9, min(max(signals_need, 2 * wants.limits + 1), rest - 12))
    lower = max(6, (rest - middle) // 2)
    log = rest - middle - lower
    rows = _split_rows(body, [positions, middle, lower, log])
    if is_full:
        middle_panes = (
            _columns(rows[1], ["signals", "risk", "decisions"], [9, 7, 8])
            if has_decisions
            else _columns(rows[1], ["signals", "risk"], [11, 10])
        )
        return {
            **_columns(rows[0], ["positions", "orders"], [13, 7]),
            **middle_panes,
            **_columns(rows[2], ["trades", "events"], [1, 1]),
            "log": rows[3],
        }
    return {
        "positions": rows[0],
        **_columns(rows[1], ["signals", "risk"], [11, 10]),
        **_columns(rows[2], ["trades", "events"], [1, 1]),
        "log": rows[3],
    }


def _stack(body: Box, parts: list[tuple[str, int]]) -> dict[str, Box]:
    boxes = _split_rows(body, [height for _, height in parts])
    return {name: box for (name, _), box in zip(parts, boxes, strict=True) if box.height > 0}


def _split_rows(body: Box, heights: list[int]) -> list[Box]:
    boxes = []
    y = body.y
    for height in heights:
        kept = max(0, min(height, body.y + body.height - y))
        boxes.append(Box(body.x, y, body.width, kept))
        y += kept
    return boxes


def _columns(body: Box, names: list[str], shares: list[int]) -> dict[str, Box]:
    """Split a row; one empty column stands between two panes."""
    total = sum(shares)
    free = body.width - (len(names) - 1)
    boxes: dict[str, Box] = {}
    x = body.x
    for index, (name, part) in enumerate(zip(names, shares, strict=True)):
        width = free * part // total if index < len(names) - 1 else body.x + body.width - x
        boxes[name] = Box(x, body.y, width, body.height)
        x += width + 1
    return boxes
