"""The run store: every result of research is kept beside the database, with what made it.

A run is a folder `runs/<number>-<kind>-<hash>`, written under another name and then renamed, so that it is either
whole or not there. The hash is that of its content, without time and place: the same run gives the same hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from perp_bot.backtest import stored_run
from perp_bot.backtest.honesty import Trials
from perp_bot.backtest.metrics import Metrics
from perp_bot.backtest.results import BacktestResult
from perp_bot.backtest.stored_run import COLUMNS, RECORD, StoredRun
from perp_bot.backtest.trials import Seen, count_trials
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.clock import wall_ms
from perp_bot.core.errors import StoreError, UsageError
from perp_bot.ops.atomic_file import sync_folder
from perp_bot.version import VERSION

_KIND = re.compile("[a-z]+")
_NAME = re.compile(rf"(\d{{4,}})-({_KIND.pattern})-([0-9a-f]{{6}})")


def folder_of(config: Config) -> Path:
    """Return where the runs of a config are."""
    return RuntimePaths(config.data.db_path).runs


def save(
    config: Config,
    result: BacktestResult | None,
    metrics: Metrics | None,
    kind: str,
    extra: Mapping[str, Any] | None = None,
    *,
    strategy: str = "",
    data_hash: str = "",
    span_ms: tuple[int, int] | None = None,
    trials: int | None = None,
    trial_sharpes: Sequence[float | None] = (),
) -> str:
    """Store a run and return its id.

    A run without one result (a grid, a screen) gives `strategy`, `data_hash` and `trials` itself. `extra` is whatever
    JSON the kind adds, the same for the same run (no times in it). `span_ms` are the first and last close it looked
    at, where these are not those of its result. `trial_sharpes` are the annualised Sharpe ratios of all its trials
    (None or NaN: not defined).

    Raises:
        StoreError: the folder cannot be written; the message names it.
    """
    if not _KIND.fullmatch(kind):
        raise ValueError(f"a kind of run is a word of small letters, not {kind!r}")
    sharpes = [value for value in trial_sharpes if value is not None and math.isfinite(value)]
    if not sharpes and metrics is not None and metrics.sharpe is not None:
        sharpes = [metrics.sharpe]
    packed = stored_run.pack(result) if result is not None else None
    own = result.trials if result is not None else max(1, len(trial_sharpes))
    record = StoredRun(
        schema=stored_run.SCHEMA,
        id="",
        kind=kind,
        saved_ms=wall_ms(),
        version=VERSION,
        commit=commit(),
        strategy=result.strategy if result is not None else strategy,
        data_hash=result.data_hash if result is not None else data_hash,
        seed=config.backtest.seed,
        trials=own if trials is None else trials,
        trial_sharpes=_even_choice(sharpes),
        config=stored_run.settings_of(config),
        metrics=stored_run.metrics_json(metrics),
        result=None if result is None else stored_run.describe(result),
        extra=msgspec.to_builtins(dict(extra or {}), enc_hook=_plain),
        columns_sha256=None if packed is None else hashlib.sha256(packed).hexdigest(),
        content="",
        span_ms=span_ms,
    )
    # what is stored is what JSON makes of it (no NaN, no numpy): the hash must be that of the text
    record = msgspec.json.decode(msgspec.json.encode(record), type=StoredRun)
    record = msgspec.structs.replace(record, content=stored_run.content_of(record))
    folder = folder_of(config)
    try:
        return _write(folder, record, packed)
    except OSError as error:
        raise StoreError(f"the run cannot be stored in {folder}: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a run cannot store {type(value).__name__}")


def _even_choice(sharpes: Sequence[float]) -> list[float]:
    if len(sharpes) > stored_run.MAX_SHARPES:
        places = np.linspace(0, len(sharpes) - 1, stored_run.MAX_SHARPES).astype(int)
        sharpes = [sharpes[place] for place in places]
    return [float(value) for value in sharpes]


def _write(folder: Path, record: StoredRun, packed: bytes | None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        if packed is not None:
            _put(staged / COLUMNS, packed)
        number = max((int(name[1]) for name in map(_NAME.fullmatch, os.listdir(folder)) if name), default=0) + 1
        while True:
            run_id = f"{number:04d}-{record.kind}-{record.content[:6]}"
            _put(staged / RECORD, msgspec.json.encode(msgspec.structs.replace(record, id=run_id)))
            sync_folder(staged)
            try:
                os.rename(staged, folder / run_id)
            except FileExistsError:  # the same run, stored by another process in this moment
                number += 1
            except OSError as error:
                if not (folder / run_id).exists():
                    raise error from None
                number += 1
            else:
                sync_folder(folder)
                return run_id
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _put(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


# ------------------------------------------------------------ reading


def stored(config: Config) -> Iterator[tuple[str, StoredRun | str]]:
    """Yield (id, record) of every run, oldest first; a damaged one gives the reason in place of its record."""
    folder = folder_of(config)
    names = os.listdir(folder) if folder.is_dir() else []
    numbered = sorted((int(found[1]), name) for name in names if (found := _NAME.fullmatch(name)))
    for _, name in numbered:
        try:
            yield name, stored_run.read(folder / name)
        except ValueError as error:
            yield name, str(error)


def find(config: Config, wanted: str) -> StoredRun:
    """Return the run that is called `wanted`: an id, the begin of one, a number, or `last`.

    Raises:
        UsageError: no run, or more than one, is called that.
        StoreError: it is damaged.
    """
    folder = folder_of(config)
    names = sorted(name for name in (os.listdir(folder) if folder.is_dir() else []) if _NAME.fullmatch(name))
    if not names:
        raise UsageError(f"no run is stored in {folder}; perpbot backtest stores one")
    if wanted == "last":
        chosen = [max(names, key=lambda name: int(name.split("-")[0]))]
    elif wanted.isdigit():
        chosen = [name for name in names if int(name.split("-")[0]) == int(wanted)]
    else:
        chosen = [name for name in names if name.startswith(wanted)]
    if len(chosen) != 1:
        what = f"{len(chosen)} runs are" if chosen else "no run is"
        raise UsageError(f"{what} called {wanted!r} in {folder}; see: perpbot runs list")
    try:
        return stored_run.read(folder / chosen[0])
    except ValueError as error:
        raise StoreError(f"run {chosen[0]}: {error}; it can be deleted: {folder / chosen[0]}") from None


def result_of(config: Config, record: StoredRun) -> BacktestResult | None:
    """Return the stored result (its equity thinned), or None when the run has none.

    Raises:
        StoreError: the columns are damaged.
    """
    if record.columns_sha256 is None:
        return None
    path = folder_of(config) / record.id / COLUMNS
    try:
        packed = path.read_bytes()
        if hashlib.sha256(packed).hexdigest() != record.columns_sha256:
            raise ValueError("its hash does not match")
        return stored_run.unpack(record, packed)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise StoreError(f"run {record.id}: {COLUMNS} is damaged ({error})") from None


def trials(config: Config, judged: Seen, *, but: Config | None = None) -> Trials:
    """Return what was tried before on data that overlaps with that of a run; see `trials.count_trials`."""
    return count_trials(judged, (record for _, record in stored(config) if not isinstance(record, str)), but)


def commit() -> str | None:
    """Return the commit of the checkout that the program runs from, `-dirty` with changed files, None without git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
        return found.stdout.strip() or None
    return None
