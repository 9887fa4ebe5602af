"""Runs measurements: finds one file a subject, prints a table or JSON, and compares with a stored baseline."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perp_bot import bench
from perp_bot.bench import markdown as page
from perp_bot.bench.measure import Measurement, figure_text, machine
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, PerpBotError, UsageError
from perp_bot.version import VERSION

BASELINE_NAME = "bench-baseline.json"
_WIDTH_OF_A_PIPE = 160


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be measured."""

    name: str
    help: str
    run: Callable[[bool], list[Measurement]]
    only_when_named: bool = False  # takes minutes: not part of a run without names


def subjects() -> dict[str, Subject]:
    """Return every subject by name: the modules of `perp_bot.bench` that declare SUBJECT."""
    found = {}
    for module_info in pkgutil.iter_modules(bench.__path__):
        if module_info.name in ("measure", "runner"):
            continue
        module = importlib.import_module(f"{bench.__name__}.{module_info.name}")
        name = getattr(module, "SUBJECT", None)
        if name is None:
            continue  # a part of a subject, such as a server in a process of its own
        text = getattr(module, "HELP", None) or (module.__doc__ or "").strip().splitlines()[0]
        found[name] = Subject(name, text, module.run, getattr(module, "ONLY_WHEN_NAMED", False))
    return found


def main(
    names: Sequence[str], as_json: bool, baseline: bool, *, markdown: Path | None = None, quick: bool = False
) -> int:
    """Measure the subjects `names` (when empty all but the long ones), print what was found, return the exit code.

    A subject that fails is named on stderr and the others are measured all the same; the code is then 1. With
    `markdown` the tables are also written into that page.

    Raises:
        UsageError: an unknown subject (the line has the nearest name), or a page without a place for one.
    """
    known = subjects()
    chosen = _chosen(tuple(names), known)
    if markdown is not None:
        page.check_places(markdown, [subject.name for subject in chosen])
    found: list[Measurement] = []
    failed: dict[str, str] = {}
    for subject in chosen:
        print(f"measuring {subject.name}: {subject.help}", file=sys.stderr, flush=True)
        try:
            found += subject.run(quick)
        except Exception as error:  # noqa: BLE001 - one broken subject must not cost the others
            failed[subject.name] = str(error) if isinstance(error, PerpBotError) else f"{type(error).__name__}: {error}"
            print(f"perpbot bench: {subject.name} failed: {failed[subject.name]}", file=sys.stderr)
    comparison = _Baseline(baseline_path()).compare_and_store(found) if baseline else None
    if markdown is not None:
        page.write_tables(markdown, found)
    if as_json:
        print(_as_json(found, failed, comparison))
    else:
        _print_table(found, comparison)
    return EXIT_FAILURE if failed else EXIT_OK


def baseline_path() -> Path:
    """Return where the baseline is: `bench-baseline.json` here when there is one, else in the user's cache folder."""
    here = Path.cwd() / BASELINE_NAME
    if here.exists():
        return here
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "perpbot" / BASELINE_NAME


def _chosen(names: tuple[str, ...], known: dict[str, Subject]) -> list[Subject]:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"there is no subject {name!r} to measure; {hint}There are: {', '.join(sorted(known))}")
    usual = (name for name in sorted(known) if not known[name].only_when_named)
    return [known[name] for name in dict.fromkeys(names or usual)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures against the stored ones. `ratios` are medians, new / stored, by (subject, name)."""

    path: Path
    ratios: dict[tuple[str, str], float]
    added: int
    note: str


class _Baseline:
    """A JSON file of medians. What is in it stays until the file is removed; what is new is added."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def compare_and_store(self, found: Sequence[Measurement]) -> Comparison:
        stored = self._read()
        medians: dict[str, Any] = stored.setdefault("medians", {})
        ratios: dict[tuple[str, str], float] = {}
        added = 0
        for item in found:
            key = f"{item.subject}/{item.name}/{item.unit}"
            before = medians.get(key)
            if before is None:
                medians[key] = item.median
                added += 1
            elif before > 0:
                ratios[item.subject, item.name] = item.median / before
        is_other = stored.setdefault("machine", machine()) != machine()
        stored.setdefault("version", VERSION)
        if added:
            self._write(stored)
        kept = f"baseline of perpbot {stored['version']}; remove the file to take a new one"
        other = "the baseline is from another machine or Python: the ratios say little"
        return Comparison(self._path, ratios, added, other if is_other else kept)

    def _read(self) -> dict[str, Any]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{self._path} is not a readable baseline ({error}); remove it to take a new one"
            ) from None
        if not isinstance(stored, dict) or not isinstance(stored.get("medians", {}), dict):
            raise UsageError(f"{self._path} is not a baseline of perpbot; remove it to take a new one")
        return stored

    def _write(self, stored: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:
            raise PerpBotError(f"the baseline cannot be written to {self._path}: {error.strerror}") from None


def _as_json(found: Sequence[Measurement], failed: dict[str, str], comparison: Comparison | None) -> str:
    rows = []
    for item in found:
        row = asdict(item)
        if comparison is not None:
            row["ratio_to_baseline"] = comparison.ratios.get((item.subject, item.name))
        rows.append(row)
    out: dict[str, Any] = {"version": VERSION, "machine": machine(), "measurements": rows, "failed": failed}
    if comparison is not None:
        out["baseline"] = {"path": str(comparison.path), "added": comparison.added, "note": comparison.note}
    return json.dumps(out)


def _print_table(found: Sequence[Measurement], comparison: Comparison | None) -> None:
    from rich.console import Console
    from rich.table import Table

    about = machine()
    title = f"{about['cpu']}, {about['cores']} cores, {about['python']}, {about['platform']}"
    table = Table(title=title, title_justify="left", title_style="dim")
    table.add_column("subject", no_wrap=True)
    table.add_column("name")
    for name in ("n", "median", "p95"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    has_ratios = any(item.times_ours is not None for item in found)
    if has_ratios:
        table.add_column("times ours", justify="right", no_wrap=True)
    if comparison is not None:
        table.add_column("against baseline", justify="right", no_wrap=True)
    table.add_column("detail", style="dim")
    for item in found:
        row = [item.subject, item.name, f"{item.n:,}", figure_text(item.median), figure_text(item.p95), item.unit]
        if has_ratios:
            row.append("" if item.times_ours is None else f"{figure_text(item.times_ours)}x")
        if comparison is not None:
            row.append(_ratio_text(item, comparison.ratios.get((item.subject, item.name))))
        table.add_row(*row, item.detail)
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    Console(highlight=False, markup=False, width=width).print(table)
    if comparison is not None:
        print(f"{comparison.path}: {comparison.note}; {comparison.added} figures added")


def _ratio_text(item: Measurement, ratio: float | None) -> str:
    if ratio is None:
        return "new"
    is_better = ratio > 1.0 if item.is_rate else ratio < 1.0
    return f"{ratio:.2f}x {'better' if is_better else 'same' if ratio == 1.0 else 'worse'}"
