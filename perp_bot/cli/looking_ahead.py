"""`perpbot lookahead`: every check of every coin and strategy, a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from perp_bot.cli.backtesting import progress
from perp_bot.cli.output import put, put_json
from perp_bot.cli.research_case import ResearchCase
from perp_bot.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from perp_bot.backtest.lookahead import Checked
    from perp_bot.backtest.market import SymbolMarket
    from perp_bot.strategies.protocol import Strategy

Advance = Callable[[float], None]


def lookahead(case: ResearchCase, *, all_strategies: bool, bars: int, as_json: bool) -> int:
    """Run it; exit code 1 when a bar is wrong, 130 when interrupted (what was checked is shown)."""
    from perp_bot.indicators import compiled
    from perp_bot.strategies import registry

    names = registry.names() if all_strategies else (case.strategy,)
    market = case.market()
    compiled.load()
    done: list[tuple[str, Checked]] = []
    is_partial = False
    try:
        for item in market.symbols:
            for checked in _checks(case, item, names, bars):
                done.append((item.symbol, checked))
                if not as_json and (checked.finding is not None or not checked.what.startswith("indicator")):
                    put(_line(item.symbol, checked))
    except KeyboardInterrupt:
        is_partial = True
    if not is_partial and not any(checked.bars for _, checked in done if not checked.what.startswith("indicator")):
        raise UsageError(
            f"nothing can be checked: fewer {market.timeframe} candles are stored than the strategies' warm-up takes "
            f"({max(len(item.candles) for item in market.symbols):,} of {_warm_up(case):,})"
        )
    wrong = [checked for _, checked in done if checked.finding is not None]
    if as_json:
        put_json({
            "is_partial": is_partial, "clean": not wrong and not is_partial, "data_hash": market.data_hash,
            "checks": [{"symbol": symbol, **asdict(checked)} for symbol, checked in done],
        })  # fmt: skip
    elif is_partial:
        put("interrupted: the lines above are what was checked")
    elif not wrong:
        settled = len({checked.what for _, checked in done if checked.what.startswith("indicator")})
        put(f"{settled} indicators settle within the bars they declare")
        put(f"no look-ahead, no unsettled warm-up in {sum(checked.decisions for _, checked in done):,} comparisons")
    return EXIT_FAILURE if wrong else EXIT_INTERRUPTED if is_partial else EXIT_OK


def _warm_up(case: ResearchCase) -> int:
    """Return the bars a decision is made from."""
    from perp_bot.indicators.warmup import decision_window
    from perp_bot.strategies.parameters import params_of

    return decision_window(params_of(case.config))


def _checks(case: ResearchCase, item: SymbolMarket, names: tuple[str, ...], bars: int) -> Iterator[Checked]:
    from perp_bot.backtest.kernels import kernel_of
    from perp_bot.backtest.lookahead import check_path
    from perp_bot.backtest.lookahead_columns import check_indicator, check_kernel, indicators_of, rows_of
    from perp_bot.strategies import registry
    from perp_bot.strategies.parameters import params_of

    config, candles = case.config, rows_of(item)
    for name in names:

        def make(_: object, name: str = name) -> Strategy:
            return registry.create(name, config)

        with progress(f"{item.symbol} {name}") as advance:
            yield check_path(config, make, candles, item.instrument, bars=bars, advance=advance)
        kernel = kernel_of(name)
        if kernel is not None:
            with progress(f"{item.symbol} {name}, compiled") as advance:
                yield check_kernel(config, name, kernel, item, bars=bars, advance=advance)
    for indicator in indicators_of(params_of(config), item.candles):
        yield check_indicator(indicator, item.candles, bars=bars)


def _line(symbol: str, checked: Checked) -> str:
    if checked.finding is not None:
        return f"{symbol} {checked.what}: WRONG: {checked.finding.text}"
    if not checked.bars:
        return f"{symbol} {checked.what}: not checked, fewer candles than its warm-up are stored"
    acted = f", {checked.entries:,} entries and {checked.exits:,} exits among them"
    return f"{symbol} {checked.what}: {checked.bars:,} bars, {checked.decisions:,} comparisons, all equal{acted}"
