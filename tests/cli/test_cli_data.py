"""perpbot data list, check, import: output, exit codes, refusals in one line, and the sets that ship with it."""

from __future__ import annotations

import json
import os
import sqlite3
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cli_run import RunCommand

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.data.columns import read_candles, read_funding, read_minutes
from perp_bot.ops.instance_lock import InstanceLock
from perp_bot.practice.thread import PracticeServer

T = 1_700_006_400_000  # 2023-11-15T00:00:00Z
RECORDED = 1_767_006_000_000  # 2025-12-29T11:00:00Z


def file_of(tmp_path: Path, *indexes: int, name: str = "btc.csv") -> Path:
    rows = "".join(f"{T + n * HOUR_MS},10,11,9,10,1\n" for n in indexes)
    (tmp_path / name).write_text("t,open,high,low,close,volume\n" + rows, encoding="utf-8")
    return tmp_path / name


def test_a_file_is_imported_listed_and_checked(perpbot: RunCommand, tmp_path: Path) -> None:
    """What is odd is exit code 5; --json is one object."""
    file_of(tmp_path, 1, 0, 2, 5, 5)
    ran = perpbot("data", "import", "btc.csv", "--symbol", "BTCUSDT", "--timeframe", "1h")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "BTC 1h: 4 rows from 2023-11-15T00:00:00Z to 2023-11-15T05:00:00Z; the file was not in order and was sorted; "
        "1 row was there twice, the same; 1 gap\n"
    )
    listed = perpbot("data", "list")
    assert listed.code == 0
    assert listed.out.splitlines()[1].split() == (
        ["BTC", "1h", "2023-11-15", "2023-11-15", "4", "2", "in", "1", "-", "0", "0", "import"]
    )
    (series,) = json.loads(perpbot("data", "list", "--json").out)["series"]
    assert (series["symbol"], series["gaps"], series["sources"]) == ("BTC", 1, {"import": 4})
    checked = perpbot("data", "check")
    assert checked.code == 5
    assert checked.out.splitlines() == [
        "BTC 1h: 2 candles missing from 2023-11-15T03:00:00Z to 2023-11-15T05:00:00Z",
        "BTC: no funding rate is stored from 2023-11-15T00:00:00Z to 2023-11-15T06:00:00Z",
    ]
    as_json = perpbot("data", "check", "--json")
    assert as_json.code == 5
    assert [item["kind"] for item in json.loads(as_json.out)["findings"]] == ["gap", "funding_gap"]


def test_many_findings_of_a_kind_are_cut_and_counted(perpbot: RunCommand, tmp_path: Path) -> None:
    """Twenty, then how many more; all of them with --json."""
    file_of(tmp_path, 0, 1, *range(3, 60, 2))
    perpbot("data", "import", "btc.csv", "--symbol", "BTC", "--timeframe", "1h")
    lines = perpbot("data", "check").out.splitlines()
    assert len(lines) == 22
    assert lines[20] == "BTC 1h: and 9 more like it up to 2023-11-17T10:00:00Z (all with --json)"
    assert len(json.loads(perpbot("data", "check", "--json").out)["findings"]) == 30


