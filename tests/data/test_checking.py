"""What is odd in the store is found, with where; what is not is not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from perp_bot.core.timeframes import DAY_MS, HOUR_MS
from perp_bot.data.checking import Finding, findings, stored_series
from perp_bot.data.db.connection import open_writable

T = 1_700_006_400_000  # 2023-11-15T00:00:00Z
FINE = (10.0, 11.0, 9.0, 10.0, 5.0)


def store(
    tmp_path: Path,
    rows: Iterable[tuple[float, ...]],
    timeframe: str = "1h",
    *,
    funding: Iterable[int] | None = None,
    source: str = "import",
    generated: int = 0,
) -> Path:
    """Store rows of (open_ms, open, high, low, close, volume), and funding at `funding` (ms; None: each hour)."""
    path = tmp_path / "a.db"
    rows = list(rows)
    hours = range(T - HOUR_MS, T + 60 * DAY_MS, HOUR_MS) if funding is None else funding
    connection = open_writable(path)
    connection.execute("BEGIN")
    connection.execute("INSERT OR IGNORE INTO series VALUES ('BTC',?,1)", (timeframe,))
    connection.executemany(
        f"INSERT INTO candles VALUES ('BTC','{timeframe}',?,?,?,?,?,?,NULL,'{source}',{generated})", rows
    )
    connection.executemany("INSERT OR REPLACE INTO funding_rates VALUES ('BTC',?,1e-5,NULL)", [(at,) for at in hours])
    connection.execute("COMMIT")
    connection.close()
    return path


def hours(*indexes: int, **other: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Return candles of these hours; `at3=(...)` gives that of hour 3 other numbers."""
    return [(T + n * HOUR_MS, *other.get(f"at{n}", FINE)) for n in indexes]


def told(path: Path) -> list[tuple[str, str]]:
    return [(item.kind, item.text) for item in findings(path)]


def test_nothing_is_odd_about_sound_data(tmp_path: Path) -> None:
    """No finding, for one candle too."""
    assert told(store(tmp_path, hours(*range(100)))) == []
    assert told(store(tmp_path, [(T, *FINE)], "1d")) == []


def test_gaps_have_both_ends_and_a_count(tmp_path: Path) -> None:
    """From the first missing open to the next one that is there."""
    assert told(store(tmp_path, hours(0, 1, 4, 5, 7))) == [
        ("gap", "2 candles missing from 2023-11-15T02:00:00Z to 2023-11-15T04:00:00Z"),
        ("gap", "1 candle missing from 2023-11-15T06:00:00Z to 2023-11-15T07:00:00Z"),
    ]


def test_months_have_gaps_and_a_grid_of_their_own(tmp_path: Path) -> None:
    """By the calendar: 28 and 31 days are one step; a 2nd is off the grid."""
    january, february, april, may_2 = 1_704_067_200_000, 1_706_745_600_000, 1_711_929_600_000, 1_714_608_000_000
    path = store(tmp_path, [(at, *FINE) for at in (january, february, april, may_2)], "1M", funding=[])
    assert told(path)[:2] == [
        ("gap", "1 candle missing from 2024-03-01T00:00:00Z to 2024-04-01T00:00:00Z"),
        ("off_grid", "2024-05-02T00:00:00Z is not the open of a 1M candle"),
    ]


@pytest.mark.parametrize(
    "numbers",
    [
        (10.0, 9.5, 9.0, 10.0, 5.0),  # high below the open
        (10.0, 11.0, 10.5, 10.8, 5.0),  # low above the open
        (10.0, 11.0, 0.0, 10.0, 5.0),
        (10.0, float("inf"), 9.0, 10.0, 5.0),
        (10.0, 11.0, 9.0, 10.0, -1.0),
    ],
)
def test_impossible_rows_are_found_with_their_numbers(tmp_path: Path, numbers: tuple[float, ...]) -> None:
    """Whoever wrote them: the store itself does not refuse them."""
    found = [item for item in findings(store(tmp_path, hours(0, 1, 2, at1=numbers))) if item.kind == "impossible"]
    assert [item.at_ms for item in found] == [T + HOUR_MS]
    assert f"low {numbers[2]:g}, close {numbers[3]:g}" in found[0].text


