"""The house's arrows (DESIGN.md), asserted from the imports themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "perp_bot"

ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "config": {"core"},
    "ops": {"core", "config"},
    "indicators": {"core"},
    "data": {"core", "config", "ops"},
    "signals": {"core", "config", "ops", "data", "indicators"},
    "strategies": {"core", "config", "indicators", "data", "signals"},
    "risk": {"core", "config", "indicators", "data", "strategies"},
    "execution": {"core", "config", "ops", "data", "risk"},
    "decision": {"core", "config", "indicators", "data", "strategies", "risk", "execution", "signals"},
    "ipc": {"core", "config", "ops", "risk.kill_switch"},
    "trading": {
        "core", "config", "ops", "data", "indicators", "signals", "strategies", "risk", "execution", "decision", "ipc",
    },
    "watchdog": {"core", "config", "ops", "data", "risk", "execution", "ipc"},
    "backtest": {
        "core", "config", "ops", "data", "indicators", "signals", "strategies", "risk", "execution", "decision",
    },
    "reporting": {"core", "config", "data", "backtest"},
    "tui": {
        "core", "config", "ipc.client", "ipc.state", "ipc.protocol", "data.db.reader", "ops.instance_lock",
        "ops.run_record",
    },
    "practice": {"core.types", "core.timeframes", "core.errors"},
    "cli": {"*"},
    "bench": {"*"},
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the `perp_bot.` modules that a file imports, without the prefix."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("perp_bot.") for name in found if name.startswith("perp_bot.")}


def exists(dotted: str) -> bool:
    base = PACKAGE.joinpath(*dotted.split("."))
    return base.with_suffix(".py").exists() or base.is_dir()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    """Each package imports only the packages below it, as drawn in DESIGN.md."""
    parts = path.relative_to(PACKAGE).parts
    if len(parts) == 1:
        return  # __main__, version
    allowed = ALLOWED[parts[0]] | {parts[0], "version"}
    if "*" in allowed:
        return
    for name in sorted(imported(path)):
        if not exists(name):
            continue  # a name inside a module
        if name in {rule.split(".")[0] for rule in allowed if "." in rule} or name in {"data.db"}:
            continue  # the package of an allowed module: `from perp_bot.ipc import client`
        assert any(name == rule or name.startswith(rule + ".") for rule in allowed), f"{path.name} imports {name}"


def test_inits_hold_a_docstring_only() -> None:
    """`__init__` files re-export nothing: import the module that defines the name."""
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_no_import_cycles_between_modules() -> None:
    """No module imports itself by a detour (imports inside functions aside)."""
    graph: dict[str, set[str]] = {}
    for path in modules():
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        top = ast.parse(path.read_text())
        names: set[str] = set()
        for node in top.body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("perp_bot."):
                base = node.module.removeprefix("perp_bot.")
                names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        graph[name] = {item for item in names if (PACKAGE.joinpath(*item.split(".")).with_suffix(".py")).exists()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done:
            return
        for item in graph.get(name, ()):
            visit(item, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_only_the_rooms_that_may_load_heavy_libraries_do() -> None:
    """textual lives in `tui` alone, the SDK in `data` and `execution` alone."""
    for path in modules():
        parts = path.relative_to(PACKAGE).parts
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                root = name.split(".")[0]
                assert root != "textual" or parts[0] == "tui", path
                assert root != "hyperliquid" or parts[0] in {"data", "execution", "bench"}, path
