"""Documentation and shipped files are generated from the settings, and current."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import yaml

from perp_bot.config import docs
from perp_bot.config.load import load_config, section_fields
from perp_bot.config.model import Config
from perp_bot.config.redact import SECRET_NAMES

ROOT = Path(__file__).resolve().parents[2]


def test_the_configuration_page_is_current() -> None:
    """`python -m perp_bot.config.docs` was run after the last change."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == docs.markdown()


def test_the_shipped_config_is_current() -> None:
    """The same for config.yaml."""
    assert (ROOT / "config.yaml").read_text(encoding="utf-8") == docs.shipped_yaml()


def test_the_shipped_config_is_the_defaults() -> None:
    """A fresh clone behaves as the documentation says: practice venue, paper."""
    shipped = load_config(ROOT / "config.yaml", env={})
    default = Config()
    assert shipped.data.db_path == ROOT / default.data.db_path
    assert shipped.signal_service.cache_db_path == ROOT / default.signal_service.cache_db_path
    same_files = replace(shipped, data=replace(shipped.data, db_path=default.data.db_path), source_path=None)
    service = replace(shipped.signal_service, cache_db_path=default.signal_service.cache_db_path)
    assert replace(same_files, signal_service=service, secrets=default.secrets) == default


def test_every_key_is_in_the_shipped_config_and_on_the_page() -> None:
    """No setting is hidden."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    page = docs.markdown()
    for section, kind in section_fields().items():
        assert set(raw[section]) == {item.name for item in fields(kind)}, section
        for item in fields(kind):
            assert f"| `{item.name}` |" in page


def test_the_env_example_names_every_secret_and_holds_none() -> None:
    """It is a form to fill in."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [f"{name}=" for name in SECRET_NAMES]
