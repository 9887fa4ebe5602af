"""The address's budget of actions: what is left, for how long, and when entries stop."""

from __future__ import annotations

from perp_bot.core.timeframes import DAY_MS
from perp_bot.risk.action_budget import ActionBudget

NOW = 1_700_000_000_000


def test_what_is_left_and_for_how_many_days() -> None:
    """A hundred actions in a tenth of a day with 9,000 left: nine days."""
    budget = ActionBudget()
    assert (budget.left, budget.days_left, budget.trouble(500)) == (None, None, None)
    budget.take(900, 10_000, NOW)
    assert (budget.left, budget.days_left) == (9_100, None)
    budget.take(1_000, 10_000, NOW + DAY_MS // 10)
    assert budget.left == 9_000
    assert budget.days_left == 9.0


def test_no_days_while_volume_adds_more_than_is_used() -> None:
    """And none from a pace of a moment."""
    budget = ActionBudget()
    budget.take(900, 10_000, NOW)
    budget.take(950, 10_000, NOW + 60_000)
    assert budget.days_left is None
    budget.take(950, 20_000, NOW + DAY_MS)
    assert budget.days_left is None


def test_entries_stop_below_the_floor() -> None:
    """At the floor they go on."""
    budget = ActionBudget()
    budget.take(9_500, 10_000, NOW)
    assert budget.trouble(500) is None
    budget.take(9_501, 10_000, NOW)
    assert budget.trouble(500) == "499 actions are left of the address's budget, entries stop below 500"
