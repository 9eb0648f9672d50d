"""What a run has used of its own limits, as its page shows it. Pure."""

from dataclasses import dataclass

from agentops.budgets.measures import amount_text
from agentops.engine.spend import MEASURES, nearly
from agentops.engine.state import State
from agentops.runs.timeline import LIMIT_NAMES


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line: numbers, and how they read. `limit` and `share` (percent) are None where there is no limit."""

    name: str
    used: int
    limit: int | None
    used_text: str
    limit_text: str
    share: int | None
    near: bool
    """Whether so much of the limit is used that the run says so."""


_ALWAYS = frozenset({"steps", "model_calls", "wall_time_s"})


def usage_rows(state: State) -> tuple[UsageRow, ...]:
    """Return what a run has used: first what is limited, then what is only counted."""
    rows = [
        _row(LIMIT_NAMES[m.limit], m.limit, m.used(state), m.allowed(state) or None, near=nearly(m, state))
        for m in MEASURES
        if m.limit in _ALWAYS or m.allowed(state) or m.used(state)
    ]
    rows.insert(1, _row("Plans", "plans", len(state.plans), state.limits.plans))
    rows.append(_row("Calls", "calls", state.calls_used, None))
    rows.append(_row("Denied calls", "denied", state.denied_calls, None))
    return tuple(rows)


def _row(name: str, measure: str, used: int, limit: int | None, *, near: bool = False) -> UsageRow:
    share = min(999, used * 100 // limit) if limit else None
    return UsageRow(
        name=name,
        used=used,
        limit=limit,
        used_text=amount_text(measure, used),
        limit_text=amount_text(measure, limit) if limit else "",
        share=share,
        near=near,
    )
