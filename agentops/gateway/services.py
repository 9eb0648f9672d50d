"""Take a task from a caller: once, however often the request arrives."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil

from django.db import transaction

from agentops.gateway import idempotency
from agentops.gateway.answers import RunAccepted, run_accepted
from agentops.gateway.authentication import Caller
from agentops.gateway.forms import RunRequest
from agentops.gateway.problems import Fault, Problem
from agentops.runs.models import Origin, Run, TaskType
from agentops.runs.services import InvalidTask, submit, unusable_issues


@dataclass(frozen=True, slots=True)
class Taken:
    """The run of a task; `replayed` if an earlier request with the same key made it."""

    answer: RunAccepted
    replayed: bool = False


def take_task(*, caller: Caller, task: RunRequest, key: str | None, fingerprint: str, now: datetime) -> Taken | Problem:
    """Queue a run for a task in one transaction, or return why not; a refused request leaves nothing behind.

    `key` is the Idempotency-Key, None without one, and `fingerprint` what makes two requests the same.
    """
    with transaction.atomic():
        claim = idempotency.claim(key=key, actor=caller.actor, fingerprint=fingerprint, now=now) if key else None
        match claim:
            case idempotency.Replayed(run=run):
                return Taken(run_accepted(run, caller.tenant), replayed=True)
            case idempotency.Reused():
                return Problem("idempotency_key_reused", "Use a new key for another request.")
            case idempotency.InProgress():
                return Problem(
                    "idempotency_in_progress", "Send the request again in a moment.", headers={"Retry-After": "1"}
                )
        made = _run(caller, task, now)
        if isinstance(made, Problem):
            if claim is not None:
                idempotency.give_up(claim)
            return made
        if claim is not None:
            idempotency.keep_run(claim, made)
        return Taken(run_accepted(made, caller.tenant))


def _run(caller: Caller, task: RunRequest, now: datetime) -> Run | Problem:
    task_type = TaskType.objects.select_related("playbook").filter(slug=task.task_type).first()
    if task_type is None:
        detail = "This tenant has no task type of that name."
        return Problem("unknown_task_type", detail, faults=[Fault("unknown_task_type", detail, pointer="/task_type")])
    made = submit(
        task_type=task_type, input=task.input, actor=caller.actor, origin=Origin.API, title=task.title, now=now
    )
    return _refusal(task_type, made, now) if isinstance(made, InvalidTask) else made


def _refusal(task_type: TaskType, invalid: InvalidTask, now: datetime) -> Problem:
    """Tell apart what the caller got wrong, what is wrong with the task type, and what there is no budget for."""
    unpaid = next((issue for issue in invalid.issues if issue.code == "budget_exceeded"), None)
    if unpaid is not None:
        left = invalid.again_at - now if invalid.again_at else None
        headers = {"Retry-After": str(max(1, ceil(left.total_seconds())))} if left is not None else {}
        return Problem("budget_exceeded", unpaid.message, headers=headers)
    unusable = {issue for issue in invalid.issues if issue.path == "task_type"} | set(unusable_issues(task_type))
    faults = [
        Fault(issue.code, issue.message, pointer="/task_type" if issue in unusable else _pointer(issue.path))
        for issue in invalid.issues
    ]
    if unusable.intersection(invalid.issues):
        return Problem("task_type_unusable", "An admin must change the task type first.", faults=faults)
    return Problem("invalid_task", "The input does not fit the input_schema of the task type.", faults=faults)


def _pointer(path: str) -> str:
    return "/title" if path == "title" else f"/input{path}"
