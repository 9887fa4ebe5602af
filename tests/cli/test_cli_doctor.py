"""`perpbot doctor` against a practice venue with accounts: verdicts as the venue brings them about, nothing touched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_run import Ran, RunCommand

from perp_bot.config.paths import RuntimePaths, signers_folder
from perp_bot.core.clock import FixedClock, wall_ms
from perp_bot.core.timeframes import DAY_MS
from perp_bot.data.db.rows import StateRow
from perp_bot.data.db.writer import Writer
from perp_bot.data.venue_watch import SKEW_WARN_MS
from perp_bot.execution.live.nonces import signer_lock
from perp_bot.execution.live.signer import Signer
from perp_bot.ops.instance_lock import InstanceLock, holder
from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer
from perp_bot.risk import kill_switch

ROOT = Path(__file__).resolve().parents[2]
NO_CHANNEL = "none configured: nobody is told"
WEBHOOK_TOKEN = "CANARYwebhookTOKENcanaryWEBHOOKtokenCANARYwebhookTOKEN"


def key(number: int) -> str:
    return "0x" + f"{number:02x}" * 32


def address(number: int) -> str:
    return Signer(key(number), is_mainnet=False).address


def owner(number: int, usd: float = 10_000, **more: Any) -> dict[str, Any]:
    """Return an account whose API wallet's key has the next number."""
    agent = {"address": address(number + 1), "name": "bot", **more.pop("agent", {})}
    agent = {name: value for name, value in agent.items() if value is not None}
    return {"address": address(number), "usd": usd, "agents": [agent], **more}


RICH, POOR, SMALL, UNIFIED, ENDING, UNNAMED, HOLDING, STRANGE = 11, 21, 31, 41, 51, 61, 71, 81
STRANGER = 0xEE
BTC_HELD = {"coin": "BTC", "size": "0.01", "entry_px": 84_000, "leverage": 5, "margin": "isolated"}
SOL_HELD = {"coin": "SOL", "size": "-1", "entry_px": 140, "leverage": 5}


def accounts() -> list[dict[str, Any]]:
    soon_ms = wall_ms() + 5 * DAY_MS
    return [
        owner(RICH),
        owner(POOR, 100),
        owner(SMALL, 400),
        owner(UNIFIED, mode="unified"),
        owner(ENDING, agent={"valid_until": soon_ms}),
        owner(UNNAMED, agent={"name": None}),
        owner(HOLDING, positions=[BTC_HELD]),
        owner(STRANGE, positions=[SOL_HELD]),
    ]


PLENTY = Limits(weight_per_minute=1_000_000)


@pytest.fixture(scope="module")
def venue() -> Iterator[PracticeServer]:
    """A venue in real time, like the real one, for tests that only read."""
    with PracticeServer(speed=1.0, accounts=accounts(), limits=PLENTY) as made:
        yield made


@pytest.fixture
def own_venue() -> Iterator[PracticeServer]:
    """One whose faults are this test's own."""
    with PracticeServer(speed=1.0, accounts=accounts(), limits=PLENTY) as made:
        yield made


class Doctor:
    """Settings in an empty folder, and the doctor on them."""

    def __init__(self, folder: Path, perpbot: RunCommand) -> None:
        self.folder = folder
        self._perpbot = perpbot

    def settings(self, venue: str, *, mode: str = "live", **sections: Any) -> None:
        text = yaml.safe_dump({"mode": mode, "venue": venue, **sections})
        (self.folder / "config.yaml").write_text(text)

    def secrets(self, **values: str) -> None:
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def trades_for(self, number: int, signer: int | None = None) -> None:
        self.secrets(HL_PRIVATE_KEY=key(number + 1 if signer is None else signer), HL_WALLET_ADDRESS=address(number))

    def run(self, *arguments: str) -> Ran:
        return self._perpbot("doctor", *arguments)

    def verdicts(self) -> dict[str, dict[str, str]]:
        ran = self.run("--json")
        assert ran.err == ""
        rows = [json.loads(line) for line in ran.out.splitlines()]
        assert all(set(row) == {"name", "level", "text", "fix"} for row in rows)
        assert all(bool(row["fix"]) == (row["level"] in ("warning", "failure")) for row in rows), rows
        found = {row["name"]: row for row in rows}
        assert len(found) == len(rows)
        return found

    def levels(self, level: str) -> set[str]:
        return {name for name, row in self.verdicts().items() if row["level"] == level}


