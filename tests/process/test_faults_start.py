"""What the daemon finds at its start: each obstacle is one clear line and a documented exit code."""

from __future__ import annotations

import json
import socket
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from rig import LIVELY, LIVELY_START, Rig
from test_faults_store import locked

from perp_bot.core.clock import FixedClock
from perp_bot.core.types import Fill, Liquidity, Order, OrderIntent, OrderRole, OrderSide, OrderState, OrderType
from perp_bot.data.db.rows import FillRow, OrderRow
from perp_bot.data.db.writer import Writer
from perp_bot.execution.orders import cloid_for
from perp_bot.ops.run_record import read_run_record
from perp_bot.risk import kill_switch

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(60)]

WEEK_MS = 7 * 24 * 3_600_000


def one_line(ran: subprocess.CompletedProcess[str]) -> str:
    """Return what a refused command said: one line on stderr that begins with the program's name, and no traceback."""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("perpbot: ")
    return line.removeprefix("perpbot: ")


def unused_url() -> str:
    """Return an address on this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_without_a_venue_the_daemon_says_how_to_get_one(tmp_path: Path) -> None:
    """Exit code 3, one line that names the address, `perpbot practice serve` and `--venue mainnet`; nothing is held."""
    url = unused_url()
    rig = Rig(tmp_path)
    rig.config_path.write_text(f"venue: {url}\ndata: {{db_path: perp_bot.db}}\n")
    ran = rig.perpbot("trade", "--paper")
    assert ran.returncode == 3
    assert one_line(ran) == (
        f"no practice venue answers at {url}: start one with `perpbot practice serve`, "
        "or choose the real one with `--venue mainnet`"
    )
    assert not rig.paths.socket.exists()
    record = read_run_record(rig.paths.run_record)
    assert record is not None
    assert (record.exit_code, record.ended_ms is None) == (3, False)


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "--json"],
        ["pause", "--json"],
        ["resume"],
        ["close", "BTC", "--yes"],
        ["cancel-orders", "--yes", "--json"],
        ["unkill", "--phrase", "resume practice"],
    ],
    ids=" ".join,
)
def test_without_a_daemon_a_command_says_so(command: list[str], tmp_path: Path) -> None:
    """Exit code 3, one line, and no output that a script could take for an answer."""
    rig = Rig(tmp_path)
    rig.config_path.write_text("data: {db_path: perp_bot.db}\n")
    ran = rig.perpbot(*command)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert one_line(ran).startswith("no daemon runs")


def test_a_truncated_config_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    """Exit code 2, one line with the file and the place, and neither database nor lock is made."""
    rig = Rig(tmp_path)
    rig.config_path.write_text("venue: practice\ntrading:\n  symbols: [BTC, ETH\n")
    for command in (["trade", "--paper"], ["status"]):
        ran = rig.perpbot(*command)
        assert ran.returncode == 2
        assert one_line(ran).startswith(f"{rig.config_path}:")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_venue_that_answers_html_is_refused_in_one_line(tmp_path: Path) -> None:
    """A captive portal, a wrong address: exit code 3, and what the answer began with."""
    with Rig(tmp_path) as rig:
        rig.venue.set_faults(html=True)
        ran = rig.perpbot("trade", "--paper")
        assert ran.returncode == 3
        assert "something that is not JSON; it begins '<html>" in one_line(ran)


def test_a_locked_database_is_refused_in_one_line(tmp_path: Path) -> None:
    """Exit code 1; the line says who to look for."""
    with Rig(tmp_path) as rig:
        rig.start()
        assert rig.stop() == 0
        with locked(rig.paths.db):
            ran = rig.perpbot("trade", "--paper")
        assert ran.returncode == 1
        assert "perp_bot.db is locked by another process" in one_line(ran)


def test_what_a_dead_daemon_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    """SIGKILL leaves socket file, lock file and an open run record: the next start takes their place."""
    with Rig(tmp_path) as rig:
        rig.start()
        rig.kill()
        assert rig.paths.socket.exists()
        assert rig.paths.lock.exists()
        left = read_run_record(rig.paths.run_record)
        assert left is not None
        assert left.ended_ms is None, "it did not end by itself, and the record shows it"
        ran = rig.perpbot("status")
        assert ran.returncode == 3
        assert one_line(ran).startswith("no daemon runs")

        rig.start()
        rig.step("15m")
        assert rig.stop() == 0
        assert not rig.paths.socket.exists()


def test_a_second_daemon_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """One daemon a database (I8): exit code 1, a line with the first one's pid; its files stay its own."""
    with Rig(tmp_path) as rig:
        first = rig.start()
        ran = rig.perpbot("trade", "--paper")
        assert ran.returncode == 1
        assert f"another perpbot (pid {first.pid}) works on this database" in one_line(ran)
        record = read_run_record(rig.paths.run_record)
        assert record is not None
        assert (record.pid, record.boot_id, record.ended_ms) == (first.pid, first.boot_id, None)
        state = rig.step("15m")
        assert state.boot_id == first.boot_id
        assert state.counters.decisions == first.counters.decisions + 2
        assert rig.stop() == 0


# ---------------------------------------------------------------- the halt after losing weeks


