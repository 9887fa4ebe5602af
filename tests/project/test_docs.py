"""The pages say what the program does: every fact that can drift is compared with the code."""

from __future__ import annotations

import ast
import inspect
import json
import re
from functools import cache
from pathlib import Path

import pytest

from perp_bot.cli.catalog import ENTRIES
from perp_bot.config.paths import RuntimePaths
from perp_bot.core import errors
from perp_bot.data.db.schema import MIGRATIONS
from perp_bot.tui import freshness
from perp_bot.tui.actions import ACTIONS
from perp_bot.tui.layout import CARD_HEIGHT, CARD_WIDTH, VIEWS
from perp_bot.tui.store import Connection

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "perp_bot"
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DASHBOARD = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
STATUSES = ("STARTING", "RECONCILING", "RUNNING", "PAUSED", "DEGRADED", "KILLED", "STOPPING")


def section(page: str, title: str) -> str:
    """Return what stands under a heading of the second or third level, up to the next one of the same level."""
    found = re.search(rf"^(##+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {title!r}"
    return found[2]


def first_cells(table: str) -> list[str]:
    """Return the code in the first cell of every row of a table."""
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


# ------------------------------------------------------------ commands


def test_the_readme_has_every_command_with_its_sentence() -> None:
    """The table is the overview of `perpbot --help`, in its order."""
    table = section(README, "Commands")
    rows = re.findall(r"^\| `perpbot ([\w-]+)` \| (.+) \|$", table, re.MULTILINE)
    assert rows == [(entry.name, entry.help) for entry in ENTRIES]


def test_operations_explains_every_command() -> None:
    """No command without a word on what it is for."""
    missing = [entry.name for entry in ENTRIES if f"`perpbot {entry.name}" not in OPERATIONS]
    assert missing == ["trade"] or missing == []
    assert "perpbot trade --paper" in OPERATIONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_the_pages_exist(page: Path) -> None:
    """What a reader copies runs: command names and long options are those of the program."""
    import click

    from perp_bot.cli.main import perpbot

    context = click.Context(perpbot)
    for line in re.findall(r"(?:^|`|\$ )perpbot ([^`\n]*)", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = [word for word in re.sub(r"#.*", "", line).split() if word != "|"]
        if words[:1] == ["--config"]:
            words = words[2:]
        if not words or words[0].startswith("-") or not re.fullmatch(r"[a-z-]+", words[0]):
            continue
        command = perpbot.get_command(context, words[0])
        assert command is not None, f"{page.name}: perpbot {line}"
        if isinstance(command, click.Group) and len(words) > 1 and not words[1].startswith("-"):
            command = command.get_command(context, words[1])
            assert command is not None, f"{page.name}: perpbot {line}"
        known = {option for item in command.params for option in (*item.opts, *item.secondary_opts)} | {"--help"}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"{page.name}: perpbot {line}"


def test_the_readme_names_every_key_of_the_demos_json() -> None:
    """Scripts read it."""
    from perp_bot.cli.demo import DEFAULT_HEADLESS_S, DEMO_SPEED

    tree = ast.parse((PACKAGE / "cli" / "demo.py").read_text(encoding="utf-8"))
    summary = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "summary")
    returned = next(n.value for n in ast.walk(summary) if isinstance(n, ast.Return))
    assert isinstance(returned, ast.Dict)
    keys = [key.value for key in returned.keys if isinstance(key, ast.Constant)]
    assert re.findall(r"`(\w+)`", section(README, "The demo's JSON")) == keys
    assert f"--duration {DEFAULT_HEADLESS_S:.0f}" in README
    assert f"{DEMO_SPEED} times faster than life" in README


# ------------------------------------------------------------ errors, events, states, messages


def error_classes() -> list[type[errors.PerpBotError]]:
    return [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.PerpBotError)]


def test_operations_has_every_exit_code() -> None:
    """Exit codes are an interface."""
    named = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", section(OPERATIONS, "Exit codes"), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == named


