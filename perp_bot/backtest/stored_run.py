"""One stored result of research as it lies on disk: a JSON record, and columns beside it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import metrics as figures
from perp_bot.backtest.curve import CurveSums
from perp_bot.backtest.metrics import Metrics
from perp_bot.backtest.results import BacktestResult, Trades
from perp_bot.config.load import resolved
from perp_bot.config.model import Config
from perp_bot.config.redact import redacted

SCHEMA = 1
RECORD, COLUMNS = "run.json", "columns.npz"
MOMENTS = "returns"  # beside the figures; not a figure
LAST_STOP = "last_stop_px"
KINDS = ("backtest", "walkforward", "sensitivity", "screen")
MAX_CURVE_POINTS = 20_000  # of a stored equity curve; the figures were made from all of it
MAX_SHARPES = 1_000  # of a sweep's trials; an even choice of them keeps their variance
_PACK_LEVEL = 1  # of zlib: higher ones take four times as long for a tenth


class StoredRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a stored run but its columns."""

    schema: int
    id: str
    kind: str  # one of KINDS
    saved_ms: int  # wall clock
    version: str  # of perpbot
    commit: str | None  # of the checkout it ran from, `-dirty` when files were changed
    strategy: str
    data_hash: str
    seed: int
    trials: int
    trial_sharpes: list[float]  # annualised; of a large sweep an even choice
    config: dict[str, Any]  # all settings, no secret, no file name of the config
    metrics: dict[str, Any] | None
    result: dict[str, Any] | None  # what a result has beside its columns
    extra: dict[str, Any]  # what the kind of run adds
    columns_sha256: str | None
    content: str  # sha256 of all of it but what says when and where it ran
    span_ms: tuple[int, int] | None = None  # first and last close it looked at, where `result` does not say it


