"""The run store: whole or not there, found again, compared, remembered as trials."""

from __future__ import annotations

import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_rig import START_MS, STEP_MS, result, trade

from perp_bot.backtest import runs, stored_run
from perp_bot.backtest.metrics import as_json, measure
from perp_bot.backtest.results import BacktestResult
from perp_bot.backtest.run_diff import diff
from perp_bot.backtest.trials import Seen
from perp_bot.config.model import BacktestConfig, Config, DataConfig, Secrets, SignalsConfig
from perp_bot.core.errors import StoreError, UsageError

KEY = "0x" + "ab" * 32


def config_in(folder: Path, **given: Any) -> Config:
    return replace(Config(data=DataConfig(db_path=folder / "perp_bot.db")), **given)


def some_result(seed: int = 1, **given: Any) -> BacktestResult:
    rng = np.random.default_rng(seed)
    rows = [trade(decided_ms=START_MS + i * STEP_MS, gross_usd=float(rng.normal())) for i in range(5)]
    return result(1000 + np.cumsum(rng.normal(0, 1, 300)), rows, notes=("two holes",), blocked={"cooldown": 3}, **given)


def saved(config: Config, found: BacktestResult, **given: Any) -> str:
    return runs.save(config, found, measure(found), "backtest", **given)


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    """Config, figures, trades, equity, notes, seed, hash and version: all of it, from disk."""
    config, found = config_in(tmp_path, backtest=BacktestConfig(seed=7)), some_result(trials=4)
    run_id = saved(config, found, extra={"grid": np.array([1.5, 2.5]), "best": np.float64(2.5)})
    run = runs.find(config, run_id)
    assert (run.kind, run.strategy, run.data_hash, run.seed, run.trials) == (
        "backtest", "mean_reversion", "d" * 16, 7, 4,
    )  # fmt: skip
    assert run.extra == {"grid": [1.5, 2.5], "best": 2.5}
    assert run.config["signals"]["zscore_entry_threshold"] == 2.0
    back = runs.result_of(config, run)
    assert back is not None
    assert list(back.trades.rows()) == list(found.trades.rows())
    assert np.array_equal(back.equity_usd, found.equity_usd)
    assert (back.notes, back.blocked, back.rows) == (found.notes, found.blocked, found.rows)
    metrics = stored_run.metrics_of(run)
    assert metrics is not None
    assert as_json(metrics) == as_json(measure(found))


def test_how_sure_the_sharpe_is_can_be_told_of_a_stored_run(tmp_path: Path) -> None:
    """The moments of the returns are kept, also of a curve that is stored thinned."""
    config, found = config_in(tmp_path), some_result()
    metrics = stored_run.metrics_of(runs.find(config, saved(config, found)))
    assert metrics is not None
    assert metrics.returns == measure(found).returns


def test_a_run_of_before_moved_stops_were_kept_is_still_read(tmp_path: Path) -> None:
    """What it does not hold is not known."""
    config, found = config_in(tmp_path), some_result()
    run = runs.find(config, saved(config, found))
    with np.load(io.BytesIO(stored_run.pack(found))) as file:
        columns = {name: file[name] for name in file.files if name != "trade_last_stop_px"}
    older = io.BytesIO()
    np.savez(older, **columns)
    back = stored_run.unpack(run, older.getvalue())
    assert np.isnan(back.trades.last_stop_px).all()
    assert [row[:-1] for row in back.trades.rows()] == [row[:-1] for row in found.trades.rows()]


def test_the_id_has_a_number_and_the_hash_of_the_content(tmp_path: Path) -> None:
    """The same run again has another number and the same hash; another result another hash. No time in it."""
    config = config_in(tmp_path)
    first, again, other = saved(config, some_result()), saved(config, some_result()), saved(config, some_result(2))
    assert first.startswith("0001-backtest-")
    assert again == first.replace("0001", "0002")
    assert other.split("-")[2] != first.split("-")[2]
    elsewhere = config_in(tmp_path / "other")
    assert saved(elsewhere, some_result()) == first


def test_no_secret_is_stored(tmp_path: Path) -> None:
    """Keys never, credentials in the venue's address neither."""
    config = config_in(tmp_path, secrets=Secrets(hl_private_key=KEY), venue="https://me:pass@venue.example")
    saved(config, some_result())
    text = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY[2:].encode() not in text
    assert b"pass@" not in text
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*") if path.is_file())


