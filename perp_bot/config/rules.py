"""Rules between settings: what each value alone allows and the combination does not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from perp_bot.config.model import Config
from perp_bot.config.redact import redacted, shown
from perp_bot.config.values import nearest
from perp_bot.config.venues import BASE_URLS

_PLACEHOLDER = re.compile(r"^$|^<.*>$|todo|placeholder|replace|change_?me|your[-_ ]|xxx|example", re.IGNORECASE)
_Item = TypeVar("_Item")

Fault = tuple[str, str]  # dotted key, what is wrong


def faults(config: Config) -> Iterator[Fault]:
    """Yield every broken rule between settings."""
    yield from value_faults(config)
    yield from _files(config)


def value_faults(config: Config) -> Iterator[Fault]:
    """Yield the broken rules that the values alone tell, looking at no file: parameter sets are checked by these."""
    yield from _thresholds(config)
    yield from _macd(config)
    yield from _series(config)
    yield from _prediction(config)
    yield from _costs(config)


def venue_fault(venue: str) -> str | None:
    """Return what is wrong with a venue name or base URL, or None."""
    if venue in BASE_URLS:
        return None
    names = ", ".join(BASE_URLS)
    expected = f"expected {names}, or a base URL like http://127.0.0.1:8642"
    if "://" not in venue:
        return f"{shown(venue)} is not a venue; {expected}{nearest(venue, list(BASE_URLS))}"
    try:
        parts = urlsplit(venue)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        return f"{shown(venue)} is not a URL; {expected}"
    if parts.username is not None or parts.password is not None:
        return f"{redacted(venue)} holds credentials, which do not belong there; {expected}"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_good or " " in venue:
        return f"{shown(venue)} is not an http(s) URL with a host; {expected}"
    if parts.path or parts.query or parts.fragment or venue.endswith(("/", "?", "#")):
        return f"{shown(venue)} goes on after host and port; {expected}, without a trailing slash"
    return None


def _macd(config: Config) -> Iterator[Fault]:
    macd = config.macd
    if not macd.fast < macd.slow:
        yield "macd.fast", f"{macd.fast} must be below slow ({macd.slow})"
    if not macd.stop_min_pct < macd.stop_max_pct:
        yield "macd.stop_min_pct", f"{macd.stop_min_pct:g} must be below stop_max_pct ({macd.stop_max_pct:g})"


def _thresholds(config: Config) -> Iterator[Fault]:
    signals = config.signals
    if not signals.zscore_exit_threshold < signals.zscore_entry_threshold:
        yield (
            "signals.zscore_exit_threshold",
            (
                f"{signals.zscore_exit_threshold:g} must be below zscore_entry_threshold "
                f"({signals.zscore_entry_threshold:g}), or a position would be left as soon as it is entered"
            ),
        )
    if not signals.zscore_entry_threshold < signals.zscore_stop_threshold:
        yield (
            "signals.zscore_stop_threshold",
            (
                f"{signals.zscore_stop_threshold:g} must be above zscore_entry_threshold "
                f"({signals.zscore_entry_threshold:g}), or an entry would be stopped at once"
            ),
        )
    if not signals.rsi_oversold < signals.rsi_overbought:
        yield (
            "signals.rsi_oversold",
            f"{signals.rsi_oversold:g} must be below rsi_overbought ({signals.rsi_overbought:g})",
        )


def _series(config: Config) -> Iterator[Fault]:
    for key, items in (("trading.symbols", config.trading.symbols), ("data.timeframes", config.data.timeframes)):
        if not items:
            yield key, "is empty; at least one is needed"
        twice = _first_twice(items)
        if twice is not None:
            yield key, f"{twice} is given twice"
    if config.data.timeframes and config.data.primary_timeframe not in config.data.timeframes:
        yield (
            "data.primary_timeframe",
            f"{config.data.primary_timeframe!r} must be one of data.timeframes ({', '.join(config.data.timeframes)})",
        )


def _prediction(config: Config) -> Iterator[Fault]:
    prediction = config.prediction
    if prediction.war_risk_crisis_threshold < prediction.war_risk_threshold:
        yield (
            "prediction.war_risk_crisis_threshold",
            (
                f"{prediction.war_risk_crisis_threshold:g} must not be below war_risk_threshold "
                f"({prediction.war_risk_threshold:g})"
            ),
        )
    if not prediction.enabled:
        return
    if not prediction.markets:
        yield "prediction.markets", "is empty while prediction.enabled is true; name at least one market"
    for number, market in enumerate(prediction.markets):
        for name, value in (("slug", market.slug), ("market_id", market.market_id)):
            if _PLACEHOLDER.search(value):
                yield (
                    f"prediction.markets[{number}].{name}",
                    f"{shown(value)} is a placeholder; put in the market's own, or set prediction.enabled: false",
                )
    twice = _first_twice([(market.source, market.market_id) for market in prediction.markets if market.market_id])
    if twice is not None:
        yield "prediction.markets", f"{twice[0]} market {twice[1]} is given twice"


def _costs(config: Config) -> Iterator[Fault]:
    costs = config.backtest
    if costs.slippage_min_pct > costs.slippage_max_pct:
        yield (
            "backtest.slippage_min_pct",
            f"{costs.slippage_min_pct:g} must not be above slippage_max_pct ({costs.slippage_max_pct:g})",
        )
    if costs.maker_fee_rate > costs.taker_fee_rate:
        yield (
            "backtest.maker_fee_rate",
            f"{costs.maker_fee_rate:g} must not be above taker_fee_rate ({costs.taker_fee_rate:g})",
        )


def _files(config: Config) -> Iterator[Fault]:
    for key, path in (("data.db_path", config.data.db_path), ("signal_service.cache_db_path", _cache_path(config))):
        wrong = _file_fault(path)
        if wrong is not None:
            yield key, wrong
    if config.data.db_path == _cache_path(config):
        yield "signal_service.cache_db_path", f"{_cache_path(config)} is the database itself; the cache is its own file"


def _cache_path(config: Config) -> Path:
    return config.signal_service.cache_db_path


def _file_fault(path: Path) -> str | None:
    """Return why a database cannot be written at `path`, or None."""
    try:
        if path.is_dir():
            return f"{path} is a folder; name a file in it"
        if path.exists() and not os.access(path, os.W_OK):
            return f"{path} is not writable by this user"
        folder = path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is not a folder; {path.name} cannot be created below it"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"{folder} is not writable by this user; choose a folder that is"
    except OSError as error:
        return f"{path} cannot be used: {error.strerror or error}"
    return None


def _first_twice(items: Sequence[_Item]) -> _Item | None:
    return next((item for place, item in enumerate(items) if item in items[:place]), None)
