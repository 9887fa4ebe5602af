"""What the panes say, as text: values, ages, empty states with a reason, hostile data."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from fake_daemon import T0_MS, a_position, a_price, a_signal, a_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from tui_rows import a_decision, a_resting_stop, a_trade, an_open_position

from perp_bot.ipc.state import Ages, EventNote, LimitState
from perp_bot.tui import spans
from perp_bot.tui.formats import compact_usd, number, price
from perp_bot.tui.panes import chrome, header, history, offline, positions, risk, signals
from perp_bot.tui.spans import PaneContent, cut, fit, visible, width_of, wrap
from perp_bot.tui.store import (
    Facts,
    FrameArrived,
    History,
    LastRun,
    Link,
    LinkChanged,
    NoteArrived,
    Outcome,
    OutcomeState,
    Presence,
    ViewState,
    reduce,
)
from perp_bot.tui.table import Column, Line, build

FACTS = Facts("paper", "practice", "paper", "/s", "/d", "/l", "perpbot")
HISTORY = History(
    0.0,
    trades=(a_trade(2, net="-4.20", reason="zscore_stop"), a_trade(1)),
    decisions=(a_decision(91, blocked=True), a_decision(90)),
    positions=(an_open_position(),),
    orders=(a_resting_stop(),),
)


def live(history_read: History | None = HISTORY, **changes: Any) -> ViewState:
    """Return a view with one frame received at second 1."""
    view = reduce(ViewState(FACTS, 0.0), LinkChanged(Link.OPEN, 1.0))
    view = reduce(view, FrameArrived(a_snapshot(**changes), 0.0, 1.0))
    return view if history_read is None else reduce(view, history_read)


def text_of(content: PaneContent) -> str:
    """Return a pane as text."""
    head = "" if content.head is None else content.head.text.rstrip() + "\n"
    return f"{content.title}\n{head}" + "\n".join(row.text.rstrip() for row in content.rows)


def head_text(view: ViewState, now_s: float, width: int = 120) -> str:
    """Return the header as text."""
    return "\n".join(row.text.rstrip() for row in header.lines(view, now_s, width, 3))


# ---------------------------------------------------------------- header


def test_the_header_names_mode_venue_state_ages_and_the_account() -> None:
    """Header: mode, venue, status, time up, connection age, loop and stream age, equity, day PnL, regime, prices."""
    first, second, third = head_text(live(), 1.5).split("\n")
    assert first.startswith(
        "  PAPER practice   RUNNING up 3h03m  ● LIVE 0.5s  loop 0.6s  stream 0.7s  recon 12s  viewers 1 "
    )
    assert first.endswith(" 2026-11-21 05:31:07 UTC")
    assert second.startswith(
        " equity 671.42 0.7s  day +2.21 (+0.33 %)  uPnL -0.79  regime NORMAL  fees -0.89  funding -0.01"
    )
    assert second.endswith("  trades 2  margin 334.10")
    assert third == " BTC 64,250 0.7s bid/ask 64,244/64,256  ETH 3,120.5 0.7s bid/ask 3,120.2/3,120.8"


def test_every_price_of_the_header_is_shown_before_any_detail() -> None:
    """A coin never drops out because another one's book took the room."""
    assert head_text(live(), 1.5, 60).split("\n")[2].startswith(" BTC 64,250 0.7s  ETH 3,120.5 0.7s  ")


def test_stale_values_carry_their_time_and_no_live_style() -> None:
    """Past the threshold a value is dimmed and suffixed with its time; uPnL is not recomputed."""
    view = live()
    rows = header.lines(view, 8.0, 120, 3)
    assert "○ STALE 7.0s" in rows[0].text
    assert "was RUNNING" in rows[0].text
    assert "equity 671.42 @05:31:07" in rows[1].text
    assert ("671.42", "stale") in rows[1].spans
    assert ("-0.79", "stale") in rows[1].spans
    assert "64,250 7.2s STALE" in rows[2].text


def test_a_mark_that_stands_still_makes_the_numbers_derived_from_it_stale() -> None:
    """A derived number takes the age of its oldest input, on a connection that is otherwise live."""
    old = a_position(mark_age_s=40.0)
    view = live(positions=(old,), prices=(a_price(mark_age_s=40.0), a_price("ETH", 3_120.5)))
    rows = header.lines(view, 1.5, 160, 3)
    assert ("-0.79", "stale") in rows[1].spans
    assert ("671.42", "stale") in rows[1].spans
    assert ("+2.21", "gain") in rows[1].spans  # realized: as fresh as the frame
    assert ("64,250", "stale") in rows[2].spans
    assert ("3,120.5", "text") in rows[2].spans
    pane = positions.content(view, 1.5, 160)
    assert ("    -0.79", "stale") in pane.rows[0].spans
    assert "40s STALE" in pane.rows[0].text


