"""What `perpbot bench` can measure, read from the source: importing the measurements would load compiled code."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BenchSubject:
    """One subject as its module declares it."""

    name: str
    help: str
    only_when_named: bool


def bench_subjects() -> list[BenchSubject]:
    """Return the subjects by name; the same as `bench.runner.subjects` finds by importing (tested)."""
    spec = find_spec("perp_bot.bench")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    files = [path for folder in folders for path in Path(folder).glob("*.py")]
    found = (_subject(path) for path in files)
    return sorted((subject for subject in found if subject is not None), key=lambda subject: subject.name)


def _subject(path: Path) -> BenchSubject | None:
    source = path.read_text(encoding="utf-8")
    if "\nSUBJECT = " not in source:
        return None
    module = ast.parse(source)
    values: dict[str, object] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            values.update({target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)})
    name = values.get("SUBJECT")
    if not isinstance(name, str):
        return None
    text = values.get("HELP") or (ast.get_docstring(module) or "").strip().partition("\n")[0]
    return BenchSubject(name, str(text), bool(values.get("ONLY_WHEN_NAMED", False)))
