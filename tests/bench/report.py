"""What a benchmark found: one table for people, the same as JSON for programs."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.run import say

RESULTS: Final = Path(__file__).resolve().parents[2] / "test-results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `share` is of the floor that was measured around it."""

    group: str
    name: str
    value: float
    unit: str
    share: float | None = None
    target: str = ""
    note: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def shown(rows: Iterable[Row]) -> Iterator[Row]:
    """Say each figure as soon as it is there."""
    for row in rows:
        say(f"  {row.group}: {row.name}: {number(row.value)} {row.unit}  {row.target}  {row.note}")
        yield row


def write(rows: Sequence[Row], path: Path, *, seconds: float, **more: object) -> None:
    """Write figures as JSON, with what they were measured on, and say where."""
    path.parent.mkdir(exist_ok=True)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    told = more | {"seconds": round(seconds), "machine": machine, "rows": [row.to_json() for row in rows]}
    path.write_text(json.dumps(told, indent=1))
    say(f"\nWritten to {path}")


def number(value: float) -> str:
    """Return a figure with about three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Row]) -> str:
    """Return all rows, aligned."""
    lines = [("", "", "", "", "of floor", "target", "")]
    before = ""
    for row in rows:
        share = "" if row.share is None else f"{row.share:.2f}"
        group = row.group if row.group != before else ""
        lines.append((group, row.name, number(row.value), row.unit, share, row.target, row.note))
        before = row.group
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(_line(line, widths) for line in lines)


def _line(line: tuple[str, ...], widths: Sequence[int]) -> str:
    numbers = {2, 4}
    cells = [
        text.rjust(width) if column in numbers else text.ljust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=False))
    ]
    return "  ".join([*cells, line[-1]]).rstrip()
