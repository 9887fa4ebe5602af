"""Files become candles and funding exactly, or are refused with file, line and what to do; all or nothing."""

from __future__ import annotations

import gzip
import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.core.errors import StoreError, UsageError
from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.data.columns import read_candles, read_funding
from perp_bot.data.db.connection import open_writable
from perp_bot.data.identity import KEY
from perp_bot.data.importing import CANDLE_COLUMNS, FUNDING_COLUMNS, Imported, import_candles, import_funding
from perp_bot.data.table_file import read_table

T = 1_700_006_400_000  # 2023-11-15T00:00:00Z
HEAD = "t,open,high,low,close,volume"


def hour(n: int) -> int:
    return T + n * HOUR_MS


def candle(n: int, close: str = "10.5") -> str:
    return f"{hour(n)},10,11,9,{close},3"


def put(tmp_path: Path, *rows: str, head: str = HEAD, name: str = "btc.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join((head, *rows)) + "\n", encoding="utf-8")
    return path


def take(path: Path, timeframe: str = "1h", *, skip_bad: bool = False, unit: str = "ms", **columns: str) -> Imported:
    table = read_table(path, columns, CANDLE_COLUMNS, unit)
    return import_candles(path.parent / "a.db", "BTC", timeframe, table, skip_bad=skip_bad)


def take_funding(path: Path, hours: int = 1, *, skip_bad: bool = False) -> Imported:
    table = read_table(path, {}, FUNDING_COLUMNS, "ms")
    return import_funding(path.parent / "a.db", "BTC", table, hours, skip_bad=skip_bad)


def rows_of(tmp_path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(tmp_path / "a.db")
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


# ------------------------------------------------------------ what is read


def test_a_plain_file_needs_no_mapping(tmp_path: Path) -> None:
    """t in ms, open, high, low, close, volume: stored as they stand, with their source."""
    done = take(put(tmp_path, candle(0), candle(1, "10.25"), candle(3)))
    assert done == Imported(3, 3, 0, hour(0), hour(3), 0, 0, True, 1)
    assert rows_of(tmp_path, "SELECT * FROM candles WHERE open_ms=" + str(hour(1))) == [
        ("BTC", "1h", hour(1), 10.0, 11.0, 9.0, 10.25, 3.0, None, "import", 0)
    ]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=30), st.integers(0, 2**32))
def test_what_is_read_back_is_what_the_file_says(prices: list[float], seed: int) -> None:
    """To the last bit of every number, whatever the order of the rows and however many stand there twice."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rows = [f"{hour(n)},{px!r},{px!r},{px!r},{px!r},{n}" for n, px in enumerate(prices)]
        shuffled = rows + rows[: seed % 3]
        random.Random(seed).shuffle(shuffled)
        path = put(Path(folder), *shuffled)
        done = take(path)
        found = read_candles(path.parent / "a.db", "BTC", "1h")
        assert found.close.tolist() == prices
        assert found.open_ms.tolist() == [hour(n) for n in range(len(prices))]
        assert done.same_twice == len(shuffled) - len(rows)
        assert done.was_sorted == (shuffled == sorted(shuffled))


def test_gzip_and_other_names_and_seconds(tmp_path: Path) -> None:
    """A stated mapping and unit; the file's other columns do not matter."""
    text = f"id,when,o,high,low,close,vol\n1,{hour(0) // 1000},10,11,9,10,1\n2,{hour(1) // 1000}.000,10,11,9,10,2\n"
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    done = take(path, unit="s", t="when", open="o", volume="vol")
    assert (done.rows, done.first_ms, done.last_ms) == (2, hour(0), hour(1))


def test_iso_times(tmp_path: Path) -> None:
    """With a zone, which is minded, or without: UTC."""
    rows = ("2023-11-15T00:00:00Z,10,11,9,10,1", "2023-11-15 01:00:00,10,11,9,10,1", "2023-11-15T04:00+02:00,1,1,1,1,1")
    done = take(put(tmp_path, *rows), unit="iso")
    assert (done.first_ms, done.last_ms, done.gaps) == (hour(0), hour(2), 0)


def test_a_byte_order_mark_windows_lines_and_empty_lines_are_nothing(tmp_path: Path) -> None:
    """As spreadsheets write them."""
    path = tmp_path / "x.csv"
    path.write_bytes(f"\ufeff{HEAD}\r\n{candle(0)}\r\n\r\n{candle(1)}\r\n\r\n".encode())
    assert take(path).rows == 2


def test_parquet_says_its_unit_itself(tmp_path: Path) -> None:
    """A timestamp column needs no --time-unit; numbers are as in a CSV."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `archive`")
    from pyarrow import parquet

    values = {name: [10.0, 10.0] for name in CANDLE_COLUMNS[1:]}
    stamps = pyarrow.array(np.array([hour(0), hour(1)], "datetime64[ms]").astype("datetime64[us]"))
    parquet.write_table(pyarrow.table({"t": stamps, **values}), tmp_path / "x.parquet")
    assert take(tmp_path / "x.parquet").last_ms == hour(1)
    parquet.write_table(pyarrow.table({"t": [hour(0), hour(1)], **values}), tmp_path / "y.parquet")
    assert take(tmp_path / "y.parquet").rows == 2
    with pytest.raises(UsageError, match="has no column vol; it has t, open"):
        take(tmp_path / "y.parquet", volume="vol")


def test_parquet_without_its_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which extra to install."""
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"needs pyarrow; install the extra: .*archive"):
        take(tmp_path / "x.parquet")


