"""The strategies that can be chosen by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from perp_bot.config.model import Config
from perp_bot.core.errors import UsageError
from perp_bot.strategies import macd_cross, mean_reversion
from perp_bot.strategies.protocol import Strategy

DEFAULT = mean_reversion.NAME

_FACTORIES: dict[str, Callable[[Config], Strategy]] = {
    mean_reversion.NAME: mean_reversion.MeanReversion.from_config,
    macd_cross.NAME: macd_cross.MacdCross.from_config,
}


def names() -> tuple[str, ...]:
    """Return the known names."""
    return tuple(_FACTORIES)


def create(name: str, config: Config) -> Strategy:
    """Build the strategy called `name`.

    Raises:
        UsageError: when there is none of that name; names the nearest one.
    """
    factory = _FACTORIES.get(name)
    if factory is None:
        near = difflib.get_close_matches(name, _FACTORIES, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"there is no strategy {name!r}; known: {', '.join(_FACTORIES)}{hint}")
    return factory(config)
