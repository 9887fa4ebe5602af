"""A CSV or Parquet file as columns: every time and number read exactly, or refused with its line."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.errors import UsageError

TIME_UNITS = ("ms", "s", "iso")
_PARQUET = (".parquet", ".pq")
_EARLIEST_MS, _LATEST_MS = 10**11, 10**13  # 1973 to 2286: seconds, micro- and nanoseconds are outside

Column = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A file's rows as columns, in its order."""

    path: Path
    t: Times
    values: dict[str, Column]
    line: Times  # of each row: in a CSV the header is line 1, in Parquet the first row is 1
    line_word: str = "line"

    def at(self, place: int) -> str:
        """Return where a row is: file and line."""
        return f"{self.path} {self.line_word} {self.line[place]}"


def read_table(path: Path, columns: Mapping[str, str], names: tuple[str, ...], time_unit: str) -> Table:
    """Read the columns `names` of a CSV (also gzip) or Parquet file; `columns` maps them to the file's own names.

    An empty cell is NaN; a line without any cell is none. The time, `names[0]`, becomes epoch ms; a Parquet timestamp
    says its unit itself.

    Raises:
        UsageError: no such file, no such column, cut short, a time or number that cannot be read; with the line.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    wanted = [columns.get(name, name) for name in names]
    is_parquet = path.suffix in _PARQUET
    frame = _parquet_frame(path, wanted) if is_parquet else _csv_frame(path)
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise UsageError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}. "
            f"Map them: --columns {names[0]}=NAME,{names[1]}=NAME,..."
        )
    line = np.arange(len(frame), dtype=np.int64) + (1 if is_parquet else 2)
    empty = frame.isna().all(axis=1).to_numpy()
    if empty.any():
        frame, line = frame[~empty], line[~empty]
    table = Table(path, np.empty(0, np.int64), {}, line, "row" if is_parquet else "line")
    times = _times(table, frame[wanted[0]], time_unit)
    values = {name: _numbers(table, theirs, frame[theirs]) for name, theirs in zip(names[1:], wanted[1:], strict=True)}
    return Table(path, times, values, line, table.line_word)


def _csv_frame(path: Path) -> Any:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it would shift or cut columns
            return pd.read_csv(
                path, index_col=False, skip_blank_lines=False, low_memory=False, skipinitialspace=True,
                encoding="utf-8-sig", **_exact(pd.__version__),
            )  # fmt: skip
    except pd.errors.ParserWarning:
        raise UsageError(f"{path}: its rows have more cells than its header has names") from None
    except EOFError:
        raise UsageError(f"{path} is cut short: its compressed data has no end") from None
    except (OSError, ValueError, ImportError, zlib.error) as error:  # pandas' parser errors are ValueErrors
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path} cannot be read as a table: {why}") from None


def _exact(version: str) -> dict[str, Any]:
    """Return what makes pandas read numbers to the last bit: its only way since 3.1, a choice before."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def _parquet_frame(path: Path, wanted: list[str]) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow; install the extra: pip install 'perp-bot[archive]'"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            there = [name for name in wanted if name in file.schema_arrow.names]
            if len(there) < len(set(wanted)):
                return file.schema_arrow.empty_table().to_pandas()
            return file.read(columns=there).to_pandas()
    except (ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _numbers(table: Table, name: str, column: Any) -> Column:
    import pandas as pd

    numbers = np.array(pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan))
    unread = np.isnan(numbers) & column.notna().to_numpy()
    if unread.any():
        place = int(np.argmax(unread))
        raise UsageError(f"{table.at(place)}: {name} is {str(column.iloc[place])!r}, not a number")
    return numbers


def _times(table: Table, column: Any, unit: str) -> Times:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column) or unit == "iso":
        read = pd.to_datetime(column, utc=True, errors="coerce", format=None if unit != "iso" else "ISO8601")
        unread = read.isna().to_numpy()
        if unread.any():
            place = int(np.argmax(unread))
            raise UsageError(f"{table.at(place)}: {str(column.iloc[place])!r} is not an ISO time")
        # to whole ms, and what is finer must not be lost unseen
        fine = read.astype("datetime64[us, UTC]").astype(np.int64).to_numpy() / 1_000
    else:
        fine = _numbers(table, str(column.name), column) * (1_000 if unit == "s" else 1)
    with np.errstate(invalid="ignore"):
        odd = ~((fine >= _EARLIEST_MS) & (fine < _LATEST_MS))
    if odd.any():
        place = int(np.argmax(odd))
        raise UsageError(
            f"{table.at(place)}: {str(column.iloc[place])!r} is not a time in {unit} of 1973 to 2286; "
            "see --time-unit and --columns"
        )
    whole = np.rint(fine)
    broken = np.abs(fine - whole) > 1e-3  # a fraction of a second in float64 is exact to less than this
    if broken.any():
        place = int(np.argmax(broken))
        raise UsageError(f"{table.at(place)}: the time {str(column.iloc[place])!r} is not a whole millisecond")
    times: Times = whole.astype(np.int64)
    return times