def test_runs_are_found_by_number_prefix_and_last(tmp_path: Path) -> None:
    """And by nothing else."""
    config = config_in(tmp_path)
    ids = [saved(config, some_result(seed)) for seed in range(3)]
    assert [runs.find(config, name).id for name in ("1", "0002", "last", ids[0], ids[1][:6])] == [
        ids[0], ids[1], ids[2], ids[0], ids[1],
    ]  # fmt: skip
    (tmp_path / "runs" / "0001-backtest-ffffff").mkdir()
    with pytest.raises(UsageError, match="2 runs are called '1'"):
        runs.find(config, "1")
    with pytest.raises(UsageError, match="no run is called '9'"):
        runs.find(config, "9")
    with pytest.raises(UsageError, match="no run is stored in"):
        runs.find(config_in(tmp_path / "empty"), "last")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "run.json").write_text('{"schema": 1'), "run.json is damaged"),
        (lambda folder: (folder / "run.json").write_bytes(b"\xff\xfe\x00"), "run.json is damaged"),
        (lambda folder: (folder / "run.json").unlink(), "run.json is missing"),
        (lambda folder: edit(folder, seed=43), "changed after it was saved"),
        (lambda folder: edit(folder, schema=9), "has schema 9"),
        (lambda folder: edit(folder, trials="many"), "run.json is damaged"),
    ],
)
def test_a_damaged_run_is_one_line_and_the_others_are_listed(tmp_path: Path, damage: Any, words: str) -> None:
    """Whatever is wrong with one file, it is said, and nothing else is lost."""
    config = config_in(tmp_path)
    bad, good = saved(config, some_result(1)), saved(config, some_result(2))
    damage(runs.folder_of(config) / bad)
    listed = dict(runs.stored(config))
    reason = listed[bad]
    assert isinstance(reason, str)
    assert words in reason
    assert "\n" not in reason
    assert not isinstance(listed[good], str)
    with pytest.raises(StoreError, match=f"run {bad}: run.json"):
        runs.find(config, bad)
    assert runs.trials(config, Seen.by(some_result())).count == 1


def edit(folder: Path, **values: Any) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("content", [b"", b"PK no zip", None])
def test_damaged_columns_are_one_line(tmp_path: Path, content: bytes | None) -> None:
    """The record is still shown; only what needs the columns says why it cannot."""
    config = config_in(tmp_path)
    run = runs.find(config, saved(config, some_result()))
    path = runs.folder_of(config) / run.id / "columns.npz"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(StoreError, match=r"columns\.npz is damaged"):
        runs.result_of(config, run)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A file where the folder should be (also true for root)."""
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be stored in"):
        saved(config_in(tmp_path), some_result())


def test_an_interrupted_save_leaves_nothing_behind(tmp_path: Path) -> None:
    """What cannot be stored (a value that is no JSON) is refused before anything is written."""
    with pytest.raises(TypeError, match="a run cannot store object"):
        saved(config_in(tmp_path), some_result(), extra={"what": object()})
    assert not (tmp_path / "runs").exists()


def test_a_kind_that_would_not_be_listed_is_refused(tmp_path: Path) -> None:
    """Its name would not be taken for a run's."""
    with pytest.raises(ValueError, match="not 'walk-forward'"):
        runs.save(config_in(tmp_path), None, None, "walk-forward")


def later(candles: int, **given: Any) -> BacktestResult:
    """Return a result whose 300 closes begin so many candles later."""
    found = some_result(**given)
    return replace(found, close_ms=found.close_ms + candles * STEP_MS)


def tuned(config: Config, entry_z: float) -> Config:
    return replace(config, signals=SignalsConfig(zscore_entry_threshold=entry_z))


def test_trials_are_remembered_by_strategy_and_overlapping_data(tmp_path: Path) -> None:
    """Other settings are other trials; other strategies, timeframes, coins and times do not count."""
    config = config_in(tmp_path)
    for used in (config, config, tuned(config, 2.2)):
        saved(used, some_result())
    saved(config, some_result(strategy="macd_cross"))
    saved(config, some_result(timeframe="1h"))
    saved(config, some_result(symbols=("ETH",)))
    saved(config, later(300))
    found = runs.trials(config, Seen.by(some_result()))
    sharpe = measure(some_result()).sharpe
    assert (found.count, found.sharpes) == (2, (sharpe, sharpe))
    assert runs.trials(config, Seen.by(some_result(strategy="other"))).count == 0
    assert runs.trials(config, Seen.by(some_result()), but=config).count == 1


