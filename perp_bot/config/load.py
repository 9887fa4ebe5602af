"""Build the one `Config` from a YAML file, `.env`, the environment and the command line; all faults at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from perp_bot.config import rules
from perp_bot.config.model import Config, PredictionMarket, Secrets
from perp_bot.config.redact import is_secret_key, shown, shown_name
from perp_bot.config.secrets import read_secrets
from perp_bot.config.values import BadValue, convert, nearest
from perp_bot.config.yaml_file import read_yaml
from perp_bot.core.errors import ConfigError
from perp_bot.core.symbols import normalize_symbol

DEFAULT_FILE = "config.yaml"


def load_config(path: Path | None, *, env: Mapping[str, str] | None = None, venue: str | None = None) -> Config:
    """Return the resolved settings: defaults, then the file, then `venue`; secrets from `.env` and `env`.

    Args:
        path: the file, or None for `./config.yaml` if there is one, else the defaults.
        env: the environment; None means the process's own.
        venue: `--venue` of the command line.

    Raises:
        ConfigError: one line per fault, the first one first; never shows a secret.
    """
    if path is None:
        path = Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None
    source = path.expanduser().absolute() if path is not None else None
    folder = source.parent if source is not None else Path.cwd()
    reader = _Reader(str(path) if path is not None else "defaults")
    config = reader.config(read_yaml(source) if source is not None else {})
    if venue is not None:
        config = replace(config, venue=venue)
    config = _with_absolute_paths(config, folder)
    reader.check(config, venue_from="--venue" if venue is not None else None)
    secrets, wrong = read_secrets(folder, os.environ if env is None else env)
    reader.lines.extend(wrong)
    if reader.lines:
        raise ConfigError("\n".join(reader.lines))
    return replace(config, secrets=secrets, source_path=source)


def resolved(config: Config) -> dict[str, Any]:
    """Return the settings as plain values, secrets as `set` or `not set`."""
    plain: dict[str, Any] = {
        item.name: _plain(getattr(config, item.name))
        for item in fields(config)
        if item.name not in ("secrets", "source_path")
    }
    secrets = {item.name: "set" if getattr(config.secrets, item.name) else "not set" for item in fields(Secrets)}
    return {"source": str(config.source_path) if config.source_path else "defaults", **plain, "secrets": secrets}


def section_fields() -> dict[str, type[Any]]:
    """Return the sections of the config file: name -> dataclass, in the file's order."""
    hints = get_type_hints(Config)
    return {item.name: hints[item.name] for item in fields(Config) if _is_section(item, hints)}


def plain_fields() -> tuple[Field[Any], ...]:
    """Return the keys of the file that stand outside any section (venue, mode)."""
    return tuple(item for item in fields(Config) if "doc" in item.metadata and item.name != "source_path")


def _is_section(item: Field[Any], hints: dict[str, Any]) -> bool:
    return is_dataclass(hints[item.name]) and item.name != "secrets"


@dataclass(slots=True)
class _Reader:
    """Turns plain values into settings and collects the faults on the way."""

    file: str
    lines: list[str] = field(default_factory=list)

    def config(self, raw: dict[Any, Any]) -> Config:
        sections, plain = section_fields(), {item.name: item for item in plain_fields()}
        known = [*sections, *plain]
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if name in sections:
                values[name] = self._section(name, sections[name], value)
            elif name in plain:
                self._value(name, value, str, plain[name], values)
            else:
                self._unknown("", name, value, known, "section")
        return Config(**values)

    def check(self, config: Config, *, venue_from: str | None) -> None:
        """Add the faults between settings."""
        wrong = rules.venue_fault(config.venue)
        if wrong is not None:
            self.lines.append(f"{venue_from}: {wrong}" if venue_from else f"{self.file}: venue: {wrong}")
        for key, text in rules.faults(config):
            self._add(key, text)

    def _section(self, prefix: str, kind: type[Any], raw: Any) -> Any:
        if raw is None:  # every key of it is commented out
            return kind()
        if not isinstance(raw, dict):
            self._add(prefix, f"expected keys below it, found {shown(raw)}")
            return kind()
        hints = get_type_hints(kind)
        items = {item.name: item for item in fields(kind)}
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if name in items:
                self._value(f"{prefix}.{name}", value, hints[name], items[name], values)
            else:
                self._unknown(f"{prefix}.", name, value, list(items), "key")
        return kind(**values)

    def _value(self, key: str, value: Any, kind: Any, item: Field[Any], into: dict[str, Any]) -> None:
        """Convert one value; a bad one leaves the default in place, so that the other faults are found too."""
        if get_origin(kind) is tuple and get_args(kind)[0] is PredictionMarket:
            into[item.name] = self._markets(key, value)
            return
        try:
            converted = convert(value, kind, item.metadata)
            into[item.name] = _symbols(converted) if key == "trading.symbols" else converted
        except BadValue as error:
            self._add(key, str(error))

    def _markets(self, key: str, raw: Any) -> tuple[PredictionMarket, ...]:
        if not isinstance(raw, list):
            self._add(key, f"{shown(raw)} is not allowed; expected a list of markets")
            return ()
        return tuple(self._section(f"{key}[{number}]", PredictionMarket, item) for number, item in enumerate(raw))

    def _unknown(self, prefix: str, name: Any, value: Any, known: list[str], what: str) -> None:
        if isinstance(name, str) and is_secret_key(name):
            self._add(
                f"{prefix}{shown_name(name)}",
                "secrets do not belong in this file; put it into .env beside it (see .env.example), then change it: "
                "what stood in a file may have been copied",
            )
            return
        hint = nearest(name, known) if isinstance(name, str) else ""
        elsewhere = "" if hint else _elsewhere(name, prefix)
        self._add(
            f"{prefix}{shown_name(name)}",
            f"unknown {what} (value {shown(value)}){hint}{elsewhere}; allowed: {', '.join(known)}",
        )

    def _add(self, key: str, text: str) -> None:
        self.lines.append(f"{self.file}: {key}: {text}")


def _elsewhere(name: Any, prefix: str) -> str:
    """Say so when the key exists, in another section."""
    homes = [
        section
        for section, kind in section_fields().items()
        if f"{section}." != prefix and any(item.name == name for item in fields(kind))
    ]
    return f"; it belongs to {homes[0]}" if homes else ""


def _symbols(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(normalize_symbol(name) for name in names)
    except ValueError as error:
        raise BadValue(str(error)) from None


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    """Resolve paths against the config file's folder, so that every command sees the same files from anywhere."""

    def absolute(path: Path) -> Path:
        return Path(os.path.normpath(folder / path))

    data = replace(config.data, db_path=absolute(config.data.db_path))
    service = replace(config.signal_service, cache_db_path=absolute(config.signal_service.cache_db_path))
    return replace(config, data=data, signal_service=service)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def default_of(item: Field[Any]) -> Any:
    """Return the default of a field, whichever way it was declared."""
    if item.default is not MISSING:
        return item.default
    assert item.default_factory is not MISSING
    return item.default_factory()