def test_a_second_import_and_funding_say_what_they_did(perpbot: RunCommand, tmp_path: Path) -> None:
    """In the same line."""
    file_of(tmp_path, 0, 1)
    arguments = ("data", "import", "btc.csv", "--symbol", "BTC", "--timeframe", "1h")
    perpbot(*arguments)
    assert "; 0 are new, 0 correct stored ones, 2 were stored already" in perpbot(*arguments).out
    (tmp_path / "f.csv").write_text(f"when,rate\n{T},0.0008\n", encoding="utf-8")
    ran = perpbot("data", "import", "f.csv", "--symbol", "BTC", "--funding", "--interval-hours", "8",
                  "--columns", "t=when", "--json")  # fmt: skip
    done = json.loads(ran.out)
    assert (ran.code, done["rows"], done["first_ms"], done["timeframe"]) == (0, 8, T - 7 * HOUR_MS, None)
    assert read_funding(tmp_path / "perp_bot.db", "BTC").rate.tolist() == [0.0001] * 8


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("none.csv", "--symbol", "BTC", "--timeframe", "1h"), "there is no file none.csv"),
        (("btc.csv", "--symbol", "BTC", "--timeframe", "7m"), "--timeframe 7m: there are 1m, 3m"),
        (("btc.csv", "--symbol", "BTC"), "--timeframe is missing: there are 1m, 3m"),
        (("btc.csv", "--timeframe", "1h"), "--symbol is missing: whose rows are these?"),
        (("btc.csv", "--symbol", "B C", "--timeframe", "1h"), "--symbol: "),
        (("btc.csv", "--symbol", "BTC", "--timeframe", "1h", "--columns", "time=t"), "--columns 'time=t': write OURS"),
        (("btc.csv", "--symbol", "BTC", "--timeframe", "1h", "--columns", "t=x"), "btc.csv has no column x; it has t,"),
        (("btc.csv", "--symbol", "BTC", "--timeframe", "15m"), "no two rows are less than 1h apart"),
        (("--bundled", "kraken"), "there is no bundled set 'kraken'; there are: hyperliquid, binance-8h"),
        (("btc.csv", "--bundled", "hyperliquid"), "give a FILE or --bundled SET"),
        ((), "give a FILE or --bundled SET"),
    ],
)
def test_bad_arguments_and_files_are_one_line(
    perpbot: RunCommand, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    """Exit code 2, what is wrong and what to do, nothing stored."""
    file_of(tmp_path, 0, 1, 2)
    ran = perpbot("data", "import", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "perp_bot.db").exists()


def test_no_database_says_how_to_get_one(perpbot: RunCommand) -> None:
    """list and check."""
    for command in ("list", "check"):
        ran = perpbot("data", command)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert "perpbot data import --bundled" in ran.err


def test_a_living_daemon_refuses_an_import(perpbot: RunCommand, tmp_path: Path) -> None:
    """One writer per database (I8)."""
    file_of(tmp_path, 0, 1)
    with InstanceLock(tmp_path / "perp_bot.db.lock"):
        for arguments in (("btc.csv", "--symbol", "BTC", "--timeframe", "1h"), ("--bundled", "binance-8h")):
            ran = perpbot("data", "import", *arguments)
            assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
            assert f"a daemon (pid {os.getpid()})" in ran.err


# ------------------------------------------------------------ the sets that ship with perpbot


@pytest.mark.slow
def test_the_bundled_hours_are_what_the_practice_venue_serves(perpbot: RunCommand, tmp_path: Path) -> None:
    """Candles, funding, marks, oracle, number by number; all candles but the recorded hours are labelled generated."""
    assert perpbot("data", "import", "--bundled", "hyperliquid").code == 0
    db = tmp_path / "perp_bot.db"
    start_ms = RECORDED + 100 * HOUR_MS
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        for coin in ("BTC", "ETH"):
            for timeframe, count in (("1m", 240), ("5m", 48), ("15m", 16), ("1h", 4)):
                request = {
                    "coin": coin,
                    "interval": timeframe,
                    "startTime": start_ms,
                    "endTime": start_ms + 4 * HOUR_MS - 1,
                }
                served = ask(venue.base_url, {"type": "candleSnapshot", "req": request})
                stored = read_candles(db, coin, timeframe, start_ms, start_ms + 4 * HOUR_MS)
                columns = (stored.open_ms, stored.open, stored.high, stored.low, stored.close, stored.volume)
                rows = [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
                assert rows == [(row["t"], *(float(row[name]) for name in "ohlcv")) for row in served]
                assert len(rows) == count
                assert stored.generated_rows == (0 if timeframe == "1h" else count)
            rates = ask(venue.base_url, {"type": "fundingHistory", "coin": coin, "startTime": start_ms,
                                         "endTime": start_ms + 9 * HOUR_MS + MINUTE_MS})  # fmt: skip
            funding = read_funding(db, coin, start_ms, start_ms + 9 * HOUR_MS + 1)
            served_rates = [(row["time"] // HOUR_MS * HOUR_MS, float(row["fundingRate"])) for row in rates]
            assert list(zip(funding.hour_ms.tolist(), funding.rate.tolist(), strict=True)) == served_rates
            assert len(served_rates) == 10
        meta, contexts = ask(venue.base_url, {"type": "metaAndAssetCtxs"})
        for row, context in zip(meta["universe"], contexts, strict=True):
            if row["name"] in ("BTC", "ETH"):
                now = read_minutes(db, row["name"], RECORDED + 400 * HOUR_MS, RECORDED + 400 * HOUR_MS + MINUTE_MS)
                assert now.mark_open.tolist() == [float(context["markPx"])]
                assert now.oracle_open.tolist() == [float(context["oraclePx"])]


def ask(base_url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{base_url}/info", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.mark.slow
def test_the_bundled_hours_are_whole_and_can_be_filled_again(perpbot: RunCommand, tmp_path: Path) -> None:
    """800 hours of two coins with nothing odd; minutes agree with the hours; a second time is the same data."""
    for named in ((), ("hyperliquid",)):  # the default
        ran = perpbot("data", "import", "--bundled", *named, "--json")
        assert (ran.code, json.loads(ran.out)["bundled"]) == (0, "hyperliquid")
    assert perpbot("data", "check").code == 0
    reports = json.loads(perpbot("data", "list", "--json").out)["series"]
    assert [(row["symbol"], row["timeframe"], row["candles"], row["generated"]) for row in reports] == [
        (coin, timeframe, count, 0 if timeframe == "1h" else count)
        for coin in ("BTC", "ETH")
        for timeframe, count in (("1m", 48_000), ("5m", 9_600), ("15m", 3_200), ("1h", 800))
    ]
    assert {(row["funding_hours"], row["minutes"]) for row in reports} == {(800, 48_000)}
    db = tmp_path / "perp_bot.db"
    fine, hourly, marks = read_candles(db, "ETH", "1m"), read_candles(db, "ETH", "1h"), read_minutes(db, "ETH")
    assert fine.high.reshape(-1, 60).max(axis=1).tolist() == hourly.high.tolist()
    assert fine.low.reshape(-1, 60).min(axis=1).tolist() == hourly.low.tolist()
    assert fine.close[59::60].tolist() == hourly.close.tolist()
    assert marks.minute_ms.tolist() == list(range(RECORDED, RECORDED + 800 * HOUR_MS, MINUTE_MS))
    assert bool((marks.mark_high >= marks.mark_low).all())
    assert float(abs(marks.mark_close / fine.close - 1).max()) < 0.01


def test_bundled_binance_pays_each_rate_over_the_hours_before_it(perpbot: RunCommand, tmp_path: Path) -> None:
    """As settled: the first row's rate belongs to the 8 hours up to its open, not to the hours of its candle."""
    assert perpbot("data", "import", "--bundled", "binance-8h").code == 0
    db = tmp_path / "perp_bot.db"
    first_ms = 1_672_531_200_000  # 2023-01-01T00:00:00Z
    candles, funding = read_candles(db, "BTC", "8h"), read_funding(db, "BTC")
    assert (len(candles), int(candles.open_ms[0]), candles.generated_rows) == (1642, first_ms, 0)
    assert funding.hour_ms.tolist() == list(range(first_ms - 7 * HOUR_MS, int(candles.open_ms[-1]) + 1, HOUR_MS))
    # Binance settled 0.01 % at 00:00 and 08:00 and 0.000691 % at 16:00 of that day
    settled = {int(at): float(rate) * 8 for at, rate in zip(funding.hour_ms, funding.rate, strict=True)}
    assert settled[first_ms] == pytest.approx(1e-4)
    assert [settled[first_ms + n * HOUR_MS] for n in (9, 16)] == pytest.approx([6.91e-6] * 2)
    assert settled[first_ms + 8 * HOUR_MS] == pytest.approx(1e-4)
    checked = perpbot("data", "check")
    assert checked.out.splitlines() == [
        f"{coin}: 8 funding rates missing from 2024-07-01T01:00:00Z to 2024-07-01T08:00:00Z" for coin in ("BTC", "ETH")
    ]


@pytest.mark.slow
def test_sets_files_and_venues_do_not_mix(perpbot: RunCommand, tmp_path: Path) -> None:
    """One database, one market; the refusal changes nothing."""
    perpbot("data", "import", "--bundled", "binance-8h")
    file_of(tmp_path, 0, 1)
    for arguments in (("--bundled", "hyperliquid"), ("btc.csv", "--symbol", "BTC", "--timeframe", "1h")):
        ran = perpbot("data", "import", *arguments)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == (
            "perpbot: perp_bot.db belongs to bundled binance-8h: imported data does not mix with it; "
            "set another data.db_path\n"
        )
    with PracticeServer(speed=None, start="400") as venue:
        ran = perpbot("backfill", "--days", "1", "--venue", venue.base_url)
    assert ran.code == 1
    assert "this database belongs to bundled binance-8h" in ran.err
    connection = sqlite3.connect(tmp_path / "perp_bot.db")
    assert connection.execute("SELECT count(*), count(DISTINCT timeframe) FROM candles").fetchone() == (3284, 1)
    connection.close()