def test_operations_has_every_error_with_its_properties() -> None:
    """The row of a class says its exit code, whether to try again, whether it halts, and its docstring's sentence."""

    def word(flag: bool) -> str:
        return "yes" if flag else "no"

    expected = []
    for item in error_classes():
        sentence = (inspect.getdoc(item) or "").splitlines()[0]
        cells = (f"`{item.__name__}`", str(item.exit_code), word(item.retryable), word(item.halts), sentence)
        expected.append(f"| {' | '.join(cells)} |")
    rows = [line for line in section(OPERATIONS, "Exit codes").splitlines() if re.match(r"\| `[A-Z][a-z]", line)]
    assert rows == expected


def event_kinds() -> set[str]:
    """Return every kind that the trading side tells: its words in capitals that are no status."""
    found: set[str] = set()
    for path in (PACKAGE / "trading").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.fullmatch("[A-Z_]{4,}", node.value)
            ):
                found.add(node.value)
    return found - (set(STATUSES) - {"PAUSED", "DEGRADED", "KILLED"}) - {"LIVE"}  # the STARTED sentence's own word


def test_operations_has_every_event_and_no_other() -> None:
    """What stands in the log can be looked up."""
    assert set(first_cells(section(OPERATIONS, "Events"))) == event_kinds()


def test_operations_says_which_events_are_sent_as_alerts() -> None:
    """The third column is the program's set; STARTED is sent by the daemon itself."""
    from perp_bot.trading.notes import ALERTED

    table = section(OPERATIONS, "Events")
    sent = {kind for kind in first_cells(table) if re.search(rf"^\| `{kind}` \|.*\| yes \|$", table, re.MULTILINE)}
    assert sent == set(ALERTED) | {"STARTED"}


def test_every_status_is_explained() -> None:
    """The words of the state snapshot, which lists them beside the field."""
    state = (PACKAGE / "ipc" / "state.py").read_text(encoding="utf-8")
    listed = re.search(r"^    status: str  # ([A-Z ]+)$", state, re.MULTILINE)
    assert listed is not None
    assert tuple(listed[1].split()) == STATUSES
    assert tuple(first_cells(section(OPERATIONS, "Status"))) == STATUSES


@cache
def said() -> tuple[str, ...]:
    """Return every text of the program, the variable parts of formatted ones as a character of their own."""
    texts: list[str] = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value.replace("%s", "\0"))
    return tuple(texts)


QUOTED = re.findall(r"^> (.+)$", section(OPERATIONS, "What each message means"), re.MULTILINE)


@pytest.mark.parametrize("message", QUOTED)
def test_the_messages_of_the_faq_are_the_programs(message: str) -> None:
    """A reader who searches for the line on the screen finds it: every fixed part stands in a text of the code."""
    parts = [part for part in message.split("…") if part.strip()]
    assert max(len(part) for part in parts) >= 12
    for part in parts:
        assert any(part in text for text in said()), part


def test_the_faq_quotes_messages() -> None:
    """The list above is not empty by accident."""
    assert len(QUOTED) > 15


# ------------------------------------------------------------ files, tables, threads, limits


def test_operations_lists_every_file_beside_the_database() -> None:
    """`config.paths` is the one place that knows them."""
    listed = set(first_cells(section(OPERATIONS, "Files")))
    paths = RuntimePaths(Path("/data/perp_bot.db"))
    properties = [name for name, item in vars(RuntimePaths).items() if isinstance(item, property)]
    expected = {getattr(paths, name).name for name in properties if name != "directory"} | {paths.db.name}
    assert listed == expected


def test_architecture_lists_every_table_and_no_other() -> None:
    """The schema, migration by migration."""
    tables = [name for step in sorted(MIGRATIONS) for name in re.findall(r"CREATE TABLE (\w+)", MIGRATIONS[step])]
    assert first_cells(section(ARCHITECTURE, "Storage")) == tables