def test_a_stream_that_is_down_is_a_word_in_the_header_and_an_alert() -> None:
    """A stuck market stream behind a healthy daemon is visible."""
    view = live(stream_connected=False, ages=Ages(loop_s=0.1, stream_s=33.0, reconcile_s=None, db_write_s=None))
    assert "stream DOWN 33s" in head_text(view, 1.1)
    assert "market stream is down" in "".join(text for text, _ in header.alerts(view, 1.1))


def test_an_age_that_never_was_is_called_never() -> None:
    """None is not zero."""
    view = live(ages=Ages(loop_s=0.1, stream_s=None, reconcile_s=None, db_write_s=None))
    assert "stream never" in head_text(view, 1.1)
    assert "recon" not in head_text(view, 1.1)


def test_books_that_do_not_balance_come_first() -> None:
    """I11: an accounting gap of a cent or more is the most important thing in the header."""
    account = msgspec.structs.replace(a_snapshot().account, accounting_error_max_usd=0.05)
    assert head_text(live(account=account), 1.1).split("\n")[1].startswith(" books off by 0.0500 USD")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "KILLED", "status_reasons": ("killed by cli: test",)}, "KILLED: killed by cli: test"),
        ({"status": "PAUSED", "status_reasons": ("operator",)}, "PAUSED: operator (r resumes)"),
        ({"status": "DEGRADED", "status_reasons": ("writer failed", "x")}, "DEGRADED: writer failed; x"),
        ({"status": "RECONCILING"}, "RECONCILING: no entries yet"),
    ],
)
def test_every_bot_state_but_running_is_an_alert_with_its_reason(changes: dict[str, Any], said: str) -> None:
    """Bot states are reported by the daemon, with named reasons."""
    assert said in "".join(text for text, _ in header.alerts(live(**changes), 1.1))
    assert header.alerts(live(), 1.1) == []


def test_a_kill_names_the_way_back() -> None:
    """KILLED names the exact command to resume."""
    view = live(status="KILLED", status_reasons=("killed by cli: test",))
    assert "perpbot unkill" in "".join(text for text, _ in header.alerts(view, 1.1))


def test_an_unresponsive_loop_gives_the_line_for_the_shell() -> None:
    """UNRESPONSIVE: KILL works, FLATTEN only as the command."""
    view = reduce(live(), FrameArrived(a_snapshot(seq=2), 12.0, 1.0))
    shown = "".join(text for text, _ in header.alerts(view, 1.1))
    assert "trading loop does not" in shown
    assert "perpbot kill --flatten --take-over" in shown


# ---------------------------------------------------------------- positions, signals, risk


def test_a_position_without_a_stop_is_a_danger_and_not_a_dash() -> None:
    """An unprotected position must not look like a missing number."""
    pane = positions.content(live(positions=(a_position(stop_px=None),)), 1.1, 120)
    assert ("   NO STOP", "danger") in pane.rows[0].spans


def test_missing_numbers_are_dashes_never_zero() -> None:
    """None from the daemon is `-` everywhere."""
    gone = a_position(mark_px=None, mark_age_s=None, notional_usd=None, unrealized_usd=None)
    shown = positions.content(live(positions=(gone,)), 1.1, 160).rows[0].text
    assert "0.00 " not in shown
    assert "no age" in shown
    account = msgspec.structs.replace(a_snapshot().account, equity_usd=None, unrealized_usd=None)
    assert "equity - " in head_text(live(account=account), 1.1)


def test_low_priority_columns_drop_out_first_and_are_counted() -> None:
    """The pane's title says how many columns are hidden; coin, side, size, uPnL and age stay."""
    pane = positions.content(live(), 1.1, 60)
    assert pane.head is not None
    assert pane.head.text.split() == ["COIN", "SIDE", "SIZE", "ENTRY", "uPNL", "AGE"]
    assert pane.note == "10 columns hidden"
    assert all(width_of(row.text) <= 60 for row in pane.rows)


