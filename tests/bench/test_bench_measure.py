"""What a measurement is."""

from __future__ import annotations

import getpass
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.bench.measure import Measurement, machine, percentile, summarize, timed
from perp_bot.core.errors import UsageError


def test_median_and_p95_of_times_are_those_of_the_samples() -> None:
    """Of 1..100 s the median is 50.5 and 95 % took no longer than 95, in ms."""
    found = summarize("loop", "pass", "ms", [float(second) for second in range(1, 101)], scale=1e3, detail="x")
    assert found == Measurement("loop", "pass", "ms", 100, 50_500.0, 95_000.0, "x")


def test_p95_of_a_rate_is_the_slow_end() -> None:
    """95 % of the rounds were at least this fast: of 1..100 a second that is 6."""
    found = summarize("ingest", "all", "messages/s", [float(rate) for rate in range(1, 101)])
    assert found.is_rate
    assert (found.median, found.p95) == (50.5, 6.0)


def test_a_figure_of_nothing_is_refused() -> None:
    """No sample, no number."""
    with pytest.raises(UsageError, match="at least one sample"):
        summarize("loop", "pass", "ms", [])


@given(st.lists(st.floats(0.0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_a_sample_that_enough_others_do_not_exceed(samples: list[float], share: float) -> None:
    """Nearest rank: it occurred, and at least `share` of the samples are at or below it."""
    found = percentile(samples, share)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples) - 1e-9


def test_timed_calls_as_often_as_told_and_counts_seconds() -> None:
    """Five calls, five samples, none negative."""
    calls: list[int] = []
    seconds = timed(lambda: calls.append(1), 5)
    assert (len(calls), len(seconds)) == (5, 5)
    assert min(seconds) >= 0.0


def test_the_machine_is_described_without_names() -> None:
    """Processor, cores and Python: no host, no user, no path."""
    text = json.dumps(machine())
    assert machine()["cores"] >= 1
    assert socket.gethostname() not in text
    assert f'"{getpass.getuser()}"' not in text
    assert "/" not in text
