"""Every invariant and every known mistake, broken on purpose: what is broken, how, and the test that must notice.

A sabotage that no test catches is a missing test. Not here, because what they break does not exist yet: cache keys
with the current millisecond (the signal cache), I3 (b) and (c) (the backtest), an answer lost at the venue taken for
"no position" (live; its like on paper is a failed read taken for an empty answer).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One patch of one file, and its catcher."""

    name: str
    breaks: str  # an invariant, or the known mistake
    file: str  # within perp_bot
    old: str  # occurs exactly once
    new: str
    caught_by: str  # test node within tests


SABOTAGES = (
    # ------------------------------------------------------------ I1: no look-ahead
    Sabotage(
        "a view may end later than its candle",
        "I1",
        "decision/view.py",
        "if len(open_ms) == 0 or int(open_ms[-1]) != candle.open_ms:",
        "if len(open_ms) == 0:",
        "invariants/test_i01_look_ahead.py::test_the_view_refuses_a_series_that_goes_on_after_its_candle",
    ),
    Sabotage(
        "the history gives later candles too",
        "I1",
        "trading/history.py",
        "return tuple(islice(self._candles, len(self._candles) - later))",
        "return tuple(self._candles)",
        "trading/test_history.py::test_nothing_later_than_asked_is_given",
    ),
    Sabotage(
        "the oldest candles are evaluated",
        "known mistake: evaluating the oldest candles",
        "data/db/reader.py",
        '"ORDER BY open_ms DESC LIMIT ?"',
        '"ORDER BY open_ms ASC LIMIT ?"',
        "db/test_db_round_trips.py::test_limits_and_filters_take_the_newest",
    ),
    # ------------------------------------------------------------ I2: the numbers
    Sabotage(
        "sigma of the sample instead of the population",
        "I2",
        "indicators/kernels.py",
        "sums[k] = math.sqrt(sums[k] / n)",
        "sums[k] = math.sqrt(sums[k] / (n - 1))",
        "invariants/test_catchers.py::test_the_zscore_of_a_decision_uses_the_populations_sigma",
    ),
    Sabotage(
        "Wilder's true range averaged like an EMA of that span",
        "I2",
        "indicators/kernels.py",
        "    value = state[2]\n    alpha = 1.0 / n\n",
        "    value = state[2]\n    alpha = 2.0 / (n + 1)\n",
        "invariants/test_catchers.py::test_rsi_atr_and_adx_of_a_decision_are_wilders",
    ),
    Sabotage(
        "Wilder's RSI averaged like an EMA of that span",
        "I2",
        "indicators/kernels.py",
        "    idle = state[4]\n    keep = (n - 1) / n\n",
        "    idle = state[4]\n    keep = (n - 1) / (n + 1)\n",
        "invariants/test_catchers.py::test_rsi_atr_and_adx_of_a_decision_are_wilders",
    ),
    Sabotage(
        "metrics annualised with trading days",
        "known mistake: metrics annualised wrongly",
        "core/timeframes.py",
        "return 365 * DAY_MS / length_ms(timeframe)",
        "return 252 * DAY_MS / length_ms(timeframe)",
        "invariants/test_catchers.py::test_a_year_has_as_many_candles_as_the_market_is_open",
    ),
    # ------------------------------------------------------------ I3: the same decision again
    Sabotage(
        "the record forgets that a close was late",
        "I3",
        "decision/facts.py",
        '"late": facts.late,',
        '"late": False,',
        "decision/test_view_and_redecide.py::test_every_stored_decision_can_be_made_again",
    ),
    Sabotage(
        "the wall clock gets into the decision",
        "I3",
        "decision/path.py",
        "risk = replace(boundary.risk, now_ms=boundary.close_ms, mode=boundary.source)",
        "risk = replace(boundary.risk, equity_usd=float(boundary.now_ms), mode=boundary.source)",
        "decision/test_path.py::test_latency_and_clock_readings_do_not_enter_the_record",
    ),
    # ------------------------------------------------------------ I4: crashes
    Sabotage(
        "an order is sent before its intent is on disk",
        "I4",
        "trading/journal.py",
        "self._writer.commit(*with_them, *order_rows, deadline_s=INTENT_DEADLINE_S)",
        "self._writer.put(*with_them, *order_rows)",
        "invariants/test_i04_time_and_transactions.py::test_a_boundary_is_committed_before_anything_is_sent",
    ),
    Sabotage(
        "a boundary is written symbol by symbol",
        "I4",
        "trading/boundary.py",
        "(*rows, *decided)):",
        "tuple(rows)) and [self._journal.put(row) for row in decided]:",
        "invariants/test_i04_time_and_transactions.py::test_a_boundary_is_one_transaction",
    ),
    Sabotage(
        "fills are written one by one",
        "I4",
        "trading/bookkeeping.py",
        "        rows, count = self.collect(now_ms)\n        self._journal.put(*rows)\n",
        "        rows, count = self.collect(now_ms)\n        [self._journal.put(row) for row in rows]\n",
        "invariants/test_i04_time_and_transactions.py::test_fills_of_one_book_are_one_transaction",
    ),
    Sabotage(
        "timers run ahead of the frame",
        "I4",
        "trading/loop.py",
        "now_ms = self._now_ms() if batch.frame is None else batch.frame.venue_ms",
        "now_ms = self._clock.now_ms()",
        "invariants/test_i04_time_and_transactions.py::"
        "test_a_pass_between_clock_and_frame_does_not_use_the_prices_of_a_minute_ago",
    ),
    Sabotage(
        "the first book of a batch is dropped",
        "I4",
        "trading/queue.py",
        "self._open.first_books.setdefault(book.symbol, previous)",
        "pass",
        "invariants/test_i04_time_and_transactions.py::test_the_book_a_batch_begins_with_reaches_the_executor",
    ),
    Sabotage(
        "client order ids are random",
        "I4",
        "execution/orders.py",
        'text = f"{source}|{decision_id}|{role}|{attempt}"',
        "text = f\"{source}|{decision_id}|{role}|{attempt}|{id(object())}|{__import__('uuid').uuid4()}\"",
        "execution/test_orders.py::test_the_cloid_is_derived_and_differs_by_every_part",
    ),
    Sabotage(
        "a fill that comes twice counts twice",
        "I4",
        "execution/account.py",
        "if fill.fill_id in self._fill_ids:",
        "if False:",
        "execution/test_account.py::test_the_same_fill_and_the_same_hour_count_once",
    ),
    Sabotage(
        "live orders are forgotten at a restart",
        "I4",
        "trading/recovery.py",
        "executor.restore(_live(stored_orders, fills), account.positions)",
        "executor.restore([], account.positions)",
        "trading/test_trading_recovery.py::test_a_working_exit_and_its_stop_go_on_after_a_restart",
    ),
    # ------------------------------------------------------------ I5: protection
    Sabotage(
        "no stop is armed",
        "I5",
        "execution/paper.py",
        "        if position.stop_px is None:\n            return\n",
        "        if position is not None:\n            return\n",
        "execution/test_paper.py::test_every_entry_fill_brings_the_stop_to_the_position",
    ),
    Sabotage(
        "the stop of a position can be cancelled",
        "I5",
        "execution/paper.py",
        "if order.intent.role is OrderRole.STOP and order.intent.symbol in self._positions:",
        "if False:",
        "execution/test_paper.py::test_a_positions_stop_cannot_be_cancelled",
    ),
    Sabotage(
        "stops are checked once a candle",
        "known mistake: stops checked once per candle",
        "trading/loop.py",
        "            executor.on_context(contexts)\n",
        "            executor.on_context(contexts if contexts[-1].venue_ms % 900_000 == 0 else ())\n",
        "trading/test_trading_pass.py::test_a_spike_that_came_and_went_in_one_batch_fires_the_stop",
    ),
    Sabotage(
        "the slot loses the lowest mark",
        "known mistake: slot losing extremes",
        "trading/queue.py",
        "if context.mark_px < self.low[1].mark_px:",
        "if False:",
        "trading/test_queue.py::test_a_spike_between_two_reads_is_kept",
    ),
    Sabotage(
        "a pause stops exits",
        "known mistake: pause that stops exits",
        "decision/path.py",
        '    if case.facts.live_exit:\n        return case.hold(f"{decision.reason}; a closing',
        '    if case.facts.live_exit or case.blocks.pauses:\n        return case.hold(f"{decision.reason}; a closing',
        "decision/test_path.py::test_an_exit_closes_the_whole_position_reduce_only",
    ),
    # ------------------------------------------------------------ I6: the kill
    Sabotage(
        "the latch is not synced",
        "I6",
        "risk/kill_switch.py",
        "    with suppress(OSError):\n        os.fsync(handle)\n\n\ndef _fsync_folder",
        "\n\ndef _fsync_folder",
        "invariants/test_catchers.py::test_the_latch_and_its_name_are_synced_before_latch_returns",
    ),
    Sabotage(
        "the kill is in memory only",
        "I6",
        "ipc/outcomes.py",
        "        kill_switch.latch(path, who=peer.text, reason=reason, venue_ms=venue_ms)\n",
        "        str(path)\n",
        "ipc/test_ipc_server.py::test_kill_is_on_disk_before_it_is_answered",
    ),
    Sabotage(
        "a resume clears the kill",
        "I6",
        "trading/controls.py",
        "        self._set_pauses(kept, now_ms)\n",
        "        self._set_pauses(kept, now_ms)\n        desk.killed = kill_switch.clear(desk.kill_latch) and None\n",
        "invariants/test_catchers.py::test_a_resume_leaves_the_latch_and_the_stored_kill",
    ),
    Sabotage(
        "unkill without the phrase",
        "I6",
        "trading/controls.py",
        "if args.phrase != self.unkill_phrase:",
        "if args.phrase == 'never':",
        "trading/test_trading_kill.py::test_unkill_needs_the_phrase_and_then_its_token",
    ),
    Sabotage(
        "the sender does not look at the latch",
        "I6",
        "trading/boundary.py",
        "if intent.role is OrderRole.ENTRY and kill_switch.is_latched(desk.kill_latch):",
        "if False:",
        "trading/test_trading_kill.py::test_an_entry_whose_latch_falls_between_decision_and_send_is_not_sent",
    ),
    Sabotage(
        "entries that worked when it was killed go on after the restart",
        "I6",
        "trading/controls.py",
        '            self.cancel_entries(now_ms, "killed")\n        for pause',
        "            pass\n        for pause",
        "trading/test_trading_kill.py::test_a_kill_of_the_downtime_cancels_the_entries_that_were_working",
    ),
    # ------------------------------------------------------------ I7: observers
    Sabotage(
        "a client that does not read is kept",
        "I7",
        "ipc/connection.py",
        "elif now_s - self._sending_since_s > STALL_S:",
        "elif False:",
        "ipc/test_ipc_server.py::test_a_client_that_does_not_read_loses_its_connection",
    ),
    Sabotage(
        "an observer's wait holds up the loop",
        "I7",
        "trading/journal.py",
        "self._writer.flush(0.0)",
        "self._writer.flush(2.0)",
        "invariants/test_catchers.py::test_the_loop_never_waits_for_what_an_observer_asks",
    ),
    # ------------------------------------------------------------ I8: one daemon
    Sabotage(
        "the lock is shared",
        "I8",
        "ops/instance_lock.py",
        "fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "ops_logging/test_instance_lock.py::test_a_second_process_is_refused_with_the_pid_of_the_first",
    ),
    # ------------------------------------------------------------ I9: secrets
    Sabotage(
        "a secret stands in the repr",
        "I9",
        "config/model.py",
        "hl_private_key: str | None = field(default=None, repr=False)",
        "hl_private_key: str | None = field(default=None)",
        "config/test_config_load.py::test_no_secret_is_in_a_repr_or_in_the_resolved_settings",
    ),
    Sabotage(
        "the log is not redacted",
        "I9",
        "ops/redaction.py",
        "        return self._pattern.sub(REDACTED, text)\n",
        "        return text\n",
        "ops_logging/test_json_log.py::test_no_secret_reaches_file_or_stream",
    ),
    # ------------------------------------------------------------ I10: stale and invented data
    Sabotage(
        "an entry is priced from a stale book",
        "I10",
        "decision/path.py",
        "fresh = boundary.now_ms - book.venue_ms <= boundary.book_max_age_ms",
        "fresh = book.venue_ms >= 0",
        "decision/test_path.py::test_what_cannot_be_priced_is_blocked",
    ),
    Sabotage(
        "a provisional candle enters",
        "I10",
        "strategies/mean_reversion.py",
        "        if view.provisional:\n",
        "        if view.provisional and view.bars < 0:\n",
        "strategies/test_mean_reversion.py::test_no_entry_on_a_provisional_candle",
    ),
    Sabotage(
        "the gate lets a provisional candle through",
        "I10",
        "risk/manager.py",
        "    if request.provisional:\n",
        "    if request.provisional and request.instrument is None:\n",
        "risk/test_limits_and_gate.py::test_the_market_side_of_the_gate",
    ),
    Sabotage(
        "the open candle is stored as final",
        "known mistake: freezing the open candle",
        "data/candles.py",
        "attempt.confirmed[series.symbol] = wanted",
        "attempt.confirmed[series.symbol] = rows",
        "data/test_candle_manager.py::test_the_last_two_rows_are_read_and_the_open_candle_is_never_stored",
    ),
    Sabotage(
        "a close that may still change enters the history",
        "known mistake: freezing the open candle",
        "data/history.py",
        "        closed.pop()  # it may still change",
        "        pass  # it may still change",
        "data/test_backfill.py::test_history_leaves_out_a_close_that_may_still_change",
    ),
    Sabotage(
        "a stream row replaces a final one",
        "known mistake: freezing the open candle",
        "data/db/statements.py",
        "OR excluded.source<>'{CandleSource.STREAM.value}')",
        "OR excluded.source<>'nothing')",
        "db/test_db_candles.py::test_a_final_row_replaces_and_a_stream_row_never_replaces_a_final_one",
    ),
    Sabotage(
        "a read that failed is an empty answer",
        "known mistake: a REST failure taken for no candle",
        "data/client.py",
        "            raise self._breakdown(error.status_code, str(error.message), what) from None\n",
        "            return []\n",
        "data/test_venue_client.py::test_every_foreign_failure_becomes_one_of_ours",
    ),
    Sabotage(
        "a silent stream stops nothing",
        "I10",
        "trading/desk.py",
        '            ("stale_stream", self.venue_trouble),\n',
        "",
        "trading/test_trading_pass.py::test_a_close_is_decided_on_the_health_of_now",
    ),
    Sabotage(
        "funding is fetched by one unpaged call",
        "known mistake: funding fetched by one unpaged call",
        "data/client.py",
        "            if len(rows) < FUNDING_PAGE:\n",
        "            if len(rows) <= FUNDING_PAGE:\n",
        "data/test_venue_client.py::test_funding_is_paged_and_repeats_are_dropped",
    ),
    Sabotage(
        "a 429 is ignored",
        "known mistake: 429 ignored by the limiter",
        "data/limiter.py",
        "            self._blocked_until_s = monotonic_s() + self._penalty_s\n",
        "            self._blocked_until_s = 0.0\n",
        "data/test_limiter.py::test_after_a_429_everything_but_protection_holds_back",
    ),
    Sabotage(
        "nobody says that an input is missing",
        "known mistake: strategies starving because nobody wired an input",
        "trading/daemon.py",
        "missing = [name for name, is_there in produced.items() if getattr(needs, name) and not is_there]",
        "missing: list[str] = []",
        "trading/test_trading_daemon.py::test_a_strategy_whose_input_nobody_produces_is_starved_and_says_so",
    ),
    # ------------------------------------------------------------ I11: the books
    Sabotage(
        "fees are added to the cash",
        "I11",
        "execution/account.py",
        "self._cash -= fill.size * fill.side.sign * fill.px + fill.fee_usd",
        "self._cash -= fill.size * fill.side.sign * fill.px - fill.fee_usd",
        "execution/test_account.py::test_a_round_trip_by_hand",
    ),
    Sabotage(
        "longs receive what they owe",
        "I11",
        "execution/funding.py",
        "usd = -(due.signed_size * due.oracle_px * exact)",
        "usd = (due.signed_size * due.oracle_px * exact)",
        "execution/test_account.py::test_funding_is_due_at_whole_hours_of_open_positions",
    ),
    Sabotage(
        "a gap in the books stops nothing",
        "I11",
        "trading/desk.py",
        '            ("accounting", self.accounting_trouble),\n',
        "",
        "trading/test_trading_audit.py::test_a_gap_between_the_two_formulas_halts_entries_once",
    ),
    # ------------------------------------------------------------ I12: limits over restarts
    Sabotage(
        "cooldown and losses are forgotten at a restart",
        "I12",
        "trading/recovery.py",
        "account, executor, _risk(reader))",
        "account, executor, RiskState())",
        "invariants/test_catchers.py::test_cooldown_and_loss_are_the_same_after_a_restart",
    ),
    Sabotage(
        "pauses are forgotten at a restart",
        "I12",
        "trading/recovery.py",
        'for row in reader.state("pauses") or ())',
        'for row in reader.state("pauses_") or ())',
        "trading/test_trading_controls.py::test_a_pause_is_answered_when_it_is_on_disk_and_survives_a_restart",
    ),
    # ------------------------------------------------------------ other known mistakes
    Sabotage(
        "a connection is shared across threads",
        "known mistake: SQLite connection shared across threads",
        "data/db/connection.py",
        "sqlite3.connect(uri, uri=True, isolation_level=None, timeout=READER_BUSY_MS / 1000)",
        "sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)",
        "db/test_db_reader.py::test_a_reader_of_another_thread_is_refused",
    ),
    Sabotage(
        "text is read as markup",
        "known mistake: markup in the dashboard",
        "tui/dialogs/base.py",
        "text.append(part, style(name))",
        "text.append_text(Text.from_markup(part, style=style(name)))",
        "invariants/test_catchers.py::test_a_dialog_shows_markup_as_text",
    ),
    Sabotage(
        "control characters reach the terminal",
        "known mistake: markup in the dashboard",
        "tui/spans.py",
        "return Row(key, tuple((visible(text), style) for text, style in spans if text))",
        "return Row(key, tuple((text, style) for text, style in spans if text))",
        "tui/test_tui_panes.py::test_hostile_text_reaches_no_pane_unescaped",
    ),
)
