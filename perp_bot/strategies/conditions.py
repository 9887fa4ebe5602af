"""Count what each entry condition removes: is a filter doing anything, or repeating another one?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perp_bot.strategies.protocol import Evaluation


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """How often the conditions held. `removed_alone[name]`: every other condition held and this one did not."""

    evaluations: int
    incomplete: int  # at least one input was missing: counted here and nowhere else
    all_held: int
    held: dict[str, int]
    removed_alone: dict[str, int]

    def lines(self) -> list[str]:
        """Return the report as text, one line a condition."""
        head = f"{self.evaluations} evaluations, {self.incomplete} incomplete, {self.all_held} with every condition met"
        rows = [
            f"{name}: held {self.held[name]} times, alone removed {self.removed_alone[name]} entries"
            for name in self.held
        ]
        return [head, *rows]


def condition_report(evaluations: Iterable[Evaluation]) -> ConditionReport:
    """Count, over `evaluations`, the entries that each condition alone removes.

    Worked example: {z yes, rsi no, adx yes} adds one to `removed_alone["rsi"]`; {z no, rsi no, adx yes} to none.
    """
    total = incomplete = all_held = 0
    held: dict[str, int] = {}
    removed: dict[str, int] = {}
    for evaluation in evaluations:
        total += 1
        conditions = evaluation.conditions
        for name in conditions:
            held.setdefault(name, 0)
            removed.setdefault(name, 0)
        if not conditions or None in conditions.values():
            incomplete += 1
            continue
        failed = [name for name, value in conditions.items() if not value]
        all_held += not failed
        for name, value in conditions.items():
            held[name] += bool(value)
        if len(failed) == 1:
            removed[failed[0]] += 1
    return ConditionReport(total, incomplete, all_held, held, removed)
