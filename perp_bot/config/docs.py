"""Write `docs/configuration.md` and the shipped `config.yaml` from the settings themselves.

`python -m perp_bot.config.docs` rewrites both in the current folder; a test fails when they are not current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_type_hints

from perp_bot.config.load import default_of, plain_fields, section_fields
from perp_bot.config.model import PredictionMarket
from perp_bot.config.redact import SECRET_NAMES
from perp_bot.config.values import allowed_text
from perp_bot.config.venues import BASE_URLS

_SECRET_DOCS = {
    "HL_PRIVATE_KEY": "Signing key of the API wallet: 64 hex digits, with or without 0x. Paper trading needs none.",
    "HL_WALLET_ADDRESS": "Address of the account that is traded: 0x and 40 hex digits. Paper trading needs none.",
    "HL_WATCHDOG_PRIVATE_KEY": "Signing key of the watchdog, of an API wallet of its own; for `perpbot watchdog` only.",
    "DISCORD_WEBHOOK_URL": "Where Discord alerts go; leave it out for none.",
    "TELEGRAM_BOT_TOKEN": "Token of the Telegram bot that sends alerts; needs TELEGRAM_CHAT_ID too.",
    "TELEGRAM_CHAT_ID": "The Telegram chat that alerts go to.",
}

_HEAD = """\
# Configuration

Generated from `perp_bot/config/model.py` by `python -m perp_bot.config.docs`; do not edit by hand.

Settings come from one YAML file: `perpbot --config PATH <command>`, else `./config.yaml` when there is one, else the
defaults below hold. Every key may be left out. `perpbot config check` validates the file and prints what holds.

- Keys ending in `_pct` hold fractions: 0.03 is 3 %.
- Paths are relative to the config file, not to where the command is run.
- Coins may be written BTC, BTC-PERP or BTCUSDT.
- Numbers are written without quotes; `5e-4` is text in YAML, write `0.0005`.
- `--venue` on a command overrides `venue`.
- A key that is unknown or given twice, a value of the wrong type and a value that cannot be right each give one
  line with file, key, value, what is allowed and the nearest valid name. All are reported at once; the exit code is 2.
"""

_RULES = """\
## Rules between keys

- `signals`: zscore_exit_threshold < zscore_entry_threshold < zscore_stop_threshold; rsi_oversold < rsi_overbought.
- `data.primary_timeframe` is one of `data.timeframes`; symbols and timeframes are not empty and name nothing twice.
- `prediction`: war_risk_crisis_threshold is not below war_risk_threshold; when enabled, there is at least one
  market, and none with a placeholder for its slug or market_id.
- `backtest`: slippage_min_pct <= slippage_max_pct, maker_fee_rate <= taker_fee_rate.
- `data.db_path` and `signal_service.cache_db_path` are two files in folders that can be written (or created).
"""


def markdown() -> str:
    """Return `docs/configuration.md`."""
    parts = [
        _HEAD,
        "## Keys outside any section\n",
        _table(plain_fields(), {item.name: str for item in plain_fields()}),
    ]
    parts.append("Venues: " + ", ".join(f"`{name}` is {url}" for name, url in BASE_URLS.items()) + ".\n")
    for name, kind in section_fields().items():
        parts += [f"## {name}\n", f"{_doc_of(kind)}\n", _table(fields(kind), get_type_hints(kind))]
    parts += [
        "### prediction.markets, each entry\n",
        _table(fields(PredictionMarket), get_type_hints(PredictionMarket)),
    ]
    parts += [_RULES, _secrets_section()]
    return "\n".join(parts)


def shipped_yaml() -> str:
    """Return `config.yaml` with every section, every key at its default and its documentation as comment."""
    return "\n".join(_yaml_lines()) + "\n"


def _yaml_lines() -> Iterator[str]:
    yield "# Settings of perpbot; every key at its default. docs/configuration.md explains them, `perpbot config check`"
    yield "# validates this file. Keys ending in _pct hold fractions: 0.03 is 3 %. Secrets go into .env, never here."
    for item in plain_fields():
        yield ""
        yield f"# {item.metadata['doc']}"
        yield f"{item.name}: {_yaml_value(default_of(item))}"
    for name, kind in section_fields().items():
        yield ""
        yield f"# {_doc_of(kind)}"
        yield f"{name}:"
        hints = get_type_hints(kind)
        for item in fields(kind):
            yield f"  # {item.metadata['doc']} {_sentence(allowed_text(hints[item.name], item.metadata))}"
            yield f"  {item.name}: {_yaml_value(default_of(item))}"


def _table(items: tuple[Field[Any], ...], hints: dict[str, Any]) -> str:
    rows = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for item in items:
        allowed = allowed_text(hints[item.name], item.metadata)
        cells = (f"`{item.name}`", f"`{_yaml_value(default_of(item))}`", allowed, item.metadata["doc"])
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _secrets_section() -> str:
    lines = [
        "## Secrets",
        "",
        "From the environment, or from a file `.env` beside the config file (the environment wins). Never in the YAML:",
        "a secret found there is refused. They are hidden in every print, log, snapshot and error.",
        "",
        "| name | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {_SECRET_DOCS[name]} |" for name in SECRET_NAMES]
    return "\n".join(lines) + "\n"


def _doc_of(kind: type[Any]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _yaml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_yaml_value(item) for item in value)}]"
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").removesuffix(".") if value != int(value) else f"{value:.1f}"
    return str(value) if str(value) else json.dumps(value)


def main() -> int:
    """Rewrite both files below the current folder."""
    Path("docs").mkdir(exist_ok=True)
    Path("docs/configuration.md").write_text(markdown(), encoding="utf-8")
    Path("config.yaml").write_text(shipped_yaml(), encoding="utf-8")
    print("wrote docs/configuration.md and config.yaml", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
