"""Where the panes stand: no overlap, nothing off screen, at every size and in every state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tui_launch import Launch

from perp_bot.tui.layout import LABELS, PANES, SHORT_LABELS, VIEWS, Arrangement, Box, Wants, arrange
from perp_bot.tui.panes.chrome import tabs


def boxes(found: Arrangement) -> list[Box]:
    """Return every rectangle of an arrangement."""
    fixed = [found.header, found.footer, found.tabs, found.strip, found.outcome]
    return [box for box in [*fixed, *found.panes.values()] if box is not None and box.width and box.height]


wants = st.builds(
    Wants,
    view=st.sampled_from(VIEWS),
    is_offline=st.booleans(),
    alerts=st.integers(0, 1),
    has_outcome=st.booleans(),
    positions=st.integers(0, 200),
    limits=st.integers(1, 12),
    coins=st.integers(1, 12),
)


@given(st.integers(1, 300), st.integers(1, 100), wants)
def test_no_two_boxes_overlap_and_none_leaves_the_screen(width: int, height: int, wanted: Wants) -> None:
    """The layout never refuses and never draws over itself."""
    cells: set[tuple[int, int]] = set()
    for box in boxes(arrange(width, height, wanted)):
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= width
        assert box.y + box.height <= height
        corners = {(x, y) for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)}
        assert not cells & corners
        cells |= corners


def test_at_120x40_everything_but_orders_and_decisions_is_on_screen() -> None:
    """Two columns."""
    assert set(arrange(120, 40, Wants()).panes) == {"positions", "signals", "risk", "trades", "events", "log"}


def test_at_200x50_every_pane_is_on_screen() -> None:
    """The full layout."""
    assert set(arrange(200, 50, Wants()).panes) == set(PANES)


def test_at_80x24_positions_signals_and_risk_share_the_screen_and_tabs_lead_to_the_rest() -> None:
    """The narrow layout: what matters first, the rest one key away."""
    found = arrange(80, 24, Wants(positions=1))
    assert set(found.panes) == {"positions", "signals", "risk"}
    assert found.tabs is not None
    assert arrange(80, 24, Wants(view="log")).panes["log"].height == 19


def test_below_60x12_only_a_status_card_is_left() -> None:
    """It degrades, it never refuses."""
    assert arrange(59, 40, Wants()).is_card
    assert arrange(120, 11, Wants()).is_card
    assert not arrange(60, 12, Wants()).is_card


def test_the_tab_line_fits_at_every_width_and_names_the_active_view() -> None:
    """Tabs are shortened before they are cut."""
    assert set(LABELS) == set(VIEWS) == set(SHORT_LABELS)
    assert tabs("risk", 80).text == "  1 All  2 Pos  3 Ord  4 Trades  5 Signals  6 Decis  7 Risk  8 Events  9 Log "
    for width in (60, 80, 120):
        assert len(tabs("log", width).text) <= width


def test_decisions_join_the_overview_only_where_their_reasons_can_be_read() -> None:
    """From 180 columns; before that they are one key away."""
    assert "decisions" not in arrange(160, 48, Wants()).panes
    assert "orders" in arrange(160, 48, Wants()).panes
    assert "decisions" in arrange(180, 48, Wants()).panes


async def test_a_tick_that_comes_while_the_app_closes_does_nothing(launch: Launch) -> None:
    """A timer may fire once more after the last screen is gone: leaving must not end in a traceback."""
    async with launch() as driver:
        pass
    assert driver.app.screen_stack == []
    driver.app._tick()
