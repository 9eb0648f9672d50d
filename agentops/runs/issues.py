"""What can be wrong with a task type beyond its own columns: its deadlines, its playbook, its tools.

Found when somebody saves or submits, so that no run fails of it later.
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final

from agentops.engine.conditions import steps_named_in
from agentops.engine.plan import Plan
from agentops.runs.models import PlannerKind, TaskType

LONGEST_S: Final = 366 * 24 * 3600
"""Of the deadlines of a task type, in seconds."""

MAX_TITLE: Final = 200
"""Characters."""

_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_OR: Final = re.compile(r"\|\||[?:]")


@dataclass(frozen=True, slots=True)
class TaskIssue:
    """One thing wrong: JSON pointer or field name, stable code, sentence."""

    path: str
    code: str
    message: str


def deadline_issues(task_type: TaskType) -> Iterator[TaskIssue]:
    """Yield the deadlines that are no time at all, or longer than a year."""
    for name in ("decide_within_s", "execute_within_s"):
        seconds = getattr(task_type, name)
        if isinstance(seconds, int) and not 1 <= seconds <= LONGEST_S:
            yield TaskIssue(name, "invalid_deadline", f"Choose between 1 and {LONGEST_S} seconds.")


def criteria_issues(task_type: TaskType, plan: Plan, spare: Plan | None = None) -> Iterator[TaskIssue]:
    """Yield the criteria that name a step which neither the playbook nor the fallback has, or that could never hold.

    `spare` is the plan of the fallback. A run may stop early of either plan, but each has to be able to succeed; for
    the fallback `fallback_issues` says whether it can.
    """
    if task_type.planner != PlannerKind.PLAYBOOK:
        return
    known = {step.id for step in plan.steps}
    anywhere = known | {step.id for step in spare.steps} if spare is not None else known
    for name in ("stop_when", "success_when"):
        expression = getattr(task_type, name)
        if missing := sorted(steps_named_in(expression) - anywhere):
            for step in missing:
                yield TaskIssue(name, "unknown_step", f"The playbook has no step {step}.")
        elif name == "success_when" and (foreign := out_of_reach(expression, known)):
            message = (
                f"Only the fallback has a step {foreign[0]}, so what the playbook does by itself would always fail."
            )
            yield TaskIssue(name, "unknown_step", message)


def out_of_reach(expression: str, known: Set[str]) -> Sequence[str]:
    """Return the steps that keep a criterion from ever holding in a plan with the steps `known`; none if it could hold.

    An alternative that names a step which is not there does not hold; what stands beside it still can:
    `steps.a.outcome == 'succeeded' || 'refund' in done`.
    """
    alternatives = [steps_named_in(one) - known for one in _OR.split(_QUOTED.sub("''", expression))]
    return [] if not all(alternatives) else sorted(frozenset[str]().union(*alternatives))


def tool_issues(plan: Plan, allowed: Sequence[str]) -> Iterator[TaskIssue]:
    """Yield the calls of tools that are not among the allowed ones; such a call could only be denied."""
    known = set(allowed)
    for number, step in enumerate(plan.steps):
        for call in step.calls:
            if call.tool not in known:
                message = f"Step {step.id} calls {call.tool}, which is not on the allowlist of this task type."
                yield TaskIssue(f"/steps/{number}", "tool_not_allowed", message)


def title_issues(title: str) -> Iterator[TaskIssue]:
    """Yield why a run cannot be called this."""
    if len(title) > MAX_TITLE:
        yield TaskIssue("title", "too_long", f"A title may have {MAX_TITLE} characters.")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in title):
        yield TaskIssue("title", "bad_character", "A title may hold no NUL and no half characters.")