# ------------------------------------------------------------ what is refused, and where


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (f"{hour(1)},10,,9,10,1", "line 4 .*a price or the volume is missing"),
        (f"{hour(1)},10,11,nan,10,1", "line 4 .*a price or the volume is missing"),
        (f"{hour(1)},10,inf,9,10,1", "line 4 .*is infinite"),
        (f"{hour(1)},10,10.2,9,10.5,1", "line 4 .*the high is below open, close or low"),
        (f"{hour(1)},10,11,10.1,10.5,1", "line 4 .*the low is above open or close"),
        (f"{hour(1)},10,11,0,10.5,1", "line 4 .*a price is not above 0"),
        (f"{hour(1)},10,11,9,-10,1", "line 4 .*a price is not above 0"),
        (f"{hour(1)},10,11,9,10,-1", "line 4 .*the volume is negative"),
    ],
)
def test_an_impossible_row_is_refused_with_its_line_or_left_out_on_request(tmp_path: Path, bad: str, told: str) -> None:
    """The line is the file's own, empty lines counted; nothing is stored; --skip-bad leaves a gap and counts it."""
    path = put(tmp_path, candle(0), "", bad, candle(2))
    with pytest.raises(UsageError, match=told) as caught:
        take(path)
    assert "--skip-bad" in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "a.db").exists()
    done = take(path, skip_bad=True)
    assert (done.rows, done.skipped, done.gaps) == (2, 1, 1)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (f"{hour(1)},10,eleven,9,10,1", "line 3: high is 'eleven', not a number"),
        ("yesterday,10,11,9,10,1", "line 3: t is 'yesterday', not a number"),
        (f"{hour(1) // 1000},10,11,9,10,1", "line 3: .* is not a time in ms of 1973 to 2286; see --time-unit"),
        ("inf,10,11,9,10,1", "line 3: .* is not a time"),
        (",10,11,9,10,1", "line 3: .* is not a time"),
        (f"{hour(1)}.4,10,11,9,10,1", "line 3: .* is not a whole millisecond"),
        (f"{hour(1) + MINUTE_MS},10,11,9,10,1", "line 3: 2023-11-15T01:01:00Z is not the open of a 1h candle"),
        (f"{hour(0)},10,11,9,10.6,3", "line 2 and line 3 are both 2023-11-15T00:00:00Z and say different things"),
        (f"{hour(1)},10,11,9,10,1,7,8,9", "cannot be read as a table: .*line 3"),
    ],
)
def test_what_is_no_row_is_refused_even_with_skip_bad(tmp_path: Path, bad: str, told: str) -> None:
    """A time off the grid too: what is left of a 15m file would look like 1h candles."""
    path = put(tmp_path, candle(0), bad, candle(2))
    for skip_bad in (False, True):
        with pytest.raises(UsageError, match=told):
            take(path, skip_bad=skip_bad)
    assert not (tmp_path / "a.db").exists()


def test_a_contradiction_across_the_file_names_both_lines(tmp_path: Path) -> None:
    """Also when another row of that time stands between, and the file is not in order."""
    path = put(tmp_path, candle(5), candle(0), candle(1), candle(0), candle(0, "9.5"))
    with pytest.raises(UsageError, match="line 5 and line 6 are both"):
        take(path)


def test_a_file_of_a_longer_interval_is_refused(tmp_path: Path) -> None:
    """Hourly rows are on the 15m grid: stored so they would be a series of gaps."""
    with pytest.raises(UsageError, match="no two rows are less than 1h apart: --timeframe 15m is not what"):
        take(put(tmp_path, *(candle(n) for n in range(5))), "15m")
    assert take(put(tmp_path, candle(0), candle(4), candle(5)), "1h").gaps == 1


@pytest.mark.parametrize("content", [b"", b"\n", HEAD.encode(), f"{HEAD}\n\n\n".encode()])
def test_a_file_without_rows_is_one_line(tmp_path: Path, content: bytes) -> None:
    """Empty, a header alone, empty lines alone."""
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.csv"):
        take(tmp_path / "x.csv")


def test_a_file_cut_short_and_one_of_bytes_are_one_line(tmp_path: Path) -> None:
    """Half a gzip file is not half the data."""
    whole = gzip.compress((HEAD + "\n" + "\n".join(candle(n) for n in range(500))).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[:-20])
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(UsageError, match="cut short"):
        take(tmp_path / "cut.csv.gz")
    with pytest.raises(UsageError, match=r"bytes\.csv cannot be read as a table"):
        take(tmp_path / "bytes.csv")
    with pytest.raises(UsageError, match="there is no file"):
        take(tmp_path / "none.csv")