@pytest.fixture
def doctor(tmp_path: Path, perpbot: RunCommand, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "bot"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Doctor(folder, perpbot)


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[str]]]:
    """A stand-in of Discord: its webhook's address, and the requests it got; it takes no message."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(f"GET {self.path}")
            is_known = self.path.endswith(WEBHOOK_TOKEN)
            self.send_response(200 if is_known else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_POST(self) -> None:
            got.append(f"POST {self.path}")
            self.send_error(500)

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/webhooks/77/", got
    server.shutdown()
    thread.join()
    server.server_close()


# ---------------------------------------------------------------- the whole, and its exit codes


@pytest.mark.slow
def test_all_well_is_exit_code_0_and_nothing_is_left_behind(
    doctor: Doctor, venue: PracticeServer, webhook: tuple[str, list[str]]
) -> None:
    """A funded account, its API wallet, a channel that would take a message: and no file, action or message more."""
    base, got = webhook
    doctor.settings(venue.base_url)
    doctor.secrets(
        HL_PRIVATE_KEY=key(RICH + 1), HL_WALLET_ADDRESS=address(RICH), DISCORD_WEBHOOK_URL=base + WEBHOOK_TOKEN
    )
    before = sorted(doctor.folder.parent.rglob("*"))
    ran = doctor.run()
    assert ran.code == 0, ran.out
    assert ran.out.count("\n") == 19
    assert re.search(r"^ok +signer +API wallet " + address(RICH + 1), ran.out, re.MULTILINE)
    assert ran.err == "18 ok, 1 not checked\n"
    assert "10,000 of 10,000 actions left" in ran.out
    assert got == [f"GET /api/webhooks/77/{WEBHOOK_TOKEN}"]
    assert sorted(doctor.folder.parent.rglob("*")) == before
    assert WEBHOOK_TOKEN not in ran.out + ran.err


def test_warnings_only_are_exit_code_5(doctor: Doctor, venue: PracticeServer) -> None:
    """No channel is configured, the rest is well."""
    doctor.settings(venue.base_url)
    doctor.trades_for(RICH)
    ran = doctor.run()
    assert ran.code == 5, ran.out
    assert re.search(rf"^WARNING +alerts +{NO_CHANNEL}.*; fix: set DISCORD_WEBHOOK_URL", ran.out, re.MULTILINE)
    assert ran.err == "17 ok, 1 warning, 1 not checked\n"


def test_a_failure_is_exit_code_1(doctor: Doctor, venue: PracticeServer) -> None:
    """Here: an account without the margin of an entry."""
    doctor.settings(venue.base_url)
    doctor.trades_for(POOR)
    assert doctor.run().code == 1
    assert doctor.levels("failure") == {"balances"}


def test_on_paper_the_account_is_not_checked(doctor: Doctor, venue: PracticeServer) -> None:
    """Nor is it missed: the venue, the coins and the machine are."""
    doctor.settings(venue.base_url, mode="paper")
    found = doctor.verdicts()
    paper = {name for name, row in found.items() if row["text"] == "not checked: mode is paper"}
    names = {"signer", "agent expiry", "account mode", "balances", "positions", "action budget", "builder approvals"}
    assert paper == names
    assert doctor.levels("skipped") == names
    assert doctor.levels("warning") == {"alerts"}
    assert "not checked: mode is paper" in found["leverage BTC"]["text"]
    assert doctor.run().code == 5


def test_on_paper_with_keys_it_is(doctor: Doctor, venue: PracticeServer) -> None:
    """For the day they are used."""
    doctor.settings(venue.base_url, mode="paper")
    doctor.trades_for(RICH)
    assert doctor.levels("skipped") == {"builder approvals"}


def test_a_dead_venue_is_one_failure_and_the_rest_is_checked(doctor: Doctor) -> None:
    """Nothing listens on port 9; disk, locks, latch and alerts need no venue."""
    doctor.settings("http://127.0.0.1:9")
    doctor.trades_for(RICH)
    assert doctor.run().code == 1
    assert doctor.levels("failure") == {"venue"}
    assert doctor.levels("ok") == {"disk", "second instance", "kill latch"}
    assert "perpbot practice serve" in doctor.verdicts()["venue"]["text"]


def test_a_venue_that_breaks_off_is_not_asked_again(doctor: Doctor, own_venue: PracticeServer) -> None:
    """502 from the account's mode on: that line fails, what would have been asked after it is skipped."""
    own_venue.set_faults(status_502={"on": ["userAbstraction"], "times": 1})
    doctor.settings(own_venue.base_url)
    doctor.trades_for(RICH)
    found = doctor.verdicts()
    assert [name for name, row in found.items() if row["level"] == "failure"] == ["account mode"]
    assert found["signer"]["level"] == "ok"
    assert found["action budget"]["text"] == "not checked: the venue does not answer"
    assert found["stop BTC"]["level"] == "skipped"


