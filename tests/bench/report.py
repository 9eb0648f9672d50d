"""What a benchmark found: one table for people, the same as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


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
