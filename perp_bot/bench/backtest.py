"""Measures a backtest beside every peer that is installed, on the same candles, and checks that they trade alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from perp_bot.backtest.market import Candles
from perp_bot.bench import backtest_command, backtest_ours, reference, research_case, research_data
from perp_bot.bench.backtest_ours import GIVEN, INDICATORS_GIVEN
from perp_bot.bench.measure import Measurement, summarize
from perp_bot.bench.peer_rig import Contender, start_installed
from perp_bot.bench.reference import Trade, check_equal
from perp_bot.bench.research_case import FEE, Signals
from perp_bot.bench.turns import clocked, in_turn
from perp_bot.indicators import compiled

SUBJECT = "backtest"
HELP = "1,000,000 candles: ours (goal 12 ns a row given indicators, metrics 5 more) beside the peers installed"
ONLY_WHEN_NAMED = True

OURS, PLAIN = "perpbot", "plain Python loop"
NEXT_OPEN, AT_CLOSE, LIKE_VECTORBT = "at the next open", "at the close", "at the next open, vectorbt's stops"
CONTENDERS = (
    Contender("vectorbt", "run_vectorbt.py", LIKE_VECTORBT, is_slow=False),
    Contender("backtesting", "run_backtesting.py", NEXT_OPEN),
    Contender("jesse", "run_jesse.py", AT_CLOSE),
    Contender("freqtrade", "run_freqtrade.py", NEXT_OPEN),
    Contender("nautilus_trader", "run_nautilus.py", AT_CLOSE),
)
SYMBOLS = ("BTC", "ETH", "SOL", "HYPE", "DOGE")

Label = tuple[str, str]  # who, and which case


def run(quick: bool) -> list[Measurement]:
    """Check that all trade alike, then time them in turn, round after round, and ours with all that only ours has.

    Raises:
        PerpBotError: ours or a peer does not trade as the reference of its semantics.
    """
    rows = 20_000 if quick else 1_000_000
    compiled.load()
    market = research_data.market(("BTC",), rows, has_funding=False)
    candles = market.symbols[0].candles
    given = research_case.signals(candles)
    due = references(candles, given)
    engine = backtest_ours.like_peers(market)
    agreed = {OURS: check_equal(OURS, due[NEXT_OPEN], backtest_ours.trades_of(engine)), PLAIN: "the reference"}
    calls: dict[Label, Callable[[], float]] = {
        (OURS, case): clocked(call) for case, call in backtest_ours.peer_cases(engine).items()
    }
    calls[PLAIN, GIVEN] = clocked(partial(_at_next_open, candles, given))
    slow: set[Label] = {(PLAIN, GIVEN)}
    for call in calls.values():
        call()  # warm
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name, ExitStack() as stack:
        research_case.write_task(Path(name), candles, given)
        for contender, worker in start_installed(SUBJECT, CONTENDERS, Path(name), stack, warm_up_rows=min(rows, 5_000)):
            who = f"{contender.peer} {worker.version}"
            equal = check_equal(who, due[contender.trades_like], worker.result(GIVEN))
            agreed[who] = f"{equal}; fills {contender.trades_like}"
            calls |= {(who, case): partial(worker.seconds, case) for case in worker.cases}
            slow |= {(who, case) for case in worker.cases if contender.is_slow}
        seconds = in_turn(calls, 1 if quick else 9, slow=slow, slow_rounds=1 if quick else 3)
    few = rows // len(SYMBOLS)
    full = research_data.market(("BTC",), rows)
    several = research_data.market(SYMBOLS, few)
    return [
        *table(seconds, agreed, rows),
        *backtest_ours.all_semantics(full, several, 2 if quick else 9, SUBJECT),
        *backtest_command.measured(SUBJECT, rows, 1 if quick else 9, first_uses=0 if quick else 2),
    ]


def references(candles: Candles, given: Signals) -> dict[str, list[Trade]]:
    """Return the trades that engines of each kind must make of the signals."""
    vectorbt = reference.at_next_open(
        candles.open, candles.low, given.enter, given.leave, _next_stops(candles), FEE, like_vectorbt=True
    )
    at_close = reference.at_close(
        candles.open, candles.low, candles.close, given.enter, given.leave,
        research_case.stop_below(candles.close, candles.close), FEE,
    )  # fmt: skip
    return {NEXT_OPEN: _at_next_open(candles, given), AT_CLOSE: at_close, LIKE_VECTORBT: vectorbt}


def table(seconds: Mapping[Label, list[float]], agreed: Mapping[str, str], rows: int) -> list[Measurement]:
    """Return a row a case, with its ratio to ours of the same kind and how well it agrees."""
    found = []
    for (who, case), samples in seconds.items():
        base = (OURS, case) if (OURS, case) in seconds else (OURS, GIVEN)
        ratio = float(np.median(samples) / np.median(seconds[base]))
        detail = {(OURS, INDICATORS_GIVEN): "goal 12"}.get((who, case), agreed[who] if case == GIVEN else "")
        found.append(
            summarize(
                SUBJECT, f"{who}: {case}", "ns/row", samples, scale=1e9 / rows,
                detail=detail, times_ours=None if who == OURS else ratio,
            )
        )  # fmt: skip
    return found


def _at_next_open(candles: Candles, given: Signals) -> list[Trade]:
    return reference.at_next_open(candles.open, candles.low, given.enter, given.leave, _next_stops(candles), FEE)


def _next_stops(candles: Candles) -> reference.Floats:
    next_open = np.append(candles.open[1:], candles.close[-1])
    return research_case.stop_below(next_open, candles.close)