def test_a_later_end_or_one_more_candle_does_not_begin_the_search_anew(tmp_path: Path) -> None:
    """Data that overlaps is the same data: its hash is another after every stored candle."""
    config = config_in(tmp_path)
    saved(tuned(config, 2.1), some_result())
    saved(tuned(config, 2.2), later(-4, data_hash="e" * 16))
    saved(tuned(config, 2.3), later(1, data_hash="f" * 16))
    assert runs.trials(config, Seen.by(some_result())).count == 3
    assert runs.trials(config, Seen.by(later(295))).count == 3  # the last close of the shortest
    assert runs.trials(config, Seen.by(later(299))).count == 2
    assert runs.trials(config, Seen.by(later(300))).count == 1
    assert runs.trials(config, Seen.by(some_result(symbols=("BTC", "ETH")))).count == 3


def test_the_same_settings_on_overlapping_data_are_one_trial(tmp_path: Path) -> None:
    """Run again, cut short or with an hour less: the run that finished most speaks for them."""
    config = config_in(tmp_path)
    whole = some_result()
    cut = replace(
        whole, close_ms=whole.close_ms[:100], equity_usd=whole.equity_usd[:100], held_usd=whole.held_usd[:100],
        is_partial=True,
    )  # fmt: skip
    for found in (cut, whole, cut, later(-4)):
        saved(config, found)
    tried = runs.trials(config, Seen.by(whole))
    assert (tried.count, tried.sharpes) == (1, (measure(later(-4)).sharpe,))
    assert runs.trials(config, Seen.by(whole), but=config).count == 0
    saved(replace(config, backtest=BacktestConfig(cluster="tcp://host:8786", export_trades_csv=True)), whole)
    assert runs.trials(config, Seen.by(whole)).count == 1  # neither makes another trade
    saved(replace(config, backtest=BacktestConfig(seed=7)), whole)
    assert runs.trials(config, Seen.by(whole)).count == 2


def test_settings_of_every_strategy_make_trials(tmp_path: Path) -> None:
    """Another fast average of macd_cross is another try, as another threshold of mean_reversion is."""
    config = config_in(tmp_path)
    crossed = some_result(strategy="macd_cross")
    for fast in (8, 9, 10, 9):
        saved(replace(config, macd=replace(config.macd, fast=fast)), crossed)
    assert runs.trials(config, Seen.by(crossed)).count == 3


def test_the_points_of_a_sweep_are_trials(tmp_path: Path) -> None:
    """A grid without one result names its strategy and data; undefined Sharpes count as trials, not as Sharpes."""
    config = config_in(tmp_path)
    sharpes = [math.nan, None, *np.linspace(-1, 1, 4998)]
    run_id = swept(config, {"axes": {"signals.adx_threshold": [20]}, "finished": 5000}, sharpes)
    run = runs.find(config, run_id)
    assert runs.result_of(config, run) is None
    found = runs.trials(config, Seen.by(some_result()))
    assert found.count == 5000
    assert len(found.sharpes) == stored_run.MAX_SHARPES
    assert np.var(found.sharpes) == pytest.approx(np.var(np.linspace(-1, 1, 4998)), rel=0.01)


def swept(config: Config, extra: dict[str, Any], sharpes: list[float | None], shift_ms: int = 0) -> str:
    """Store a sweep of 15m candles of BTC over the closes of `some_result`."""
    config = replace(config, trading=replace(config.trading, symbols=("BTC",)))
    span_ms = (START_MS + STEP_MS + shift_ms, START_MS + 300 * STEP_MS + shift_ms)
    return runs.save(
        config, None, None, "sensitivity", extra, strategy="mean_reversion", data_hash="d" * 16, span_ms=span_ms,
        trial_sharpes=sharpes,
    )  # fmt: skip