@pytest.mark.parametrize(
    ("struck", "fails"),
    [("extraAgents", {"agent expiry"}), ("spotClearinghouseState", {"balances"}), ("metaAndAssetCtxs", {"coins"})],
)
def test_an_answer_that_is_none_fails_its_own_check(
    doctor: Doctor, own_venue: PracticeServer, struck: str, fails: set[str]
) -> None:
    """HTML instead of one answer: one failure, and the checks that do not need it are made."""
    own_venue.set_faults(html={"on": [struck]})
    doctor.settings(own_venue.base_url)
    doctor.trades_for(RICH)
    assert doctor.levels("failure") == fails
    assert doctor.verdicts()["signer"]["level"] == "ok"
    assert doctor.verdicts()["action budget"]["level"] == "ok"


def test_wrong_settings_are_exit_code_2_as_everywhere(doctor: Doctor) -> None:
    """A key of another form is one of them, and is not shown."""
    doctor.settings("practice", trading={"leverage": 0})
    doctor.secrets(HL_PRIVATE_KEY="c0ffee" * 10)
    ran = doctor.run()
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 2
    assert "c0ffee" not in ran.err


# ---------------------------------------------------------------- signer


def test_a_key_that_nobody_knows_is_a_failure_and_is_never_shown(doctor: Doctor, venue: PracticeServer) -> None:
    """One digit mistyped is the key of a stranger."""
    doctor.settings(venue.base_url)
    doctor.trades_for(RICH, signer=STRANGER)
    found, ran = doctor.verdicts(), doctor.run()
    assert found["signer"]["level"] == "failure"
    assert f"knows no account or API wallet {address(STRANGER)}" in found["signer"]["text"]
    assert found["agent expiry"]["level"] == "skipped"
    assert found["balances"]["level"] == "ok"
    assert "eeee" * 4 not in (ran.out + ran.err).lower()
    assert "eeee" * 4 not in json.dumps(found).lower()


@pytest.mark.parametrize(
    ("secrets", "says"),
    [({}, "HL_PRIVATE_KEY: not set"), ({"HL_PRIVATE_KEY": "0x" + "00" * 32}, "no private key of the curve")],
)
def test_without_a_usable_key_the_account_is_read_by_its_address(
    doctor: Doctor, venue: PracticeServer, secrets: dict[str, str], says: str
) -> None:
    """What the address alone tells is told."""
    doctor.settings(venue.base_url)
    doctor.secrets(HL_WALLET_ADDRESS=address(RICH), **secrets)
    found = doctor.verdicts()
    assert (found["signer"]["level"], says in found["signer"]["text"]) == ("failure", True)
    assert (found["agent expiry"]["level"], found["balances"]["level"]) == ("skipped", "ok")
    doctor.secrets(**secrets)
    assert doctor.verdicts()["balances"]["text"].startswith("not checked: no account is named")


