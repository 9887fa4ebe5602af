"""Folders that cannot be used: said in one line with the way out, instead of as an unexpected error."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from perp_bot.core.errors import ConfigError

if TYPE_CHECKING:
    from perp_bot.config.model import Config
    from perp_bot.config.paths import RuntimePaths

_OF_THE_PLACE = frozenset(
    (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)
)


def make_folder(config: Config, paths: RuntimePaths) -> None:
    """Make the folder of the database where it is missing.

    Raises:
        ConfigError: it cannot be made; the line has the file and the key.
    """
    try:
        paths.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(_db_line(config, f"the folder {paths.directory} cannot be made: {error.strerror}")) from None


def place_fault(error: OSError, config: Config | None) -> str | None:
    """Return the line for an error that comes from where we run or write, None for every other error."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return "the current folder no longer exists; go to another one with cd, then run this again"
    if error.errno not in _OF_THE_PLACE or not isinstance(error.filename, str):
        return None
    path = here / error.filename
    if config is not None and path.is_relative_to(config.data.db_path.parent):
        return _db_line(config, f"{path} cannot be used: {error.strerror}")
    if path.is_relative_to(here):
        return f"{path} cannot be used: {error.strerror}; go to a folder where you may write (cd), then run this again"
    return None


def _db_line(config: Config, what: str) -> str:
    source = config.source_path if config.source_path is not None else "defaults"
    return f"{source}: data.db_path: {config.data.db_path}: {what}; choose a folder where you may write"
