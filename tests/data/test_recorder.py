"""The session recorder: whole blocks survive, limits end a recording, nothing ever waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perp_bot.config.model import Config
from perp_bot.core.errors import StoreError, UsageError
from perp_bot.core.events import BoundaryClosed, CloseStatus, FundingSettled, SeriesClose
from perp_bot.core.types import AssetContext, Book, BookLevel, Candle, FundingRate, OrderSide, PublicTrade
from perp_bot.data import recorder as recorder_module
from perp_bot.data import recordings
from perp_bot.data.recorder import Recorder
from perp_bot.data.recordings import MARKET, Recording, SessionReader
from perp_bot.data.session_format import WHOLE, Ending, Pass, block_of, events_of, named, read_blocks

BOOK = Book("BTC", 5, (BookLevel(0.1 + 0.2, 1.0),), (BookLevel(1e-9, 3.0),))
CONTEXT = AssetContext("BTC", 5, 0.1, 1 / 3, None, 1.25e-5, 7.0, None)
TRADE = PublicTrade("BTC", 6, 100.5, 0.25, OrderSide.SELL, 2**53 + 1)
CANDLE = Candle("BTC", "15m", 0, 1.0, 2.0, 0.5, 1.5, 9.0)
EVENTS = (
    BoundaryClosed("15m", 900_000, (SeriesClose("BTC", CloseStatus.CONFIRMED, (CANDLE,), "note"),)),
    FundingSettled(FundingRate("BTC", 0, 1.25e-5, None)),
)
PASS = Pass(7, 8, {"BTC": (CONTEXT,)}, {"BTC": BOOK}, {}, [TRADE], named(EVENTS), [], [(2, "latched", True)])


def begun(root: Path) -> tuple[Recording, Recorder]:
    """Begin a recording under `root`."""
    return recordings.begin(root, Config(), kind=MARKET, venue="practice", boot_id="b")


def test_what_was_taken_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    """Floats, enums, tuples and the kinds of events: equal to what was put."""
    recording, recorder = begun(tmp_path)
    recorder.start()
    recorder.put(PASS)
    recorder.stop(Ending("done", 9, 1))
    reader = SessionReader(recording)
    (found,) = list(reader.each_pass())
    assert (found.now_ms, found.frame_ms, found.contexts, found.books) == (7, 8, PASS.contexts, PASS.books)
    assert found.trades == [TRADE]
    assert events_of(found.events) == list(EVENTS)
    assert [tuple(answer) for answer in found.answers] == [(2, "latched", True)]
    assert reader.is_whole
    assert reader.ending == Ending("done", 9, 1)


def test_a_cut_off_file_is_read_up_to_its_last_whole_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in the middle of a write, at every byte of the last block; and a flipped bit in it."""
    monkeypatch.setattr(recorder_module, "BLOCK_ENTRIES", 1)
    recording, recorder = begun(tmp_path)
    recorder.put(PASS)
    recorder.put(PASS)
    recorder.start()
    recorder.stop(None)
    (segment,) = recording.folder.glob("*.rec")
    whole = segment.read_bytes()
    half = len(recorder_module.MAGIC) + (len(whole) - len(recorder_module.MAGIC)) // 2
    for end in range(half, len(whole)):
        segment.write_bytes(whole[:end])
        reader = SessionReader(recording)
        assert (len(list(reader.each_pass())), reader.is_whole) == (1, False)
    segment.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert len(list(SessionReader(recording).each_pass())) == 1
    with pytest.raises(StoreError, match="holds no beginning"):
        SessionReader(recording).opening()


def test_older_sessions_make_room_and_the_limit_ends_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes first; a session that is too large alone ends its recording and says why."""
    first, recorder = begun(tmp_path)
    recorder.start()
    recorder.put(PASS)
    recorder.stop(None)
    second, _ = begun(tmp_path)
    newest = Recorder(second.folder, limit_bytes=second.bytes + 400, others=(first.folder,))
    monkeypatch.setattr(recorder_module, "BLOCK_ENTRIES", 1)
    for _ in range(50):
        newest.put(PASS)
    newest.start()
    newest.stop(Ending("", 0, 50))
    assert not first.folder.exists()
    assert newest.lost is not None
    assert "data.recording_mb" in newest.lost
    reader = SessionReader(second)
    assert 1 <= len(list(reader.each_pass())) < 50
    assert not reader.is_whole


def test_a_disk_that_cannot_be_written_ends_the_recording_only(tmp_path: Path) -> None:
    """`put` neither raises nor waits; `lost` says why."""
    recording, recorder = begun(tmp_path)
    (recording.folder / "000001.rec").mkdir()
    recorder.start()
    recorder.put(PASS)
    recorder.stop(None)
    assert recorder.lost is not None
    assert "cannot be written" in recorder.lost
    recorder.put(PASS)


def test_a_slow_disk_loses_the_recording_and_not_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded."""
    monkeypatch.setattr(recorder_module, "MAX_WAITING", 3)
    _, recorder = begun(tmp_path)
    for _ in range(5):
        recorder.put(PASS)
    assert recorder.lost is not None
    assert "too slow" in recorder.lost


def test_sessions_are_found_by_name_path_and_last(tmp_path: Path) -> None:
    """And a name that is none is refused with those there are."""
    one, _ = begun(tmp_path)
    two, _ = begun(tmp_path)
    assert recordings.find(tmp_path, one.name) == one
    assert recordings.find(tmp_path, "last") == two
    assert recordings.find(tmp_path / "elsewhere", str(two.folder)) == two
    with pytest.raises(UsageError, match=f"no recorded session 'x'; recorded: {one.name}, {two.name}"):
        recordings.find(tmp_path, "x")


def test_a_block_whose_checksum_is_wrong_is_not_believed(tmp_path: Path) -> None:
    """Sound compression is not enough."""
    block = block_of([PASS])
    wrong = block[:4] + bytes([block[4] ^ 1]) + block[5:]
    path = tmp_path / "000001.rec"
    path.write_bytes(recorder_module.MAGIC + block + wrong + block)
    found = list(read_blocks(path, WHOLE))
    assert [None if entries is None else len(entries) for entries in found] == [1, None]
