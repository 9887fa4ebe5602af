"""The page of the exchange says what the code does: its example runs, its JSON is understood, its lists are whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from signed_rig import ACCOUNTS, PLENTY, USER, act, order, orders, px_at

from perp_bot.config.venues import PRACTICE_PORT
from perp_bot.practice.accounts_file import parse_accounts
from perp_bot.practice.server.actions import TRADES
from perp_bot.practice.thread import PracticeServer

PAGE = (Path(__file__).parents[2] / "docs" / "practice-exchange.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_the_example_trades() -> None:
    """The lines for the SDK run as they stand, against a venue served as they say; each of them is answered."""
    source = block("python")
    address = f"http://127.0.0.1:{PRACTICE_PORT}"
    assert address in source
    assert f"--fund {USER}=5000" in source
    printed: list[object] = []
    with PracticeServer(speed=None, limits=PLENTY, fund={USER: 5000}) as venue:
        scope = {"print": printed.append}
        exec(source.replace(address, venue.base_url), scope)
        sdk = scope["sdk"]
        sdk.session.close()  # type: ignore[attr-defined]
        sdk.info.session.close()  # type: ignore[attr-defined]
    first, opened, held, resting, closed = printed
    assert "resting" in str(first)
    assert "filled" in str(opened)
    assert "'szi': '0.01'" in str(held)
    assert "'limitPx': '80000.0'" in str(resting)
    assert "filled" in str(closed)


def test_the_accounts_file_of_the_page_is_understood() -> None:
    """Agents, mode and positions as written there."""
    (account,) = parse_accounts(yaml.safe_load(block("yaml")))
    assert (account.address, len(account.agents), len(account.positions)) == (USER, 1, 1)


@pytest.mark.slow
def test_every_fault_of_the_page_is_understood() -> None:
    """The JSON of each row is taken, alone and all of them in turn."""
    rows = re.findall(r"^\| [^|]+ \| `(\{.*?\})` \|", PAGE, re.MULTILINE)
    assert len(rows) >= 15
    with PracticeServer(speed=None, limits=PLENTY, accounts=ACCOUNTS) as venue:
        for written in rows:
            venue.set_faults(clear=True)
            act(venue, orders(order(px_at(venue, 1.02), tif="Ioc")))
            text = written.replace('"0x..."', f'"{USER}"').replace('{"type": "order", ...}', '{"type": "noop"}')
            venue.set_faults(**json.loads(text))
        venue.set_faults(clear=True)


def test_the_page_lists_what_is_carried_out() -> None:
    """Every action of the exchange, by name."""
    carried_out = PAGE.split("Carried out:")[1].split("Every other action")[0]
    assert [name for name in sorted(TRADES | {"approveAgent", "userSetAbstraction"}) if name not in carried_out] == []