def test_the_accounts_own_key_is_a_warning(doctor: Doctor, venue: PracticeServer) -> None:
    """It can withdraw; it does not expire."""
    doctor.settings(venue.base_url)
    doctor.trades_for(RICH, signer=RICH)
    found = doctor.verdicts()
    assert found["signer"]["level"] == "warning"
    assert (found["agent expiry"]["level"], "does not expire" in found["agent expiry"]["text"]) == ("ok", True)


def test_an_api_wallet_of_another_account_is_a_failure(doctor: Doctor, venue: PracticeServer) -> None:
    """It would trade for somebody else."""
    doctor.settings(venue.base_url)
    doctor.trades_for(RICH, signer=POOR + 1)
    found = doctor.verdicts()["signer"]
    assert (found["level"], f"an API wallet of {address(POOR)}" in found["text"]) == ("failure", True)


@pytest.mark.parametrize(
    ("number", "level", "says"),
    [(RICH, "ok", "180.0 days"), (ENDING, "warning", "5.0 days"), (UNNAMED, "warning", "unnamed")],
)
def test_the_end_of_an_api_wallet(doctor: Doctor, venue: PracticeServer, number: int, level: str, says: str) -> None:
    """From extraAgents, by the venue's clock."""
    doctor.settings(venue.base_url)
    doctor.trades_for(number)
    found = doctor.verdicts()["agent expiry"]
    assert (found["level"], says in found["text"]) == (level, True), found


def test_an_api_wallet_that_has_ended_is_a_failure(doctor: Doctor, own_venue: PracticeServer) -> None:
    """The venue's clock goes on beyond its end."""
    own_venue.set_faults(clock_skew_ms=6 * DAY_MS)
    doctor.settings(own_venue.base_url)
    doctor.trades_for(ENDING)
    found = doctor.verdicts()
    assert (found["agent expiry"]["level"], "expired on" in found["agent expiry"]["text"]) == ("failure", True)
    assert found["clock skew"]["level"] == "failure"


# ---------------------------------------------------------------- account


def test_a_unified_account_is_a_failure_whose_money_is_found(doctor: Doctor, venue: PracticeServer) -> None:
    """Live trading would find 0; the balance is read where it is."""
    doctor.settings(venue.base_url)
    doctor.trades_for(UNIFIED)
    found = doctor.verdicts()
    assert found["account mode"]["level"] == "failure"
    assert (found["balances"]["level"], "10,000.00" in found["balances"]["text"]) == ("ok", True)


@pytest.mark.parametrize(("number", "level"), [(RICH, "ok"), (SMALL, "warning"), (POOR, "failure")])
def test_balances_against_the_plan(doctor: Doctor, venue: PracticeServer, number: int, level: str) -> None:
    """10,000, 400 and 100 USD; capital_usd is 670, the margin of an entry 335."""
    doctor.settings(venue.base_url)
    doctor.trades_for(number)
    assert doctor.verdicts()["balances"]["level"] == level


def test_a_position_of_a_coin_that_is_not_traded_is_a_failure(doctor: Doctor, venue: PracticeServer) -> None:
    """Live trading does not begin with one."""
    doctor.settings(venue.base_url)
    doctor.trades_for(STRANGE)
    assert doctor.verdicts()["positions"]["level"] == "failure"
    doctor.settings(venue.base_url, trading={"symbols": ["BTC", "SOL"]})
    assert doctor.verdicts()["positions"]["level"] == "ok"


