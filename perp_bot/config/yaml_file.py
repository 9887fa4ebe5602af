"""Read a YAML settings file into plain values; every fault is one line with file, line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode

from perp_bot.config.redact import redacted
from perp_bot.core.errors import ConfigError

_MAX_BYTES = 1_000_000

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser where it was built


class _StrictLoader(_BaseLoader):  # type: ignore[misc]
    """The safe loader, except that a key given twice is an error: YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (dict, list)):
                raise ConstructorError(None, None, "a key must be a name", key_node.start_mark)
            if key in seen:
                raise ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def read_yaml(path: Path) -> dict[Any, Any]:
    """Return the top-level mapping of the file; empty for an empty file.

    Raises:
        ConfigError: missing, unreadable, not YAML, or not a mapping.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; without --config the defaults hold") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path}: {len(content):,} bytes is too long for a config file (at most {_MAX_BYTES:,})")
    try:
        found = yaml.load(content, Loader=_StrictLoader)  # noqa: S506 - a safe loader with one more check
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_fault(path, error)) from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path}: not valid YAML: {redacted(str(error))}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected sections like `trading:`, found {type(found).__name__}")
    return found


def _yaml_fault(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    context = getattr(error, "context", None)
    text = f"{context}, {problem}" if context and context != problem else str(problem)
    return f"{where}: not valid YAML: {redacted(' '.join(text.split()))} (is the file complete?)"
