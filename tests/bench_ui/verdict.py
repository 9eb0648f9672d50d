"""What the desk has to show, against what was measured: the last table of the bench."""

from collections.abc import Iterator, Sequence
from typing import Final

from tests.bench.report import Row, number

MUST_SHOW: Final = {
    "server": "1 fast",
    "statements": "1 fast",
    "first paint": "1 fast",
    "keyboard": "2 by keyboard",
    "layout shift": "4 still",
    "streams": "4 still",
    "weight": "8 light",
    "audit": "what was filled verifies",
}
"""Group of figures -> the promise they belong to."""


def holds(row: Row) -> bool:
    """Say whether a figure is what its target asks for: at most a number, or exactly it."""
    at_most = row.target.startswith("<=")
    wanted = float(row.target.removeprefix("<=").replace(",", ""))
    return row.value <= wanted if at_most else row.value == wanted


def verdicts(rows: Sequence[Row]) -> str:
    """Return a line for each figure that has a target, and how many of them hold."""
    judged = [row for row in rows if row.target]
    lines = list(_lines(judged))
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(4)]
    shown = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*shown, f"{sum(map(holds, judged))} of {len(judged)} hold."])


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, str, str, str]]:
    for row in rows:
        figure = f"{number(row.value)} {row.unit}".strip()
        found = f"{figure} (wanted {row.target})"
        yield MUST_SHOW.get(row.group, row.group), row.name, found, "holds" if holds(row) else "DOES NOT HOLD"
