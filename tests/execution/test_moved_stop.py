"""A stop that was moved: one order throughout, never farther away again, with the reason that is true."""

from __future__ import annotations

import pytest
from execution_builders import CONFIG, INSTRUMENTS, T0, D, book, fill, intent, mark, stop_rule, trade

from perp_bot.core.types import Order, OrderRole, OrderSide, Position
from perp_bot.execution.account import Account
from perp_bot.execution.executor import OrderFilled
from perp_bot.execution.paper import PaperExecutor
from perp_bot.execution.positions import after_fill


def half_filled() -> PaperExecutor:
    """A limit entry of 1 at 100, half of it filled: the stop of the rule is at 80 (10 USD over 0.5)."""
    paper = PaperExecutor(CONFIG, "paper", INSTRUMENTS, stop_rule)
    paper.submit(intent(size="1", expires_ms=T0 + 10_000_000), T0)
    paper.on_trades([trade(1_000, 99.0, 0.5)])
    paper.drain()
    assert stop_of(paper) == (D(80), "capital_stop")
    return paper


def stop_of(paper: PaperExecutor) -> tuple[object, str]:
    order = the_stop(paper)
    assert [float(order.intent.trigger_px or 0)] == [position.stop_px for position in paper.positions]
    return order.intent.trigger_px, order.intent.reason


def the_stop(paper: PaperExecutor) -> Order:
    (order,) = [order for order in paper.live_orders if order.intent.role is OrderRole.STOP]
    return order


def test_a_fill_that_adds_leaves_a_nearer_moved_stop_where_it_is() -> None:
    """The rule's stop for the whole size is at 90; the strategy had moved it to 97; its size follows."""
    paper = half_filled()
    assert paper.move_stop("BTC", 97.0, T0 + 2_000)
    paper.on_trades([trade(3_000, 99.0, 0.5)])
    paper.drain()
    assert stop_of(paper) == (D(97), "trailing_stop")
    assert the_stop(paper).intent.size == D(1)


def test_a_fill_that_adds_sets_the_rules_stop_where_that_is_nearer() -> None:
    """Moved to 85 only, the rule's 90 of the whole size is nearer: it is the capital's stop again, and says so."""
    paper = half_filled()
    assert paper.move_stop("BTC", 85.0, T0 + 2_000)
    paper.on_trades([trade(3_000, 99.0, 0.5)])
    paper.drain()
    assert stop_of(paper) == (D(90), "capital_stop")


@pytest.mark.parametrize("moved_to", [97.0, 85.0])
def test_books_and_paper_venue_agree_on_the_stop_after_every_fill(moved_to: float) -> None:
    """Two owners, one rule: the account's position has the stop of the venue's order."""
    paper, account = PaperExecutor(CONFIG, "paper", INSTRUMENTS, stop_rule), Account("paper", D(1_000), stop_rule)
    entry = intent(size="1", expires_ms=T0 + 10_000_000)
    paper.submit(entry, T0)
    for at, size in ((1_000, 0.4), (3_000, 0.3), (5_000, 0.3)):
        paper.on_trades([trade(at, 99.0, size)])
        for event in paper.drain():
            if isinstance(event, OrderFilled):
                account.apply_fill(event.fill, entry)
        assert account.positions == paper.positions
        if at == 1_000:
            assert paper.move_stop("BTC", moved_to, T0 + 2_000)
            account.set_stop("BTC", moved_to)


def test_a_stop_that_was_never_moved_follows_the_rule_both_ways() -> None:
    """A fill at a better price may set it farther from the market, as ever: only a strategy's move is kept."""
    rule = stop_rule
    first = after_fill(None, fill("a", OrderSide.BUY, "1", "100"), None, rule).position
    assert isinstance(first, Position)
    more = after_fill(first, fill("b", OrderSide.BUY, "0.1", "50"), None, rule).position
    assert isinstance(more, Position)
    assert more.stop_px == rule("BTC", more.side, more.entry_px, more.size, None)
    assert more.stop_px < (first.stop_px or 0)


def test_a_stop_that_fires_cannot_be_moved() -> None:
    """Triggered, it waits for a book; it stays as it fired."""
    paper = half_filled()
    paper.on_context([mark(2_000, 79.0)])
    assert not paper.move_stop("BTC", 97.0, T0 + 3_000)
    assert stop_of(paper) == (D(80), "capital_stop")
    paper.on_book(book(4_000, bid=80.0))
    assert [event.fill.reason for event in paper.drain() if isinstance(event, OrderFilled)] == ["capital_stop"]


def test_without_a_position_there_is_nothing_to_move() -> None:
    """It says so, and makes no order."""
    paper = PaperExecutor(CONFIG, "paper", INSTRUMENTS, stop_rule)
    assert not paper.move_stop("BTC", 97.0, T0)
    assert paper.live_orders == ()


def test_marks_up_to_the_move_do_not_fire_it() -> None:
    """The close that it was decided on may have been preceded by a mark beyond it; the next one counts."""
    paper = half_filled()
    assert paper.move_stop("BTC", 97.0, T0 + 2_000)
    paper.on_context([mark(2_000, 96.0)])
    paper.drain()
    assert the_stop(paper).note == ""
    paper.on_context([mark(2_001, 96.0)])
    paper.drain()
    assert the_stop(paper).note.startswith("triggered by mark 96")
