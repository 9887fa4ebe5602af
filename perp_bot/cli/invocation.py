"""What one run of the command line knows: the config file it was given, and the settings once they are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perp_bot.config.model import Config
    from perp_bot.config.paths import RuntimePaths


@dataclass(slots=True)
class Invocation:
    """Shared by the group and its commands (`click.Context.obj`)."""

    config_path: Path | None = None
    config: Config | None = None

    def load(self, venue: str | None = None) -> Config:
        """Load the settings; ConfigError as in `config.load`."""
        from perp_bot.config.load import load_config

        self.config = load_config(self.config_path, venue=venue)
        return self.config

    def paths(self) -> RuntimePaths:
        """Load the settings and return where the daemon's files stand."""
        from perp_bot.config.paths import RuntimePaths

        return RuntimePaths(self.load().data.db_path)
