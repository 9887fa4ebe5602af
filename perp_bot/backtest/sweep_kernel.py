"""Many parameter sets over the same candidates, in one compiled loop."""

from __future__ import annotations

import numpy as np

from perp_bot.backtest import account_kernel
from perp_bot.backtest.account_rules import admit
from perp_bot.backtest.compiled import research_kernel

simulate = research_kernel(account_kernel.simulate)


def sweep(  # type: ignore[no-untyped-def]
    first_ms, step_ms, begin, end,
    open_, high, low, close, trigger_low, trigger_high,
    fine_step_ms, fine_per_bar, fine_open, fine_high, fine_low, fine_trigger_low, fine_trigger_high, fine_whole,
    first_hour_ms, rates, oracles,
    instruments, tier_bound, tier_rate, tier_deducted,
    regimes, size_factors, entries_allowed,
    exit_bits,
    candidate_bar, candidate_symbol, candidate_side, candidate_values, candidate_stop, candidate_target,
    limits, limits_row, settings,
    memory, no_trades, no_curve, counts, sums,
):  # fmt: skip
    """Run every row of `settings` with its row of `limits`; fill `counts` and `sums`, one row each.

    What one row of limits admits is listed once for all that follow each other with it.
    """
    admitted = np.empty(len(candidate_bar), np.int64)
    entries = 0
    for point in range(len(settings)):
        row = limits_row[point]
        if point == 0 or row != limits_row[point - 1]:
            entries = admit(candidate_bar, candidate_side, candidate_values, regimes, limits[row], admitted)
        simulate(
            first_ms, step_ms, begin, end,
            open_, high, low, close, trigger_low, trigger_high,
            fine_step_ms, fine_per_bar, fine_open, fine_high, fine_low, fine_trigger_low, fine_trigger_high, fine_whole,
            first_hour_ms, rates, oracles,
            instruments, tier_bound, tier_rate, tier_deducted,
            regimes, size_factors, entries_allowed,
            exit_bits,
            candidate_bar, candidate_symbol, candidate_side, candidate_stop, candidate_target, admitted[:entries],
            settings[point],
            memory, no_trades, no_curve, no_curve, counts[point], sums[point],
        )  # fmt: skip