def test_architecture_lists_every_package() -> None:
    """The house has no room that nobody knows of."""
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(first_cells(section(ARCHITECTURE, "The house"))) == packages


def thread_names(path: Path) -> set[str]:
    """Return the names of the threads that a file starts; a thread without a name is a fault."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "_Sink" and isinstance(node.args[0], ast.Constant):
            names.add(str(node.args[0].value))
        if called in ("threading.Thread", "Thread"):
            given = [item.value for item in node.keywords if item.arg == "name"]
            assert given, f"{path}:{node.lineno}: a thread without a name"
            names |= {str(value.value) for value in given if isinstance(value, ast.Constant)}
    return names


def test_architecture_lists_every_thread_of_the_daemon() -> None:
    """Each thread has a name and an owner on the page (the dashboard and the venue are other processes)."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in ("tui", "practice", "bench", "cli"):
            found |= thread_names(path)
    table = section(ARCHITECTURE, "Threads")
    assert found <= set(re.findall(r"`([\w-]+)`", table)), found
    assert {"store-writer", "ipc", "signals", "auditor"} <= found


def test_the_numbers_of_the_architecture_are_the_programs() -> None:
    """Bounds and beats do not drift."""
    from perp_bot.trading import loop, queue

    assert f"up to {queue.MAX_TRADES:,}" in ARCHITECTURE
    assert f"up to {queue.MAX_EVENTS:,}" in ARCHITECTURE
    assert f"bounded at {queue.MAX_CONTROLS:,}" in ARCHITECTURE
    assert f"wakes at least every {loop.TICK_S:g} s" in ARCHITECTURE
    assert f"at most every {loop.STATE_AT_MOST_EVERY_S:g} s" in ARCHITECTURE
    assert loop.STATE_EVERY_S == 1.0


def test_the_numbers_of_operations_are_the_programs() -> None:
    """Rotation, backups and the heartbeat."""
    from perp_bot.data.db import backup, emergency
    from perp_bot.ops import alerts, logging

    assert f"{logging.MAX_BYTES >> 20} MiB, three older files" in OPERATIONS
    assert logging.KEEP_FILES == 3
    assert f"the newest {backup.KEEP} are kept" in OPERATIONS
    assert f"{emergency.DEFAULT_BYTES >> 20} MiB, allocated beforehand" in OPERATIONS
    assert f"heartbeat every {alerts.HEARTBEAT_S / 60:.0f} minutes" in OPERATIONS


# ------------------------------------------------------------ the dashboard


def test_the_key_table_is_the_programs() -> None:
    """Every action, in order, word for word; printed here so that it can be pasted."""
    rows = [f"| `{a.shown}` | {a.label} | {a.tier} | {a.effect} | {a.help} |" for a in ACTIONS]
    expected = "\n".join(["| key | name | tier | one press | what it does |", "|---|---|---|---|---|", *rows])
    assert expected in section(DASHBOARD, "Keys"), expected


def test_every_state_of_the_connection_is_explained() -> None:
    """The word on the chip can be looked up."""
    rows = re.findall(r"^\| ([A-Z ]+) \|", section(DASHBOARD, "The connection"), re.MULTILINE)
    assert rows == [str(item) for item in Connection]


@pytest.mark.parametrize(
    ("source", "limits"),
    [
        ("frame (state from the daemon)", freshness.FRAME),
        ("trading loop", freshness.LOOP),
        ("market stream", freshness.STREAM),
        ("mark, book", freshness.MARK),
        ("mark, book", freshness.BOOK),
        ("fast signals", freshness.FAST_SIGNAL),
        ("reconciliation (books against the database)", freshness.RECONCILE),
        ("database write", freshness.DB_WRITE),
    ],
)
def test_the_thresholds_on_the_page_are_the_programs(source: str, limits: freshness.Thresholds) -> None:
    """From when a value is late, and stale."""
    assert f"| {source} | {limits.late_s:g} s | {limits.stale_s:g} s |" in DASHBOARD