def test_leverage_per_coin(doctor: Doctor, venue: PracticeServer) -> None:
    """A position at 5x isolated beside settings of 3x cross; a flat coin; a leverage the venue does not allow."""
    doctor.settings(venue.base_url)
    doctor.trades_for(HOLDING)
    found = doctor.verdicts()
    assert (found["leverage BTC"]["level"], found["leverage ETH"]["level"]) == ("warning", "ok")
    assert "5x isolated at the venue" in found["leverage BTC"]["text"]
    doctor.settings(venue.base_url, trading={"symbols": ["BTC"], "leverage": 5, "margin_mode": "isolated"})
    assert doctor.verdicts()["leverage BTC"]["level"] == "ok"
    doctor.settings(venue.base_url, trading={"symbols": ["ETH"], "leverage": 26})
    assert doctor.levels("failure") >= {"leverage ETH"}


def test_a_coin_that_the_venue_does_not_trade_fails_once(doctor: Doctor, own_venue: PracticeServer) -> None:
    """Unknown, or delisted: what needs its price is skipped, the other coin is checked."""
    own_venue.set_faults(delist="SOL")
    doctor.settings(own_venue.base_url, mode="paper", trading={"symbols": ["NOPE", "SOL", "ETH"]})
    assert doctor.levels("failure") == {"leverage NOPE", "leverage SOL"}
    found = doctor.verdicts()
    assert {found[f"{what} {coin}"]["level"] for what in ("minimum", "stop") for coin in ("NOPE", "SOL")} == {"skipped"}
    assert {found[f"{what} ETH"]["level"] for what in ("leverage", "minimum", "stop")} == {"ok"}


def test_minimum_and_stop_follow_the_settings(doctor: Doctor, venue: PracticeServer) -> None:
    """Capital of 5 USD makes no order; an isolated position that may lose its whole margin is liquidated first."""
    doctor.settings(venue.base_url, mode="paper", trading={"capital_usd": 5})
    assert doctor.levels("failure") == {"minimum BTC", "minimum ETH"}
    doctor.settings(
        venue.base_url, mode="paper", trading={"margin_mode": "isolated"}, risk={"max_loss_per_trade_pct": 0.5}
    )
    assert doctor.levels("failure") == {"stop BTC", "stop ETH"}


# ---------------------------------------------------------------- machine


def test_a_clock_that_is_two_minutes_off_is_a_warning(doctor: Doctor, own_venue: PracticeServer) -> None:
    """The venue tells another time than this machine."""
    own_venue.set_faults(clock_skew_ms=120_000)
    doctor.settings(own_venue.base_url, mode="paper")
    found = doctor.verdicts()["clock skew"]
    assert (found["level"], "+120.0 s" in found["text"]) == ("warning", True)


def test_a_stepped_venue_has_its_own_time(doctor: Doctor) -> None:
    """Not compared, and said so."""
    with PracticeServer(speed=None, limits=PLENTY) as stepped:
        doctor.settings(stepped.base_url, mode="paper")
        found = doctor.verdicts()["clock skew"]
    assert (found["level"], found["text"]) == ("skipped", "not checked: the practice venue is stepped")


