"""Faults with their times: what a `--faults` file switches on at the start, and later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from perp_bot.core.errors import UsageError

AT = "at_s"


class FaultScript:
    """Changes of faults by venue time since the start, in order."""

    def __init__(self, steps: list[tuple[float, Mapping[str, object]]] | None = None) -> None:
        self._steps = sorted(steps or [], key=lambda step: step[0])

    @classmethod
    def read(cls, path: Path) -> FaultScript:
        """Return the script of a file: an object is set at the start, of a list each at its `at_s` (venue seconds)."""
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"--faults {path}: {error.strerror or error}") from None
        except ValueError as error:
            raise UsageError(f"--faults {path}: not JSON ({error})") from None
        listed = read if isinstance(read, list) else [read]
        if not listed or not all(isinstance(one, dict) for one in listed):
            raise UsageError(
                f'--faults {path}: expected an object like {{"delay_ms": 200}}, or a list of them with "{AT}"'
            )
        return cls([_step(path, index, one) for index, one in enumerate(listed)])

    def due(self, since_start_ms: int) -> Iterator[Mapping[str, object]]:
        """Yield what has become due and was not given before."""
        while self._steps and self._steps[0][0] * 1_000.0 <= since_start_ms:
            yield self._steps.pop(0)[1]

    def all_changes(self) -> list[Mapping[str, object]]:
        """Return everything that is still to come."""
        return [changes for _, changes in self._steps]


def _step(path: Path, index: int, one: Mapping[str, object]) -> tuple[float, Mapping[str, object]]:
    at_s = one.get(AT, 0)
    if isinstance(at_s, bool) or not isinstance(at_s, int | float) or not at_s >= 0:
        raise UsageError(f"--faults {path}: [{index}].{AT} {at_s!r} is not a number of venue seconds from 0")
    return float(at_s), {name: value for name, value in one.items() if name != AT}