GOLDEN = """\
Signals (2)
 BTC 15m mean_reversion  candle to 05:30:00 (1m07s ago)  1,412 bars
   z     +1.42 ─────┃────┃───────┃───┃────●──┃────┃─────  |z| in 2 out 0.3 stop 3
   RSI    63.1 ────────────┃────────────●──┃────────────  below 30 or above 70
   ADX    18.2 ────────────●────┃───────────────────────  below 25 (no trend)
   ✗z ✗rsi ✗band ✓adx
   HOLD: z 1.42 is inside +/-2.00
   1.3s  spread 0.16 bps  depth 1.2M  slip 0.31 bps  vol 0.042 %/min
 ETH 15m mean_reversion  candle to 05:30:00 (1m07s ago)  1,412 bars
   z     +2.31 ─────┃────┃───────┃───┃───────┃─●──┃─────  |z| in 2 out 0.3 stop 3
   RSI    74.2 ────────────┃───────────────┃─●──────────  below 30 or above 70
   ADX    21.0 ──────────────●──┃───────────────────────  below 25 (no trend)
   ✓z ✓rsi ✓band ✓adx
   BLOCKED BY max_positions: 1 of 1 positions open  (wanted: short: z 2.31 > 2.00)
   1.3s  spread 0.32 bps  depth 830.0k  slip 0.55 bps  vol 0.061 %/min"""


def test_signals_show_values_thresholds_conditions_and_the_reason_for_no_trade() -> None:
    """Why not traded is on screen: conditions, reason, blocked_by."""
    shown = text_of(signals.content(live(), 1.5, 90, 16))
    assert shown == GOLDEN
    little_room = text_of(signals.content(live(), 1.5, 60, 14))
    assert "BLOCKED BY max_positions: 1 of 1 positions open  …" in little_room


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "─┃──●──┃─"),
        (2.0, "─┃─────●─"),
        (-9.0, "◂┃─────┃─"),
        (9.0, "─┃─────┃▸"),
        (None, "╌╌╌╌╌╌╌╌╌"),
        (float("nan"), "╌╌╌╌╌╌╌╌╌"),
    ],
)
def test_a_gauge_places_the_value_between_its_marks(value: float | None, expected: str) -> None:
    """Gauges against thresholds: bars at the marks, a dot at the value, arrows beyond the ends."""
    assert signals.gauge(value, -2.6666, 2.6666, (-2.0, 2.0), 9) == expected


def test_warm_up_and_starvation_are_said_before_anything_else() -> None:
    """A strategy that cannot enter says why."""
    assert signals.verdict(a_signal(bars=312))[0] == "WARM-UP 312/400 bars: no entry before"
    assert signals.verdict(a_signal(starved="no producer of open interest"))[0].startswith("STARVED: no producer")
    assert signals.verdict(a_signal(action=None, reason=None))[0] == "not evaluated yet"
    assert signals.verdict(a_signal(action="enter_short", reason="z 2.31")) == ("ENTER short: z 2.31", "ok")


def test_limits_are_sorted_worst_first_with_bars_and_full_sentences() -> None:
    """Risk: used/limit bars and the sentence with numerator, denominator and window."""
    pane = risk.content(live(), 1.1, 80, 14)
    lines = [row.text.rstrip() for row in pane.rows]
    assert pane.title == "Risk (1 of 7 at their limit)"
    assert lines[0] == " positions        ████████████████████████ AT LIMIT  1 / 1"
    assert lines[1] == "   1 of 1 positions open"
    assert lines[6] == " daily loss       ██████▎░░░░░░░░░░░░░░░░░     26 %  2.10 % / 8.00 %"
    assert lines[7] == "   lost 2.1 % of 670.00 day-start equity, limit 8 %"
    with_little_room = risk.content(live(), 1.1, 80, 7)
    assert len(with_little_room.rows) == 7


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 60))
def test_a_bar_has_its_width_whatever_the_share(share: float, cells: int) -> None:
    """A bar never overflows, however much was used."""
    used = None if share != share else share
    assert len(risk.bar(used if used is None or abs(used) != float("inf") else None, cells)) == cells


def test_a_limit_of_zero_has_no_share() -> None:
    """Division by a limit of 0 gives no percentage, not an error."""
    none = LimitState("x", "k", 1.0, 0.0, "usd", False, "nothing allowed")
    assert risk.share(none) is None
    assert "nothing allowed" in text_of(risk.content(live(limits=(none,)), 1.1, 80, 7))


# ---------------------------------------------------------------- history and offline


def test_trades_show_the_net_with_its_sign_and_their_sum() -> None:
    """Trade roll-up with a total; a stop is marked by its reason."""
    pane = history.trades(live(), 1.1, 120)
    assert pane.title == "Trades (2, net -2.26)"
    assert pane.rows[0].text.split()[:6] == ["11-20", "07:19:47", "BTC", "▲", "long", "0.0156"]
    assert "-4.20" in pane.rows[0].text
    assert pane.rows[0].text.rstrip().endswith("zscore_stop")


