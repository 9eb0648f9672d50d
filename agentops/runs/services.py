"""Start runs, and say what is wrong with a task or a task type before anything starts.

Stepping into a run that is under way (cancel, reconcile) is `approvals.intervention`, because proposals close with it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from agentops.engine.conditions import ConditionError, check_condition
from agentops.engine.events import RunSubmitted
from agentops.engine.limits import InvalidLimits, Limits
from agentops.engine.plan import InvalidPlan
from agentops.engine.playbook import read_playbook
from agentops.runs.model_choice import chain_of, model_choice, model_issues, planned_by_model
from agentops.runs.models import Origin, Playbook, Run, TaskType
from agentops.runs.recording import record_outside
from agentops.tenancy.access import Actor
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, WireError, guard
from tools import schema
from tools.allowlist import AllowlistRule, allowed_tools
from tools.contracts import ToolContract
from tools.registry import registry

MAX_INPUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TaskIssue:
    """One thing wrong: JSON pointer or field name, stable code, sentence."""

    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class InvalidTask:
    """The task was not accepted; nothing was written."""

    issues: tuple[TaskIssue, ...]


def submit(
    *,
    task_type: TaskType,
    input: JSON,  # noqa: A002 - the word of the event and of the schema
    actor: Actor,
    origin: Origin = Origin.SUBMITTED,
    title: str = "",
    now: datetime | None = None,
) -> Run | InvalidTask:
    """Validate a task and queue a run for it; the worker is told on commit.

    The run keeps what its task type says now: planner, limits, criteria, and the contract version of every tool it
    may use. Later changes to the task type can only narrow what it may do.
    """
    issues = list(_input_issues(task_type, input)) or list(task_type_issues(task_type))
    if not task_type.enabled:
        issues.insert(0, TaskIssue("task_type", "task_type_disabled", f"{task_type.name} is switched off."))
    if issues or not isinstance(input, dict):
        return InvalidTask(tuple(issues))
    moment = now or timezone.now()
    choice = model_choice(task_type)
    submitted = RunSubmitted(
        task_type=task_type.slug,
        input=input,
        requested_by=f"{actor.kind}:{actor.id}",
        planner=planner_name(task_type),
        planning="reactive" if task_type.planning == "reactive" else "plan_first",
        limits=Limits.from_json(task_type.limits).to_json(),
        tools=_pins(task_type),
        stop_when=task_type.stop_when,
        success_when=task_type.success_when,
        instructions=task_type.instructions,
        origin=str(origin),
        prompt=choice.prompt,
        prompt_digest=choice.digest,
        models=list(choice.models),
        model_parameters=choice.parameters,
    )
    with transaction.atomic():
        run = Run.objects.create(
            task_type=task_type,
            origin=origin,
            title=title[:200],
            input=canonical(input),
            requested_by_id=actor.user_id,
            requested_by_token=actor.id if actor.kind == "token" else "",
            created_at=moment,
            not_before=moment,
            priority=task_type.priority,
            rung_at=moment,
        )
        record_outside(run.id, [submitted], actor=actor, now=moment)
    return run


def planner_name(task_type: TaskType) -> str:
    """Name the planner a new run of this type gets: `playbook:<slug>@<version>` or `model:<first of its models>`."""
    if planned_by_model(task_type):
        return f"model:{next(iter(chain_of(task_type)), '')}"
    playbook = task_type.playbook
    return f"playbook:{playbook.slug}@{playbook.version}" if playbook is not None else "playbook:"


def pinned_contract(tool: str, task_type_id: int) -> ToolContract | None:
    """Return the newest contract of a tool that the allowlist of a task type admits."""
    return next((c for c in allowed_contracts(task_type_id) if c.name == tool), None)


def allowed_contracts(task_type_id: int) -> list[ToolContract]:
    """Return, for every tool the task type may use, the newest contract version in the allowed range."""
    return newest_allowed(allowed_tools(task_type_id))


def newest_allowed(rules: Iterable[AllowlistRule]) -> list[ToolContract]:
    """Return for each rule the newest contract version in its range."""
    found: list[ToolContract] = []
    newest_first = registry.all_versions()[::-1]
    for rule in rules:
        contract = next((c for c in newest_first if c.name == rule.tool and rule.admits(c.version)), None)
        if contract is not None:
            found.append(contract)
    return found


def _pins(task_type: TaskType) -> dict[str, JSONObject]:
    return {
        contract.name: {
            "version": contract.version,
            "digest": contract.digest,
            "authority": list[JSON](contract.authority),
        }
        for contract in allowed_contracts(task_type.pk)
    }


# --- what can be wrong ----------------------------------------------------------------------------------------------


def _input_issues(task_type: TaskType, task: JSON) -> Sequence[TaskIssue]:
    try:
        guarded = guard(task, max_bytes=MAX_INPUT_BYTES)
    except WireError as error:
        return [TaskIssue(error.path, str(error.code), error.message)]
    issues = schema.compile(task_type.input_schema).validate(guarded)
    return [TaskIssue(issue.path, str(issue.code), issue.message) for issue in issues]


def task_type_issues(task_type: TaskType) -> Sequence[TaskIssue]:
    """Say everything that would make runs of this type fail, at save time rather than at run time."""
    issues: list[TaskIssue] = []
    limits = Limits()
    try:
        limits = Limits.from_json(task_type.limits)
    except InvalidLimits as error:
        issues.append(TaskIssue("limits", "invalid_limits", str(error)))
    try:
        schema.assert_strict(task_type.input_schema, where="input_schema")
        schema.compile(task_type.input_schema)
    except (ValueError, TypeError) as error:
        issues.append(TaskIssue("input_schema", "invalid_schema", str(error)))
    for name in ("stop_when", "success_when"):
        expression = getattr(task_type, name)
        if not expression:
            continue
        try:
            check_condition(expression, frozenset({"input", "steps"}))
        except ConditionError as error:
            issues.append(TaskIssue(name, error.code, str(error)))
    issues.extend(TaskIssue(*issue) for issue in model_issues(task_type))
    if task_type.playbook is not None:
        issues.extend(playbook_issues(task_type.playbook.body, limits))
    elif not planned_by_model(task_type):
        issues.append(TaskIssue("playbook", "playbook_missing", "Choose the playbook that makes the plan."))
    return issues


def playbook_issues(body: str, limits: Limits | None = None) -> Sequence[TaskIssue]:
    """Say everything wrong with a playbook's text: form, references, conditions, unknown tools, too many calls."""
    bounds = limits or Limits()
    try:
        read_playbook(
            body,
            max_steps=1000,
            calls_per_step=bounds.calls_per_step,
            known_tool=lambda name: registry.get(name) is not None,
        )
    except WireError as error:
        return [TaskIssue("body", str(error.code), error.message)]
    except InvalidPlan as error:
        return [TaskIssue(issue.path, issue.code, issue.message) for issue in error.issues]
    return []


def save_playbook(*, slug: str, body: str, actor: Actor) -> Playbook | InvalidTask:
    """Store the next version of a playbook; earlier versions stay as they are, for the runs that use them."""
    issues = playbook_issues(body)
    if issues:
        return InvalidTask(tuple(issues))
    with transaction.atomic():
        newest = Playbook.objects.select_for_update().filter(slug=slug).order_by("-version").first()
        return Playbook.objects.create(
            slug=slug, version=newest.version + 1 if newest else 1, body=body, created_by_id=actor.user_id
        )
