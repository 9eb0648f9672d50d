"""The allowlist as one table, tool by task type, with what was called and rejected there. Six statements, any size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Final
from urllib.parse import quote

from django.db.models import Count, Q
from django.utils.safestring import SafeString, mark_safe

from agentops.engine.transitions import CallState
from agentops.runs.models import TaskType, ToolCall
from tools.allowing import differences_of
from tools.allowlist import AllowlistRule, AllowlistState, all_rules
from tools.breaker import BreakerState
from tools.models import AllowlistChange, ToolHealth
from tools.registry import registry

PERIOD: Final = timedelta(days=30)
WAITING: Final = "waiting"
STATES: Final = {"denied": "denied", "gated": "needs a person", "auto": "by itself"}
"""The states in the few words that fit into a cell."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What of the table is shown: parts of names, and the state of at least one cell of a row (or `waiting`)."""

    tool: str = ""
    task_type: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: the state, where it is changed (relative to the table), and what waits, limits and has happened."""

    state: str
    label: str
    url: str
    more: str
    waits: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One tool with its cells, in the order of the columns. `breaker` is empty while calls pass."""

    tool: str
    title: str
    sensitive: str
    breaker: str
    cells: Sequence[Cell]

    @property
    def printed(self) -> SafeString:
        """The cells as table cells. A template would take most of the time of a table of thousands for its loop."""
        return mark_safe("".join(map(_printed, self.cells)))  # noqa: S308 - what is put in is escaped


@dataclass(frozen=True, slots=True)
class Matrix:
    """The table: its columns (id, slug, name), its rows, and how many tools and task types there are without filter."""

    columns: Sequence[tuple[int, str, str]]
    rows: Sequence[Row]
    tools: int
    task_types: int


def matrix(wanted: Filter, *, now: datetime) -> Matrix:
    """Return the table. The addresses of cells are relative to that of the table."""
    kinds = list(TaskType.objects.order_by("name").values_list("pk", "slug", "name"))
    rules = all_rules()
    waiting = waiting_cells()
    calls = calls_since(now - PERIOD)
    breakers = breakers_now(now)
    contracts = {contract.name: contract for contract in registry.contracts()}
    tools = sorted(contracts.keys() | {tool for _, tool in rules})
    columns = [kind for kind in kinds if wanted.task_type.lower() in f"{kind[1]} {kind[2]}".lower()]
    rows: list[Row] = []
    for tool in tools:
        contract = contracts.get(tool)
        title = contract.title if contract is not None else "not registered"
        if wanted.tool.lower() not in f"{tool} {title}".lower():
            continue
        broken = breakers.get(tool, "")
        cells = [
            _cell(kind[0], tool, rules.get((kind[0], tool)), waiting.get((kind[0], tool), ""), calls, broken)
            for kind in columns
        ]
        if wanted.state and not any(
            cell.waits if wanted.state == WAITING else cell.state == wanted.state for cell in cells
        ):
            continue
        sensitive = ", ".join(sorted(str(one).replace("_", " ") for one in contract.sensitivity)) if contract else ""
        rows.append(Row(tool, title, sensitive, broken, cells))
    return Matrix(columns, rows, len(tools), len(kinds))


def _cell(
    kind: int,
    tool: str,
    rule: AllowlistRule | None,
    waiting: str,
    calls: Mapping[tuple[int, str], tuple[int, int]],
    breaker: str,
) -> Cell:
    made, rejected = calls.get((kind, tool), (0, 0))
    past = f"{made} call{'' if made == 1 else 's'}" + (f", {rejected} rejected" if rejected else "") if made else ""
    state = rule.state.value if rule is not None else "denied"
    limits = limits_words(rule) if rule is not None else ""
    limits = f"keeps {limits}" if limits and state == "denied" else limits
    parts = (f"waits: {waiting}" if waiting else "", limits, past, breaker if past else "")
    more = "; ".join(part for part in parts if part)
    return Cell(state, STATES[state], f"cell/{kind}/{quote(tool, safe='')}/", more, bool(waiting))


def _printed(cell: Cell) -> str:
    more = f"<small>{escape(cell.more)}</small>" if cell.more else ""
    return f'<td class="{escape(cell.state)}"><a href="{escape(cell.url)}">{escape(cell.label)}</a>{more}</td>'


def limits_words(rule: AllowlistRule) -> str:
    """Return what limits a rule, in a few words."""
    found: list[str] = []
    if rule.min_version or rule.max_version:
        found.append(f"{rule.min_version or 'any'} to {rule.max_version or 'any'}")
    if rule.max_calls is not None:
        found.append(f"{rule.max_calls} a run")
    if rule.rate_per_minute is not None:
        found.append(f"{rule.rate_per_minute} a minute")
    if rule.constraints:
        found.append(f"{len(rule.constraints)} constraint{'' if len(rule.constraints) == 1 else 's'}")
    return ", ".join(found)


def waiting_cells() -> dict[tuple[int, str], str]:
    """Return what other admins are asked to widen, by task type and tool. One query."""
    return {
        (one.task_type_id, one.tool): STATES[one.after.state.value]
        for row in AllowlistChange.objects.filter(status="proposed").order_by("version")
        for one in differences_of(row)
    }


def calls_since(since: datetime) -> dict[tuple[int, str], tuple[int, int]]:
    """Return how many calls runs since then selected and how many people rejected, by task type and tool. One query."""
    rows = (
        ToolCall.objects.filter(run__created_at__gte=since)
        .values_list("run__task_type_id", "tool")
        .annotate(made=Count("pk"), rejected=Count("pk", filter=Q(state=CallState.REJECTED.value)))
        .order_by()
    )
    return {(kind, tool): (made, rejected) for kind, tool, made, rejected in rows}


def breakers_now(now: datetime) -> dict[str, str]:
    """Return what is wrong with tools whose breaker is not closed, by name. One query."""
    rows = ToolHealth.objects.exclude(state=BreakerState.CLOSED.value).values_list("tool", "state", "open_until")
    return {
        tool: "breaker half-open"
        if state == BreakerState.HALF_OPEN.value or (until is not None and until <= now)
        else "breaker open"
        for tool, state, until in rows
    }


def state_of(text: str) -> AllowlistState | None:
    """Return the state that somebody typed or chose, None if there is no such state."""
    return AllowlistState(text) if text in AllowlistState.values else None
