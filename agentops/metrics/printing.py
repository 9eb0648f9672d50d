"""The points and cells of the dashboard as HTML: a template would take most of the page's time for their loops."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from django.utils.safestring import SafeString, mark_safe

from agentops.metrics.charts import Line


def points(lines: Iterable[Line]) -> SafeString:
    """Print the points of a chart, each a link that says in words what it stands for."""
    parts = []
    for number, line in enumerate(lines, 1):
        for point in line.points:
            text, place = escape(point.text), f'cx="{point.x}" cy="{point.y}"'
            parts.append(
                f'<a href="{escape(point.url)}" aria-label="{text}"><circle class="reach" {place} r="12" />'
                f'<circle class="dot line-{number}" {place} r="4"><title>{text}</title></circle></a>'
            )
    return mark_safe("".join(parts))  # noqa: S308  # numbers, and what is escaped


def table(rows: Iterable[tuple[datetime, str, Sequence[str]]], *, hours: bool) -> SafeString:
    """Print the rows of a chart's table: moment (UTC), address and cells."""
    parts = []
    for at, url, cells in rows:
        when = f"{at.day} {at:%b %H:%M}" if hours else f"{at.day} {at:%b}"
        printed = "".join(f'<td class="num data">{escape(cell)}</td>' for cell in cells)
        parts.append(f'<tr><th scope="row"><a href="{escape(url)}">{when}</a></th>{printed}</tr>')
    return mark_safe("".join(parts))  # noqa: S308  # all that is not fixed is escaped