_HOLD = """
import sys
from pathlib import Path
from perp_bot.ops.instance_lock import InstanceLock
for path in sys.argv[1:]:
    InstanceLock(Path(path)).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_running_daemon_is_told_and_keeps_its_locks(doctor: Doctor, venue: PracticeServer) -> None:
    """Both locks are seen with their holder's pid, and are still its own afterwards."""
    doctor.settings(venue.base_url)
    doctor.trades_for(RICH)
    lock = RuntimePaths(doctor.folder / "perp_bot.db").lock
    state = {"XDG_STATE_HOME": str(doctor.folder.parent / "state")}
    signer = signer_lock(signers_folder(state), address(RICH + 1)).path
    command = [sys.executable, "-c", _HOLD, str(lock), str(signer)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "held\n"
        found = doctor.verdicts()["second instance"]
        still = (holder(lock), holder(signer))
        daemon.communicate("")
    assert (found["level"], found["text"]) == ("ok", f"a daemon runs (pid {daemon.pid}) and signs with this key")
    assert still == (daemon.pid, daemon.pid)


def test_another_process_with_the_key_is_a_failure(doctor: Doctor, venue: PracticeServer) -> None:
    """Of another database: this one's lock is free."""
    doctor.settings(venue.base_url)
    doctor.trades_for(RICH)
    folder = signers_folder({"XDG_STATE_HOME": str(doctor.folder.parent / "state")})
    with signer_lock(folder, address(RICH + 1)):
        assert doctor.verdicts()["second instance"]["level"] == "failure"
        with InstanceLock(RuntimePaths(doctor.folder / "perp_bot.db").lock):
            assert doctor.verdicts()["second instance"]["level"] == "ok"


def test_a_kill_is_a_warning_by_its_file(doctor: Doctor, venue: PracticeServer) -> None:
    """And the way out is named."""
    doctor.settings(venue.base_url, mode="paper")
    kill_switch.latch(doctor.folder / "KILL", who="perpbot kill", reason="[news]", venue_ms=None)
    found = doctor.verdicts()["kill latch"]
    assert (found["level"], "[news]" in found["text"], "perpbot unkill" in found["fix"]) == ("warning", True, True)
    assert doctor.run().code == 5


@pytest.mark.slow
def test_a_kill_is_a_warning_by_its_row_and_the_database_is_left_as_it_was(
    doctor: Doctor, venue: PracticeServer
) -> None:
    """A lost file does not unkill. Nothing is written, not even the files that SQLite keeps beside an open database."""
    doctor.settings(venue.base_url, mode="paper")
    paths = RuntimePaths(doctor.folder / "perp_bot.db")
    with Writer(paths.db, backups=None, emergency=None, clock=FixedClock(1)) as writer:
        writer.commit(StateRow("kill", "killed by an operator", 1), deadline_s=5.0)
    before = {path: path.read_bytes() for path in doctor.folder.rglob("*") if path.is_file()}
    found = doctor.verdicts()["kill latch"]
    assert (found["level"], "killed by an operator" in found["text"]) == ("warning", True), found
    assert {path: path.read_bytes() for path in doctor.folder.rglob("*") if path.is_file()} == before


def test_a_channel_that_refuses_is_a_failure_without_its_token(
    doctor: Doctor, venue: PracticeServer, webhook: tuple[str, list[str]]
) -> None:
    """The address of a deleted webhook; and one where nobody listens."""
    base, got = webhook
    doctor.settings(venue.base_url, mode="paper")
    for url, says in (
        (base + "SECRETsecretSECRETsecret", "status 401"),
        ("http://127.0.0.1:9/api/x", "nothing answers"),
    ):
        doctor.secrets(DISCORD_WEBHOOK_URL=url)
        found = doctor.verdicts()["alerts"]
        assert (found["level"], says in found["text"]) == ("failure", True), found
        assert "SECRET" not in found["text"]
    assert [line.split()[0] for line in got] == ["GET"]


# ---------------------------------------------------------------- the page


def test_the_page_has_every_check_and_no_other(doctor: Doctor, venue: PracticeServer) -> None:
    """In the order in which they are said; those of a coin by the first one."""
    doctor.settings(venue.base_url, trading={"symbols": ["BTC"]})
    doctor.trades_for(RICH)
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    table = page.split("## What is checked\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == sorted(doctor.verdicts())


def test_the_numbers_of_the_page_are_the_programs() -> None:
    """Thresholds do not drift."""
    from perp_bot.trading.doctor import account_checks, machine_checks

    page = " ".join((ROOT / "docs" / "doctor.md").read_text(encoding="utf-8").split())
    assert f"{account_checks.AGENT_WARN_DAYS} days or more, by the venue's clock" in page
    assert f"{account_checks.FEW_ACTIONS:,} actions or more | fewer, or {account_checks.FEW_DAYS} days" in page
    assert f"of {account_checks.ACTIONS_A_TRADE} actions each" in page
    assert (machine_checks.DISK_WARN_BYTES, machine_checks.DISK_FAIL_BYTES) == (10**9, 10**8)
    assert SKEW_WARN_MS == 2_000