def test_a_time_off_the_grid_is_found(tmp_path: Path) -> None:
    """A candle between two others."""
    rows = [*hours(0, 1), (T + HOUR_MS // 2, *FINE)]
    assert told(store(tmp_path, rows)) == [("off_grid", "2023-11-15T00:30:00Z is not the open of a 1h candle")]


def test_a_day_without_volume_is_found_and_23_hours_are_not(tmp_path: Path) -> None:
    """A stretch, with its ends."""
    dead = (10.0, 10.0, 10.0, 10.0, 0.0)
    silent = {f"at{n}": dead for n in range(5, 29)} | {f"at{n}": dead for n in range(40, 63)}
    assert told(store(tmp_path, hours(*range(70), **silent))) == [
        ("no_volume", "no volume from 2023-11-15T05:00:00Z to 2023-11-16T05:00:00Z (24 candles)")
    ]


def test_a_bar_that_moves_58_percent_and_one_that_comes_back_are_found(tmp_path: Path) -> None:
    """A jump from close to close, down and up alike; a spike by the candle's high or low alone."""
    bars = {"at3": (10.0, 10.0, 4.0, 4.2, 5.0), "at6": (10.0, 14.0, 7.0, 10.0, 5.0)}
    assert told(store(tmp_path, hours(*range(9), **bars))) == [
        ("jump", "the close of 2023-11-15T03:00:00Z is -58.0% from the one before"),
        ("jump", "the close of 2023-11-15T04:00:00Z is +138.1% from the one before"),
        ("spike", "the high of 2023-11-15T06:00:00Z is +40.0% from its open and close"),
        ("spike", "the low of 2023-11-15T06:00:00Z is -30.0% from its open and close"),
    ]


def test_a_move_of_29_percent_is_a_market_and_30_are_odd(tmp_path: Path) -> None:
    """The border, up; and down by what it takes 30 % to make good."""
    bars = {"at1": (12.9,) * 4 + (1.0,), "at3": (13.1,) * 4 + (1.0,)}
    assert [text[:39] for _, text in told(store(tmp_path, hours(*range(5), **bars)))] == [
        "the close of 2023-11-15T03:00:00Z is +3",
        "the close of 2023-11-15T04:00:00Z is -2",
    ]


def test_funding_holes_inside_and_at_the_ends_are_found(tmp_path: Path) -> None:
    """The hours after the first open up to the last close; the last one may not be settled yet."""
    there = [T + n * HOUR_MS for n in (3, 4, 6, 7, 8)]
    assert told(store(tmp_path, hours(*range(10)), funding=there)) == [
        ("funding_gap", "2 funding rates missing from 2023-11-15T01:00:00Z to 2023-11-15T02:00:00Z"),
        ("funding_gap", "1 funding rate missing from 2023-11-15T05:00:00Z to 2023-11-15T05:00:00Z"),
        ("funding_gap", "2 funding rates missing from 2023-11-15T09:00:00Z to 2023-11-15T10:00:00Z"),
    ]


def test_no_funding_at_all_is_one_line(tmp_path: Path) -> None:
    """And the last hour alone is none."""
    path = store(tmp_path, hours(*range(4)), funding=[])
    assert list(findings(path)) == [
        Finding("funding_gap", "BTC", "", T + HOUR_MS,
                "no funding rate is stored from 2023-11-15T00:00:00Z to 2023-11-15T04:00:00Z")
    ]  # fmt: skip
    store(tmp_path, [], funding=[T + n * HOUR_MS for n in (1, 2, 3)])
    assert told(path) == []


def test_every_series_is_reported_with_what_belongs_to_it(tmp_path: Path) -> None:
    """Finest first; sources, the generated share, gaps; funding and minutes within its own span."""
    path = store(tmp_path, hours(0, 1, 5), funding=[T + n * HOUR_MS for n in (0, 1, 6, 7)])
    store(tmp_path, hours(2), funding=[], source="rest")
    store(tmp_path, [(T, *FINE)], "15m", funding=[], source="rest", generated=1)
    connection = open_writable(path)
    for minute_ms in (T - 1, T, T + HOUR_MS):
        connection.execute("INSERT INTO asset_ctx_1m (symbol,minute_ms,samples) VALUES ('BTC',?,1)", (minute_ms,))
    connection.close()
    quarter, hourly = stored_series(path)
    assert (quarter.timeframe, quarter.generated, quarter.sources, quarter.minutes) == ("15m", 1, {"rest": 1}, 1)
    assert (hourly.candles, hourly.gaps, hourly.missing, hourly.generated) == (4, 1, 2, 0)
    assert (hourly.first_ms, hourly.last_ms) == (T, T + 5 * HOUR_MS)
    assert hourly.sources == {"import": 3, "rest": 1}
    assert (hourly.funding_hours, hourly.minutes) == (2, 2)  # the hour of the first open is the candle's before