def test_more_cells_than_names_are_refused_not_shifted(tmp_path: Path) -> None:
    """pandas would take the first column for row names, or cut the last off; one trailing comma is harmless."""
    with pytest.raises(UsageError, match="more cells than its header has names"):
        take(put(tmp_path, candle(0) + ",7,8", candle(1) + ",7,8"))
    assert take(put(tmp_path, candle(0) + ",", candle(1) + ",")).rows == 2
    assert read_candles(tmp_path / "a.db", "BTC", "1h").volume.tolist() == [3.0, 3.0]


# ------------------------------------------------------------ the store


def test_a_second_import_says_what_it_changed(tmp_path: Path) -> None:
    """The same file again changes nothing, the revision included; a corrected row corrects."""
    path = put(tmp_path, *(candle(n) for n in range(5)))
    take(path)
    again = take(path)
    assert (again.rows, again.added, again.corrected) == (5, 0, 0)
    assert read_candles(tmp_path / "a.db", "BTC", "1h").revision == 1
    more = take(put(tmp_path, candle(4, "9.75"), candle(5)))
    assert (more.added, more.corrected) == (1, 1)
    found = read_candles(tmp_path / "a.db", "BTC", "1h")
    assert (found.revision, found.close.tolist()[-2:]) == (2, [9.75, 10.5])


def test_an_interrupt_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """Ctrl-C after a part has been written: none of it is there."""
    take(put(tmp_path, candle(0)))
    table = read_table(put(tmp_path, *(candle(n, "9.5") for n in range(10))), {}, CANDLE_COLUMNS, "ms")
    written: list[float] = []

    def interrupt(share: float) -> None:
        written.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_candles(tmp_path / "a.db", "BTC", "1h", table, progress=interrupt)
    assert written == [1.0]
    assert rows_of(tmp_path, "SELECT open_ms,close FROM candles") == [(hour(0), 10.5)]
    assert rows_of(tmp_path, "SELECT revision FROM series") == [(1,)]


def test_imported_data_and_a_venues_do_not_mix(tmp_path: Path) -> None:
    """One database, one market: refused in one line, nothing written."""
    connection = open_writable(tmp_path / "a.db")
    connection.execute("INSERT INTO bot_state VALUES (?,?,0)", (KEY, '"mainnet"'))
    connection.close()
    with pytest.raises(StoreError, match=r"a\.db belongs to mainnet: imported data does not mix with it"):
        take(put(tmp_path, candle(0)))
    assert rows_of(tmp_path, "SELECT count(*) FROM candles") == [(0,)]


# ------------------------------------------------------------ funding


def test_a_rate_of_eight_hours_is_spread_over_the_hours_up_to_its_time(tmp_path: Path) -> None:
    """Eight equal parts; the sum is what was settled; some ms beside the hour are the hour."""
    done = take_funding(put(tmp_path, f"{hour(8) + 47},0.0008", f"{hour(16)},-0.0016", head="t,rate"), 8)
    found = read_funding(tmp_path / "a.db", "BTC")
    assert found.hour_ms.tolist() == [hour(n) for n in range(1, 17)]
    assert found.rate.tolist() == [0.0001] * 8 + [-0.0002] * 8
    assert (done.rows, done.gaps, done.was_sorted) == (16, 0, True)


@pytest.mark.parametrize(
    ("rows", "hours", "told"),
    [
        ((f"{hour(0)},0.0001", f"{hour(1)},x"), 1, "line 3: rate is 'x', not a number"),
        ((f"{hour(0)},0.0001", f"{hour(1)},"), 1, "line 3 .*the rate is missing"),
        ((f"{hour(0)},0.0001", f"{hour(1)},0.5"), 1, r"line 3 .*a rate above 10% \(write 0.01 % as 0.0001\)"),
        ((f"{hour(0)},0.0001", f"{hour(1) + 29 * MINUTE_MS},0.1"), 1, "line 3 .*more than a minute off the hour"),
        ((f"{hour(0)},0.1", f"{hour(8)},0.1", f"{hour(16)},0.1"), 1, "no two rows are less than 8h apart"),
        ((f"{hour(0)},0.1", f"{hour(1)},0.1", f"{hour(2)},0.1"), 8, "less than --interval-hours 8 apart: an hour has"),
        ((f"{hour(0)},0.01", f"{hour(0)},0.02"), 1, "line 2 and line 3 are both .* say different things"),
    ],
)
def test_funding_that_cannot_be_is_refused(tmp_path: Path, rows: tuple[str, ...], hours: int, told: str) -> None:
    """With its line; a wrong interval would pay too much or too little in silence."""
    with pytest.raises(UsageError, match=told):
        take_funding(put(tmp_path, *rows, head="t,rate"), hours)
    assert not (tmp_path / "a.db").exists()


def test_funding_twice_unsorted_and_bad_rows_left_out_are_counted(tmp_path: Path) -> None:
    """As for candles."""
    rows = (f"{hour(3)},0.0001", f"{hour(0)},0.0002", f"{hour(3)},0.0001", f"{hour(1)},7")
    done = take_funding(put(tmp_path, *rows, head="t,rate"), skip_bad=True)
    assert done == Imported(2, 2, 0, hour(0), hour(3), 1, 1, False, 1)