def test_decisions_say_what_blocked_them() -> None:
    """A blocked entry is shown with the sentence of the limit."""
    pane = history.decisions(live(), 1.1, 140)
    assert "BLOCKED BY 12 min of 30 min cooldown left" in pane.rows[0].text
    assert "z 0.42 is inside +/-2.00" in pane.rows[1].text


def test_a_pushed_event_that_is_also_stored_is_shown_once() -> None:
    """The socket is quicker than the database; neither doubles the other."""
    from perp_bot.tui.store import StoredEvent

    stored = History(0.0, events=(StoredEvent(T0_MS, "OPEN", "BTC", "long"),))
    view = reduce(live(stored), NoteArrived(EventNote(T0_MS, "OPEN", "BTC", "long"), 1.0))
    view = reduce(view, NoteArrived(EventNote(T0_MS + 1, "STOP", "BTC", "hit"), 1.0))
    view = reduce(view, Outcome(1, "PAUSE", OutcomeState.UNKNOWN, "no answer in 5 s", 1.0, T0_MS))
    rows = history.events(view, 1.1, 100).rows
    assert [row.text.split()[2:5] for row in rows] == [
        ["UNKNOWN", "you", "PAUSE:"],
        ["STOP", "BTC", "hit"],
        ["OPEN", "BTC", "long"],
    ]


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (None, "reading trades from the database"),
        (History(0.0, error="database is locked"), "database is locked"),
        (History(0.0), "no closed trade"),
    ],
)
def test_an_empty_pane_says_why(read: History | None, said: str) -> None:
    """EMPTY, LOADING and ERROR are different sentences."""
    assert said in text_of(history.trades(live(read), 1.1, 100))


def gone(run: LastRun | None, *, lock_pid: int | None = None, latched: str | None = None) -> ViewState:
    """Return a view whose daemon is away."""
    view = reduce(ViewState(FACTS, 0.0), LinkChanged(Link.REFUSED, 1.0, "no socket at /s", 1.0))
    view = reduce(view, HISTORY)
    return reduce(view, Presence(2.0, lock_pid, run, latched, T0_MS - 720_000, T0_MS))


def test_offline_tells_the_last_exit_the_positions_and_what_to_do() -> None:
    """Offline: exit time, code and reason; positions as of a time, unwatched; commands to copy."""
    run = LastRun(4242, T0_MS - 9_000_000, T0_MS - 720_000, 1, "VenueAway: nothing answers")
    shown = text_of(offline.content(gone(run), 3.0, 130))
    assert "Last exit: 2026-11-21 05:19:07 UTC, 12m00s ago, code 1   VenueAway: nothing answers" in shown
    assert "Last known positions (1)   as of the last write 2026-11-21 05:19:07 UTC, 12m00s ago" in shown
    assert "BTC   ▲ long  0.0156 at 64,300.5  stop 63,012" in shown
    assert "UNWATCHED: paper stops need the daemon" in shown
    assert "stop sell 0.0156 at 63012  open" in shown
    assert "perpbot trade --paper" in shown
    assert "perpbot kill" in shown


def test_a_run_without_an_end_is_a_crash() -> None:
    """CRASHED is read from a run record that has no end."""
    shown = text_of(offline.content(gone(LastRun(4242, T0_MS - 9_000_000, None, None, "")), 3.0, 130))
    assert "CRASHED started 2026-11-21 03:01:07 UTC, pid 4242; it wrote no end" in shown
    assert "no daemon ever ran" in text_of(offline.content(gone(None), 3.0, 130))


def test_a_latch_is_named_on_the_offline_screen() -> None:
    """A kill that will hold at the next start is not hidden by the daemon's absence."""
    view = gone(None, latched="killed by cli: panic")
    assert "killed by cli: panic; back: perpbot unkill" in text_of(offline.content(view, 3.0, 130))
    assert "KILLED" in "".join(text for text, _ in header.alerts(view, 3.0))


def test_a_living_process_without_a_socket_gets_other_commands() -> None:
    """IPC DOWN offers the kill that works without the socket."""
    view = gone(LastRun(77, T0_MS, None, None, ""), lock_pid=77)
    shown = text_of(offline.content(view, 3.0, 130))
    assert "pid 77" in shown
    assert "perpbot kill --flatten --take-over" in shown
    assert "CRASHED" not in shown


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_offline_lines_fit_their_width(width: int) -> None:
    """At 80 columns nothing important is cut: it is wrapped."""
    run = LastRun(4242, T0_MS - 9_000_000, T0_MS - 720_000, 1, "VenueAway: nothing answers " * 5)
    content = offline.content(gone(run), 3.0, width)
    assert max(width_of(row.text) for row in content.rows) <= max(width, 80)


