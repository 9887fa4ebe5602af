"""Names in `.env` that look like ours and are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from perp_bot.config.load import load_config
from perp_bot.core.errors import ConfigError


def test_a_mistyped_secret_is_named_with_the_nearest_and_without_its_value(tmp_path: Path) -> None:
    """A key that nobody reads would be a silent failure; other programs' names in the same file are none of ours."""
    (tmp_path / "config.yaml").write_text("mode: paper\n")
    (tmp_path / ".env").write_text("HL_PRIVATE_KY=0xcanary\nPATH_OF_OTHERS=1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml", env={})
    text = str(caught.value)
    assert "HL_PRIVATE_KY: no such secret" in text
    assert "nearest: HL_PRIVATE_KEY" in text
    assert "canary" not in text
    assert "PATH_OF_OTHERS" not in text