def test_the_same_sweep_again_counts_once_whatever_it_found(tmp_path: Path) -> None:
    """Interrupted, or with one more candle, its results differ: its plan does not. Other axes are another sweep."""
    config = config_in(tmp_path)
    axes = {"signals.adx_threshold": [20, 25, 30]}
    swept(config, {"axes": axes, "points": [0.1]}, [0.1])
    swept(config, {"axes": axes, "points": [0.1, 0.2, 0.3]}, [0.1, 0.2, 0.3])
    swept(config, {"axes": axes, "points": [0.1, 0.2]}, [0.1, 0.2], STEP_MS)
    assert runs.trials(config, Seen.by(some_result())).count == 3
    swept(config, {"axes": axes | {"signals.adx_threshold": [20, 40]}}, [0.1, 0.4])
    assert runs.trials(config, Seen.by(some_result())).count == 5
    swept(config, {"axes": axes}, [0.1] * 9, -300 * STEP_MS)
    assert runs.trials(config, Seen.by(some_result())).count == 5


def test_a_sweep_whose_span_was_not_stored_counts(tmp_path: Path) -> None:
    """Runs of before: it may have looked at this data, and too many trials only make one more careful."""
    config = config_in(tmp_path)
    config = replace(config, trading=replace(config.trading, symbols=("BTC",)))
    runs.save(config, None, None, "sensitivity", {}, strategy="mean_reversion", trial_sharpes=[0.1, 0.2])
    assert runs.trials(config, Seen.by(some_result())).count == 2
    assert runs.trials(config, Seen.by(some_result(symbols=("ETH",)))).count == 0


def test_the_differences_are_named(tmp_path: Path) -> None:
    """Settings, figures, and the trades that only one run has or that came out differently."""
    config = config_in(tmp_path)
    rows = [trade(decided_ms=START_MS + i * STEP_MS) for i in range(4)]
    changed = [rows[0], trade(decided_ms=START_MS + STEP_MS, exit_px=102.0, gross_usd=2.0), rows[3],
               trade(decided_ms=START_MS + 9 * STEP_MS, side="short")]  # fmt: skip
    one = runs.find(config, saved(config, result([1000.0, 1003.4], rows)))
    two = runs.find(config, saved(tuned(config, 2.2), result([1000.0, 1004.4], changed)))
    found = diff(one, two, runs.result_of(config, one), runs.result_of(config, two))
    assert [(c.name, c.first, c.second) for c in found.settings] == [("signals.zscore_entry_threshold", 2.0, 2.2)]
    assert {"total_return", "gross_usd", "net_usd", "best_usd"} <= {c.name for c in found.figures}
    assert found.same_trades == 2
    assert [(c.decided_ms, c.first is None, c.second is None, c.fields) for c in found.trades] == [
        (START_MS + STEP_MS, False, False, ("exit_px", "gross_usd", "net_usd")),
        (START_MS + 2 * STEP_MS, False, True, ()),
        (START_MS + 9 * STEP_MS, True, False, ()),
    ]
    assert diff(one, one, None, None).is_empty


def test_a_long_curve_is_thinned_with_its_extremes() -> None:
    """A million closes: at most 20,000 points stay, first, last, lowest and highest among them."""
    curve = 1000 + np.cumsum(np.random.default_rng(1).normal(0, 1, 1_000_003))
    keep = stored_run.thinned(curve, 20_000)
    assert 10_000 < len(keep) <= 20_000
    assert {0, len(curve) - 1, int(curve.argmin()), int(curve.argmax())} <= set(keep.tolist())
    assert (np.diff(keep) > 0).all()
    for count in (1, 2, 19_999, 20_000, 20_001, 40_001):
        assert len(stored_run.thinned(curve[:count], 20_000)) <= 20_000


def test_saves_at_the_same_time_never_overwrite_each_other(tmp_path: Path) -> None:
    """Four threads store sixteen runs, many of them equal, at once: sixteen are there, all readable."""
    config, found = config_in(tmp_path), [some_result(seed) for seed in range(2)]
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda number: saved(config, found[number % 2]), range(16)))
    assert len(set(ids)) == 16
    listed = list(runs.stored(config))
    assert sorted(name for name, _ in listed) == sorted(ids)
    assert not [reason for _, reason in listed if isinstance(reason, str)]
    assert not list((tmp_path / "runs").glob(".new-*"))