def settings_of(config: Config) -> dict[str, Any]:
    """Return the settings as they are stored: no secret, no name of a file that is not a setting."""
    found = resolved(config)
    del found["secrets"], found["source"]
    return {name: _clean(value) for name, value in found.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def content_of(record: StoredRun) -> str:
    """Return the hash of what a run says, without when and where it ran."""
    plain = msgspec.to_builtins(record)
    for name in ("id", "saved_ms", "version", "commit", "content"):
        del plain[name]
    if plain["span_ms"] is None:
        del plain["span_ms"]  # runs that were stored before there was one keep their hash
    plain["config"] = _without_paths(plain["config"])
    return _digest(plain)


def _without_paths(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_paths(item) for name, item in value.items() if not name.endswith("_path")}


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


# ------------------------------------------------------------ results


def describe(result: BacktestResult) -> dict[str, Any]:
    """Return what a result has beside its columns."""
    return {
        "symbols": list(result.symbols),
        "timeframe": result.timeframe,
        "start_equity_usd": result.start_equity_usd,
        "rows": result.rows,
        "from_ms": int(result.close_ms[0]) if len(result.close_ms) else None,
        "to_ms": int(result.close_ms[-1]) if len(result.close_ms) else None,
        "closes": len(result.close_ms),
        "blocked": dict(result.blocked),
        "open_positions": result.open_positions,
        "missing_funding_hours": result.missing_funding_hours,
        "resumes": result.resumes,
        "notes": list(result.notes),
        "is_partial": result.is_partial,
        "trade_symbols": list(result.trades.symbols),
        "trade_reasons": list(result.trades.reasons),
    }


def pack(result: BacktestResult) -> bytes:
    """Return trades and (thinned) equity as a compressed npz."""
    keep = thinned(result.equity_usd, MAX_CURVE_POINTS)
    columns: dict[str, NDArray[Any]] = {
        "close_ms": result.close_ms[keep], "equity_usd": result.equity_usd[keep], "held_usd": result.held_usd[keep],
    }  # fmt: skip
    columns |= {f"trade_{name}": getattr(result.trades, name) for name in _trade_columns()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_PACK_LEVEL) as file:
        for name, column in columns.items():
            # a fixed date: the same columns are the same bytes
            with file.open(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w") as part:
                np.lib.format.write_array(part, np.ascontiguousarray(column), allow_pickle=False)
    return target.getvalue()


def unpack(record: StoredRun, packed: bytes) -> BacktestResult:
    """Return the result of a record (equity thinned).

    Raises:
        ValueError, KeyError, OSError, zipfile.BadZipFile: the columns are not what `pack` wrote.
    """
    about = record.result or {}
    with np.load(io.BytesIO(packed), allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    trades = Trades(
        symbols=tuple(about["trade_symbols"]),
        reasons=tuple(about["trade_reasons"]),
        **{name: columns[f"trade_{name}"] for name in _trade_columns() if name != LAST_STOP},
        # runs of before it was kept lack it: not known
        last_stop_px=columns.get(f"trade_{LAST_STOP}", np.full(len(columns["trade_stop_px"]), np.nan)),
    )
    return BacktestResult(
        strategy=record.strategy,
        symbols=tuple(about["symbols"]),
        timeframe=about["timeframe"],
        start_equity_usd=about["start_equity_usd"],
        rows=about["rows"],
        trades=trades,
        close_ms=columns["close_ms"],
        equity_usd=columns["equity_usd"],
        held_usd=columns["held_usd"],
        blocked=about["blocked"],
        open_positions=about["open_positions"],
        missing_funding_hours=about["missing_funding_hours"],
        resumes=about["resumes"],
        trials=record.trials,
        notes=tuple(about["notes"]),
        is_partial=about["is_partial"],
        data_hash=record.data_hash,
    )


def metrics_of(record: StoredRun) -> Metrics | None:
    """Return the stored figures; figures that this version does not know are left out."""
    if record.metrics is None:
        return None
    known = {item.name for item in fields(Metrics) if item.metadata}
    values = {name: value for name, value in record.metrics.items() if name in known}
    moments = record.metrics.get(MOMENTS)
    return Metrics(
        **values,
        undefined=tuple(record.metrics.get("undefined", {}).items()),
        incomplete=bool(record.metrics.get("incomplete")),
        returns=CurveSums(**moments) if moments is not None and set(moments) == set(CurveSums._fields) else None,
    )


def metrics_json(metrics: Metrics | None) -> dict[str, Any] | None:
    """Return figures as they are stored, with the moments that tell how sure the Sharpe ratio is."""
    if metrics is None:
        return None
    moments = {} if metrics.returns is None else {MOMENTS: metrics.returns._asdict()}
    return {**figures.as_json(metrics), **moments}


def _trade_columns() -> tuple[str, ...]:
    return tuple(item.name for item in fields(Trades) if item.name not in ("symbols", "reasons"))


def thinned(values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return the places of at most `most` values: first, last, and the lowest and highest of equal stretches."""
    count = len(values)
    if count <= most:
        return np.arange(count)
    stretch = -(-count // (most // 2 - 1))
    whole = count // stretch
    blocks = values[: whole * stretch].reshape(whole, stretch)
    base = np.arange(whole) * stretch
    places = [base + blocks.argmin(axis=1), base + blocks.argmax(axis=1), np.array([0, count - 1])]
    if whole * stretch < count:
        rest = values[whole * stretch :]
        places.append(whole * stretch + np.array([rest.argmin(), rest.argmax()]))
    return np.unique(np.concatenate(places))


def read(folder: Path) -> StoredRun:
    """Return the record of a run's folder.

    Raises:
        ValueError: it is not there, cannot be read, or does not say what it said when it was saved.
    """
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=StoredRun)
    except FileNotFoundError:
        raise ValueError(f"{RECORD} is missing") from None
    except OSError as error:
        raise ValueError(f"{RECORD} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{RECORD} is damaged: {error}") from None
    if record.schema != SCHEMA:
        raise ValueError(f"{RECORD} has schema {record.schema}, this perpbot reads {SCHEMA}")
    if record.content != content_of(record) or record.id != folder.name:
        raise ValueError(f"{RECORD} was changed after it was saved (its hash does not match)")
    return record
