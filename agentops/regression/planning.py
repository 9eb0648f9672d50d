"""Which suites there are to run: those of files against the demonstration, those of a tenant against its task types."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from agentops.regression.cases import BadCases, Case, CaseIssue, Suite, read_case, read_suite, suite_files
from agentops.regression.models import Case as CaseRow
from agentops.regression.runner import Prepare
from agentops.regression.setups import DEMONSTRATED, copy_of, demonstration
from agentops.regression.suites import Planned, in_quarantine
from agentops.runs.models import TaskType

SHIPPED: Final = Path(__file__).parent / "suites_of_demonstration"
"""The suites of the demonstration's task types."""


def suites_in(paths: Iterable[Path]) -> list[tuple[Path, Suite]]:
    """Read the suites in files and directories; raises BadCases naming the file."""
    found: list[tuple[Path, Suite]] = []
    for path in suite_files(list(paths)):
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise BadCases((CaseIssue("", "unreadable", str(error.strerror)),), str(path)) from error
        found.append((path, read_suite(raw, where=str(path))))
    return found


def planned_of_files(found: Sequence[tuple[Path, Suite]], *, now: datetime) -> list[Planned]:
    """Plan suites of files against the task types of the demonstration; raises BadCases for one that it has not."""
    planned: list[Planned] = []
    for path, suite in found:
        if suite.task_type not in DEMONSTRATED:
            message = f"The demonstration has no task type {suite.task_type}: say --tenant for those of a tenant."
            raise BadCases((CaseIssue("/task_type", "no_task_type", message),), str(path))
        planned.append(_planned(suite, tuple(suite.cases), demonstration, now))
    return planned


def planned_of_tenant(found: Sequence[tuple[Path, Suite]], *, now: datetime, only: str = "") -> list[Planned]:
    """Plan the suites of the open tenant scope (or `only` one), and those of files, against its task types.

    A case that carries rules of its own runs under those. Raises BadCases for a row or a file that cannot be used. Two
    queries, and eight for each task type and each set of rules.
    """
    kinds = {kind.slug: kind for kind in TaskType.objects.select_related("playbook", "fallback", "prompt")}
    rows: dict[tuple[str, str], list[CaseRow]] = {}
    active = CaseRow.objects.filter(retired_at__isnull=True).select_related("rules")
    for row in (active.filter(suite=only) if only else active).order_by("suite", "created_at", "id"):
        rows.setdefault((row.suite, row.task_type), []).append(row)
    planned: list[Planned] = []
    for (suite, task_type), members in rows.items():
        kind = _kind(kinds, task_type, suite)
        cases = tuple(read_case(row.body) for row in members)
        resting = frozenset(r.slug for r in members if r.quarantined_until is not None and r.quarantined_until > now)
        sets = {row.rules_id: copy_of(kind, row.rules) for row in members if row.rules is not None}
        pinned = {row.slug: sets[row.rules_id] for row in members if row.rules_id is not None}
        planned.append(Planned(suite, task_type, cases, copy_of(kind), resting, pinned))
    for path, one in found:
        kind = _kind(kinds, one.task_type, str(path))
        planned.append(_planned(one, tuple(one.cases), copy_of(kind), now))
    return planned


def _kind(kinds: dict[str, TaskType], slug: str, where: str) -> TaskType:
    if slug not in kinds:
        raise BadCases((CaseIssue("/task_type", "no_task_type", f"There is no task type {slug}."),), where)
    return kinds[slug]


def _planned(suite: Suite, cases: tuple[Case, ...], prepare: Prepare, now: datetime) -> Planned:
    resting = frozenset(case.id for case in cases if in_quarantine(case, now))
    return Planned(suite.suite, suite.task_type, cases, prepare, resting)