# ---------------------------------------------------------------- text


HOSTILE = "[bold red]x[/] \x1b[2J \x07\r\n\t \u202e \u200b \x9b31m \ud800"


def test_hostile_text_reaches_no_pane_unescaped() -> None:
    """Markup is text; control characters, bidi and surrogates become visible glyphs, in every pane."""
    view = live(
        History(0.0, trades=(a_trade(1, reason=HOSTILE),), error=HOSTILE),
        venue_note=HOSTILE,
        status="DEGRADED",
        status_reasons=(HOSTILE,),
        regime=HOSTILE,
        positions=(a_position(HOSTILE, strategy=HOSTILE, side=HOSTILE),),
        signals=(a_signal(HOSTILE, reason=HOSTILE, blocked_by=(HOSTILE,), conditions={HOSTILE: None}),),
        limits=(LimitState(HOSTILE, "k", 1, 1, HOSTILE, True, HOSTILE),),
        prices=(a_price(HOSTILE),),
    )
    view = reduce(view, NoteArrived(EventNote(T0_MS, HOSTILE, HOSTILE, HOSTILE), 1.0))
    texts = [head_text(view, 1.1), chrome.footer(view, 1.1, 80).text, text_of(chrome.health_content(view, 1.1, 90))]
    texts += [
        text_of(pane(view, 1.1, 100)) for pane in (positions.content, positions.orders, history.trades, history.events)
    ]
    texts += [text_of(pane(view, 1.1, 100, 30)) for pane in (signals.content, risk.content)]
    for shown in texts:
        body = shown.replace("\n", "")
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b\u202e\ud800]", body), repr(shown)
    assert "[bold red]x[/] ␛[2J" in texts[3]


@given(st.text())
def test_visible_text_holds_nothing_that_drives_a_terminal(text: str) -> None:
    """No control character survives, and the length stays: one glyph for each."""
    shown = visible(text)
    assert len(shown) == len(text)
    shown.encode("utf-8")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", shown)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc", "Mn", "Me", "Cf"))), st.integers(1, 40))
def test_fitted_text_has_exactly_its_width(text: str, width: int) -> None:
    """Columns align whatever is in them, wide characters included."""
    assert width_of(fit(text, width)) == width
    assert width_of(fit(text, width, right=True)) == width
    assert spans.cells_of(cut([(text, ""), ("tail", "")], width)) <= width


@given(st.text(alphabet="ab 字é"), st.integers(2, 30))
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int) -> None:
    """Wrapping keeps every character that is not a space."""
    lines = wrap(text, width)
    assert all(width_of(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@settings(max_examples=50)
@given(st.integers(10, 200), st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_table_rows_never_exceed_the_pane(width: int, texts: list[str]) -> None:
    """A table fits the pane it is drawn in once that is wider than its first column."""
    columns = [Column("A", 3, 1), Column("B", 3, 2, right=False), Column("C", 3, 3, stretch=True)]
    content = build(
        "t", columns, [Line(str(i), ((t, ""), (t, ""), (t, ""))) for i, t in enumerate(texts)], width, empty=""
    )
    if content.head is not None and len(content.head.spans) > 3:
        assert all(width_of(row.text) <= width for row in content.rows)
    assert len({width_of(row.text) for row in content.rows}) == 1


@pytest.mark.parametrize(
    ("px", "decimals", "text"),
    [
        (64_250.0, 5, "64,250"),
        (64_250.5, 5, "64,250"),
        (3_120.55, 4, "3,120.6"),
        (0.012345, 0, "0.012345"),
        (1.23456, 1, "1.2346"),
        (None, 5, "-"),
        (float("nan"), 5, "-"),
        (64_250.25, None, "64,250.25"),
        (100_000.0, None, "100,000"),
    ],
)
def test_prices_are_written_on_the_venues_grid(px: float | None, decimals: int | None, text: str) -> None:
    """5 significant figures, at most 6 - szDecimals decimals; without szDecimals nothing is rounded away."""
    assert price(px, decimals) == text


def test_numbers_have_no_negative_zero_and_no_nan() -> None:
    """-0.00 and NaN are not numbers for people."""
    assert number(-0.001) == "0.00"
    assert number(-0.001, sign=True) == "+0.00"
    assert number(float("nan")) == "-"
    assert compact_usd(float("inf")) == "-"
    assert [compact_usd(value) for value in (950, 12_300, 1_250_000, 2.5e9)] == ["950", "12.3k", "1.2M", "2.5B"]