def test_the_screens_and_the_smallest_size_are_the_programs() -> None:
    """What `--screen` takes, and where only a card is left."""
    assert ", ".join(f"`{view}`" for view in VIEWS) in " ".join(DASHBOARD.split())
    assert f"below {CARD_WIDTH}x{CARD_HEIGHT} a" in " ".join(DASHBOARD.split())


# ------------------------------------------------------------ links and versions


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    """Every link to a file of ours, and to a heading in it."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_relative_to(ROOT), target
        assert file.is_file(), target
        if anchor:
            assert anchor in anchors(file), target


def test_every_page_is_reached_from_the_index_and_the_readme() -> None:
    """No page that nobody finds."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "index.md":
            assert f"({page.name})" in index, page.name
        assert f"(docs/{page.name})" in README, page.name


def test_the_changelog_has_the_version() -> None:
    """The version of the program has its entry, under the heading for what comes."""
    from perp_bot.version import VERSION

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[([^\]]+)\]", text, re.MULTILINE)[:2] == ["Unreleased", VERSION]
    assert f"This is {VERSION}." in README


def test_the_pictures_are_the_ones_that_are_taken() -> None:
    """Each picture on a page is made by `docs/pictures/take.py`, loads nothing from elsewhere; none is left over."""
    script = (ROOT / "docs" / "pictures" / "take.py").read_text(encoding="utf-8")
    tree = ast.parse(script)
    declared = next(n for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "PICTURES")
    assert declared.value is not None
    taken = set(ast.literal_eval(declared.value))
    there = {path.name for path in (ROOT / "docs" / "pictures").glob("*.svg")}
    assert taken == there
    shown = set(re.findall(r"pictures/([\w-]+\.svg)", README + DASHBOARD))
    assert shown == taken
    for name in there:
        text = (ROOT / "docs" / "pictures" / name).read_text(encoding="utf-8")
        assert "@font-face" not in text
        assert not re.search(r"""(href|src)\s*[=:]\s*["']?https?:""", text)


def test_the_status_example_of_the_demo_is_json_that_parses() -> None:
    """The protocol's examples on the socket page are lines that a client could send (those without dots)."""
    page = (ROOT / "docs" / "ipc.md").read_text(encoding="utf-8")
    lines = [line[3:] for line in page.splitlines() if line.startswith("-> {") and "..." not in line]
    assert lines
    for line in lines:
        assert "cmd" in json.loads(line)


def test_metrics_has_every_figure_with_its_definition() -> None:
    """The table is the program's fields, in their order; printed here so that it can be pasted."""
    from dataclasses import fields

    from perp_bot.backtest.metrics import Metrics

    rows = []
    for item in fields(Metrics):
        if item.metadata:
            about = item.metadata
            source = f" ({about['source']})" if about["source"] else ""
            rows.append(
                f"| `{item.name}` | {about['unit']} | {'yes' if about['funding'] else ''} | {about['doc']}{source} |"
            )
    expected = "\n".join(["| figure | unit | funding in it | definition |", "|---|---|---|---|", *rows])
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert section(page, "Figures").split("\n\nGross")[0].strip() == expected, expected


def test_the_numbers_of_metrics_are_the_programs() -> None:
    """Bounds and thresholds do not drift."""
    from perp_bot.backtest import bands, honesty, metrics, stored_run

    page = " ".join((ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").split())
    assert f"Below {metrics.MIN_ANNUAL_DAYS} days there is no annual return" in page
    assert f"From {honesty.SURE:.0%} on".replace("%", " %") in page
    assert f"never from fewer than {honesty.MIN_TRADES} trades" in page
    assert f"up to {bands.MAX_PATHS:,} times" in page
    assert f"thinned to {stored_run.MAX_CURVE_POINTS:,} points" in page
