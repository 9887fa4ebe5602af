"""Parameters and grids: names, ranges, what is refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from market_rig import config_with

from perp_bot.backtest import parameters
from perp_bot.backtest.default_grids import one_at_a_time, walk_forward
from perp_bot.backtest.parameters import (
    MOST_POINTS,
    axis_from_text,
    axis_of,
    count_of,
    grid_points,
    key_of,
    lawful,
    read_grid,
    refuse_too_many,
)
from perp_bot.core.errors import UsageError
from perp_bot.strategies.registry import names


def test_a_parameter_has_three_names() -> None:
    """Short, without its section, dotted; dashes are underscores."""
    for name in ("entry_z", "entry-z", "zscore_entry_threshold", "signals.zscore_entry_threshold"):
        assert key_of(name) == "signals.zscore_entry_threshold"


def test_every_short_name_is_a_setting() -> None:
    """None of them points nowhere."""
    assert set(parameters.SHORT.values()) <= set(parameters.known())


def test_an_unknown_parameter_names_the_nearest() -> None:
    """One line, with what was meant."""
    with pytest.raises(UsageError, match=r"no parameter 'entri_z'; did you mean entry_z\?"):
        key_of("entri_z")
    with pytest.raises(UsageError, match="no parameter 'db_path'"):  # a path is nothing to vary
        key_of("db_path")
    with pytest.raises(UsageError, match=r"could be signals\.rsi_overbought or macd\.rsi_overbought; write one"):
        key_of("rsi_overbought")


def test_a_range_is_made_in_decimals() -> None:
    """0.2, 0.3, ... and not 0.30000000000000004; the end is in it."""
    axis = axis_from_text("exit_z=0.1..0.5:0.1")
    assert not isinstance(axis, str)
    assert list(axis.values) == [0.1, 0.2, 0.3, 0.4, 0.5]
    whole = axis_from_text("lookback=15..30:5")
    assert not isinstance(whole, str)
    assert [type(value) for value in whole.values] == [int] * 4
    assert axis_from_text("adx") == "signals.adx_threshold"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("entry_z=-1,2", "expected a number above 0"),
        ("lookback=15.5", "expected a whole number"),
        ("lookback=15..30:0.5", "must be whole"),
        ("entry_z=2..1:0.1", "has no values"),
        ("entry_z=1..2:0", "has no values"),
        ("entry_z=1..x", "'x' is not a number"),
        ("adx=20,20", "given twice"),
        ("rsi_high=60..120:10", "at most 100"),
    ],
)
def test_values_follow_the_rules_of_their_setting(text: str, why: str) -> None:
    """The config's own rules, in one line that names the option."""
    with pytest.raises(UsageError, match=why) as caught:
        axis_from_text(text)
    assert "--param" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_of_a_billion_points_is_counted_not_made() -> None:
    """Refused with the count and the limit."""
    axes = [axis_of(name, {"from": 1, "to": 1000, "step": 1}, "grid") for name in ("timeout", "risk.cooldown_seconds")]
    axes.append(axis_of("entry_z", {"from": 1, "to": 2, "step": 0.001001001}, "grid"))
    assert count_of(axes) >= 999_000_000
    with pytest.raises(
        UsageError, match=f"{count_of(axes):,} parameter sets are too many; the most is {MOST_POINTS:,}"
    ):
        refuse_too_many(count_of(axes), "grid")


def test_a_grid_is_made_lazily() -> None:
    """The first point of a grid of 10^12 comes at once."""
    axes = [axis_of(name, {"from": 1, "to": 1_000_000, "step": 1}, "grid") for name in ("timeout", "cooldown_seconds")]
    assert next(grid_points(axes)) == {"risk.position_timeout_hours": 1.0, "risk.cooldown_seconds": 1}


def test_sets_that_break_a_rule_between_settings_are_left_out() -> None:
    """Exit above entry is no config: counted, with the reason."""
    axes = [axis_of("entry_z", [0.4, 2.0], "grid"), axis_of("exit_z", [0.3, 0.5], "grid")]
    kept, left_out, reason = lawful(config_with(), grid_points(axes))
    assert len(kept) == 3
    assert left_out == 1
    assert reason is not None
    assert reason.startswith("signals.zscore_exit_threshold: 0.5 must be below zscore_entry_threshold (0.4)")


def test_a_fault_that_the_config_has_anyway_leaves_no_set_out() -> None:
    """`--timeframe 8h` while data.timeframes lacks it: not the point's doing."""
    config = config_with(data__primary_timeframe="8h")
    kept, left_out, _ = lawful(config, grid_points([axis_of("entry_z", [1.5, 2.0], "grid")]))
    assert (len(kept), left_out) == (2, 0)


def test_a_grid_file_is_read(tmp_path: Path) -> None:
    """Lists, one value, ranges; both kinds of names."""
    path = tmp_path / "grid.yaml"
    path.write_text("entry_z: [1.8, 2]\nsignals.adx_threshold: {from: 20, to: 30, step: 5}\nlookback: 20\n")
    axes = read_grid(path)
    assert [(axis.name, list(axis.values)) for axis in axes] == [
        ("entry_z", [1.8, 2.0]), ("adx", [20.0, 25.0, 30.0]), ("lookback", [20]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no parameter"),
        ("entri_z: [1]", "did you mean entry_z"),
        ("entry_z: {from: 1, to: 2}", "'step' is missing"),
        ("entry_z: {from: 1, to: 2, step: 1, by: 2}", "'by' is unknown"),
        ("entry_z: [a]", "is not allowed; expected a number above 0"),
        ("entry_z: [1.8]\nzscore_entry_threshold: [2]", "given twice, under two names"),
        ("entry_z: []", "no values are given"),
        ("entry_z: [1", "not valid YAML"),
    ],
)
def test_a_bad_grid_file_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    """With the file's name."""
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=why) as caught:
        read_grid(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no such grid file"):
        read_grid(tmp_path / "other.yaml")


def test_the_default_grids_are_those_of_the_issue() -> None:
    """Ranges as promised, every value allowed, the settings in use among them."""
    ends = {axis.name: (axis.values[0], axis.values[-1]) for axis in one_at_a_time("mean_reversion")}
    assert ends == {
        "entry_z": (1.8, 2.2), "exit_z": (0.2, 0.5), "rsi_high": (65, 75), "rsi_low": (25, 35), "adx": (20, 30),
        "lookback": (15, 30), "band": (15, 25),
    }  # fmt: skip
    config = config_with()
    axes = [axis for name in names() for axis in (*one_at_a_time(name), *walk_forward(name))]
    assert len(axes) >= 24
    for axis in axes:
        assert parameters.value_in(config, axis.key) in axis.values
    with pytest.raises(UsageError, match="no default grid is known for other; name its parameters"):
        walk_forward("other")
