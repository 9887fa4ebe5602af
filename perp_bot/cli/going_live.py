"""What stands between a command and real orders: the config's word, a plain summary, a typed sentence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from perp_bot.config.venues import BASE_URLS, MAINNET, base_url
from perp_bot.core.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from perp_bot.config.model import Config


def check_live(config: Config, *, file_venue: str) -> None:
    """Refuse live trading that the config file does not ask for.

    Args:
        config: the settings that would trade.
        file_venue: the venue that the config file itself names.

    Raises:
        UsageError: `mode` is not live, or mainnet is not the file's own word.
        ConfigError: no key, or no stop at the venue.
    """
    where = config.source_path or "the settings"
    if config.mode != "live":
        raise UsageError(f"--live needs `mode: live` in {where} too; it says mode: {config.mode}")
    if base_url(config.venue) == BASE_URLS[MAINNET] and file_venue != MAINNET:
        raise UsageError(
            f"live trading on mainnet needs `venue: mainnet` in {where} itself (it says {file_venue}): "
            "neither --venue nor an address is enough"
        )
    if base_url(config.venue) == BASE_URLS[MAINNET]:
        raise UsageError(
            "live trading on mainnet is not released yet: its proof is not complete. Trade live on the practice "
            "exchange or on testnet, and on paper with mainnet's prices"
        )
    if not config.execution.use_server_side_stop:
        raise ConfigError(
            f"{where}: execution.use_server_side_stop: false: a live position always has its stop resting at the "
            "venue; set it to true, or remove the key"
        )
    if config.secrets.hl_private_key is None:
        raise ConfigError("HL_PRIVATE_KEY: not set; live trading signs with an API wallet's key (.env or environment)")


def summary(config: Config) -> str:
    """Return what will trade with what, a line each."""
    from perp_bot.execution.live.signer import signer_of

    signer = signer_of(config.secrets, base_url(config.venue)).address
    trading, risk, execution = config.trading, config.risk, config.execution
    notional = trading.capital_usd * trading.margin_usage_limit * trading.leverage
    rows = (
        ("venue", f"{config.venue} ({base_url(config.venue)})"),
        ("account", config.secrets.hl_wallet_address or signer),
        ("signer", signer),
        ("coins", f"{', '.join(trading.symbols)}, {config.data.primary_timeframe}, {trading.strategy}"),
        ("an entry", f"up to {notional:,.2f} USD notional, {trading.leverage}x {trading.margin_mode}"),
        ("at risk", f"{risk.max_loss_per_trade_pct:.2%} of {trading.capital_usd:,.2f} USD a trade, fees on top"),
        ("limits", f"{risk.max_positions} position(s), a day's loss of {risk.daily_loss_limit_pct:.2%}"),
        ("unknown positions", execution.unknown_positions),
    )
    return "\n".join(f"  {name:<18} {value}" for name, value in rows)


def confirm_live(config: Config, *, yes: bool) -> None:
    """Show the summary in red, and wait for the typed sentence unless `yes`.

    Raises:
        UsageError: nobody can be asked, or something else was typed.
    """
    click.secho("LIVE: real orders with real money", fg="red", bold=True, err=True)
    click.secho(summary(config), fg="red", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("live trading asks before it begins, and this is not a terminal: add --yes for a service")
    phrase = f"trade live on {config.venue}"
    typed = click.prompt(f"Type `{phrase}` to begin", err=True, default="", show_default=False)
    if typed.strip() != phrase:
        raise UsageError("not started: the sentence was not typed")