def losing_trade(closed_ms: int) -> list[OrderRow | FillRow]:
    """Return a round trip that lost 10 USD and its fees, as a daemon would have written it."""
    rows: list[OrderRow | FillRow] = []
    opening = f"mean_reversion:BTC:15m:{closed_ms}"
    for role, side, px, lost in (
        (OrderRole.ENTRY, OrderSide.BUY, "100000", "0"),
        (OrderRole.EXIT, OrderSide.SELL, "99000", "-10"),
    ):
        at_ms = closed_ms - (60_000 if role is OrderRole.ENTRY else 0)
        size = Decimal("0.01")
        intent = OrderIntent(
            cloid=cloid_for("paper", opening, role),
            decision_id=opening,
            symbol="BTC",
            side=side,
            role=role,
            order_type=OrderType.TAKER,
            size=size,
            limit_px=None,
            trigger_px=None,
            reduce_only=role is OrderRole.EXIT,
            created_ms=at_ms,
            expires_ms=None,
            strategy="mean_reversion",
            source="paper",
            reason="seeded",
        )
        order = Order(intent, OrderState.FILLED, size, Decimal(px), at_ms)
        fill = Fill(
            fill_id=f"{intent.cloid}:0",
            cloid=intent.cloid,
            symbol="BTC",
            side=side,
            px=Decimal(px),
            size=size,
            fee_usd=Decimal("0.45"),
            liquidity=Liquidity.TAKER,
            venue_ms=at_ms,
            role=role,
            strategy="mean_reversion",
            source="paper",
            reason="seeded",
            closed_pnl_usd=Decimal(lost),
        )
        rows += [OrderRow(order), FillRow(fill)]
    return rows


def test_three_losing_weeks_halt_the_start_and_force_overrides_only_that(tmp_path: Path) -> None:
    """Exit code 4 with the count and the setting; --force starts, says so, and leaves a kill in force."""
    with Rig(tmp_path, start=LIVELY_START, settings={"signals": LIVELY}) as rig:
        with Writer(rig.paths.db, backups=None, emergency=None, clock=FixedClock(rig.start_ms)) as writer:
            for weeks_ago in (3, 2, 1):
                for row in losing_trade(rig.start_ms - weeks_ago * WEEK_MS):
                    writer.put(row)
        ran = rig.perpbot("trade", "--paper")
        assert ran.returncode == 4
        assert one_line(ran) == (
            "3 calendar weeks in a row lost money (risk.losing_weeks: 3); review them, then start with --force"
        )
        record = read_run_record(rig.paths.run_record)
        assert record is not None
        assert record.exit_code == 4

        kill_switch.latch(rig.paths.kill_latch, who="a test", reason="still killed", venue_ms=None)
        state = rig.start("--force")
        assert state.status == "KILLED"
        (weeks,) = (limit for limit in state.limits if limit.name == "losing_weeks")
        assert (weeks.used, weeks.breached) == (3.0, False)
        assert weeks.text.endswith("overridden by --force")
        rig.step("15m", 7)
        assert rig.decided("BTC")[6] == ("blocked", "killed")
        assert rig.stop() == 0


# ---------------------------------------------------------------- secrets

CANARIES = {
    "HL_PRIVATE_KEY": "0x" + "c0ffee11" * 8,
    "HL_WALLET_ADDRESS": "0x" + "decafbad" * 5,
    "HL_WATCHDOG_PRIVATE_KEY": "0x" + "c0ffee12" * 8,
    "TELEGRAM_BOT_TOKEN": "123456789:AAF-canary_canary_canary_canary_0123",
}


def test_no_secret_leaves_the_env_file(tmp_path: Path) -> None:
    """Canaries in `.env` are in no file, state, record, table or output after a session with an outage (I9)."""
    webhook = unused_url() + "/api/webhooks/4242/canary-webhook-canary-webhook-canary"
    secrets = CANARIES | {"DISCORD_WEBHOOK_URL": webhook}
    with Rig(tmp_path, start=LIVELY_START, settings={"signals": LIVELY}) as rig:
        dotenv = tmp_path / ".env"
        dotenv.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
        checked = rig.perpbot("config", "check")
        rig.start()
        rig.step("15m", 3)
        rig.venue.close_sockets()
        rig.until("the stream is back", lambda: rig.events("RECONNECT"))
        rig.until("an alert has failed", lambda: "alert" in rig.log_text.lower())
        with rig.client() as client:
            state = client.raw_state()
        status = rig.perpbot("status")
        killed = rig.perpbot("kill", "--json")
        assert rig.stop() == 0
        dotenv.write_text(dotenv.read_text().replace("HL_PRIVATE_KEY=0x", "HL_PRIVATE_KEY=0y"))
        refused = rig.perpbot("trade", "--paper")

    assert refused.returncode == 2
    assert "HL_PRIVATE_KEY: expected 32 bytes as 64 hex digits" in refused.stderr
    said = [ran.stdout + ran.stderr for ran in (checked, status, killed, refused)] + [str(state)]
    dotenv.unlink()
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"perp_bot.db", "perp-bot.log", "daemon.out", "last_run.json", "KILL"} <= set(files)
    needles = [value.removeprefix("0x") for value in CANARIES.values()] + [webhook, "canary-webhook-canary"]
    for needle in needles:
        assert [name for name, content in files.items() if needle.lower().encode() in content.lower()] == []
        assert [text for text in said if needle.lower() in text.lower()] == []


def test_the_run_record_is_complete_after_each_kind_of_end(tmp_path: Path) -> None:
    """It is JSON with pid, boot id, start, end, exit code and reason."""
    with Rig(tmp_path) as rig:
        state = rig.start()
        assert rig.stop() == 0
        record = json.loads(rig.paths.run_record.read_text())
        assert set(record) == {"pid", "boot_id", "started_ms", "ended_ms", "exit_code", "reason"}
        assert (record["pid"], record["boot_id"], record["exit_code"]) == (state.pid, state.boot_id, 0)
        assert record["reason"] == "SIGTERM"
        assert record["started_ms"] <= record["ended_ms"]
