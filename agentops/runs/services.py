"""Start runs, and say what is wrong with a task or a task type before anything starts.

Stepping into a run that is under way (cancel, reconcile) is `stopping.intervention`, because proposals close with it.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from agentops import clock
from agentops.budgets import services as budgets
from agentops.budgets.measures import Measure
from agentops.engine.conditions import KNOWN_FUNCTIONS, ConditionError, check_condition
from agentops.engine.events import RunSubmitted
from agentops.engine.limits import InvalidLimits, Limits
from agentops.engine.plan import InvalidPlan, Plan
from agentops.engine.playbook import read_playbook
from agentops.guardrails.output import canary
from agentops.runs.issues import TaskIssue, criteria_issues, deadline_issues, out_of_reach, title_issues, tool_issues
from agentops.runs.model_choice import ModelChoice, chain_of, model_choice, model_issues, planned_by_model
from agentops.runs.models import Origin, PlannerKind, Playbook, Run, TaskType
from agentops.runs.output_policy import output_issues
from agentops.runs.recording import record_new
from agentops.tenancy.access import Actor
from agentops.wire.canonical import canonical
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSON, JSONObject, WireError, guard
from tools import schema
from tools.allowlist import allowed_tools
from tools.contracts import ContractError, ToolContract
from tools.registry import registry

MAX_INPUT_BYTES = 64 * 1024
SAVES = 20
"""How often the next version of a playbook is tried; with every loss somebody else's save has gone through."""

_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class InvalidTask:
    """The task was not accepted; nothing was written. `again_at` is when the budget renews that it does not fit."""

    issues: tuple[TaskIssue, ...]
    again_at: datetime | None = None


def submit(
    *,
    task_type: TaskType,
    input: JSON,  # noqa: A002 - the word of the event and of the schema
    actor: Actor,
    origin: Origin = Origin.SUBMITTED,
    title: str = "",
    now: datetime | None = None,
    planned_by: ModelChoice | None = None,
) -> Run | InvalidTask:
    """Validate a task and queue a run for it; the worker is told on commit.

    The run keeps what its task type says now: planner, limits, criteria, and the contract version of every tool it
    may use. Later changes to the task type can only narrow what it may do. `planned_by` are models that answer in place
    of whoever plans for the task type, which then is not asked whether they can.
    """
    issues = [*title_issues(title), *_input_issues(task_type, input)]
    if not issues and planned_by is None:
        issues = list(unusable_issues(task_type))
    if not task_type.enabled:
        issues.insert(0, TaskIssue("task_type", "task_type_disabled", f"{task_type.name} is switched off."))
    if issues or not isinstance(input, dict):
        return InvalidTask(tuple(issues))
    moment = now or clock.now()
    choice = planned_by or model_choice(task_type)
    run_id, planner = uuid7(), planner_name(task_type) if planned_by is None else f"model:{planned_by.models[0]}"
    submitted = RunSubmitted(
        task_type=task_type.slug,
        input=input,
        requested_by=f"{actor.kind}:{actor.id}",
        planner=planner,
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
        fallback=fallback_name(task_type),
        canary=canary.marker(settings.SECRET_KEY, str(run_id)) if planner.startswith("model:") else "",
    )
    with transaction.atomic():
        # First, while there is nothing to take back: the row of the run follows in the same transaction.
        unpaid = budgets.charge(
            run_id=run_id,
            task_type_id=task_type.pk,
            kind="run",
            purpose="run",
            amounts={Measure.RUNS: 1},
            now=moment,
            actor=actor,
        )
        if unpaid is not None:
            return InvalidTask((TaskIssue("", "budget_exceeded", unpaid.message),), unpaid.renews_at)
        run = Run(
            tenant_id=task_type.tenant_id,
            id=run_id,
            task_type=task_type,
            origin=origin,
            title=title,
            input=canonical(input),
            requested_by_id=actor.user_id,
            requested_by_token=actor.id if actor.kind == "token" else "",
            created_at=moment,
            not_before=moment,
            priority=task_type.priority,
            rung_at=moment,
        )
        record_new(run, submitted, actor=actor, now=moment)
    return run


def planner_name(task_type: TaskType) -> str:
    """Name the planner a new run of this type gets: `playbook:<slug>@<version>` or `model:<first of its models>`."""
    if planned_by_model(task_type):
        return f"model:{next(iter(chain_of(task_type)), '')}"
    playbook = task_type.playbook
    return _name(playbook) if playbook is not None else "playbook:"


def fallback_name(task_type: TaskType) -> str:
    """Name the playbook that takes over from the planner of a critical task type; empty for any other."""
    return _name(task_type.fallback) if task_type.critical and task_type.fallback is not None else ""


def _name(playbook: Playbook) -> str:
    return f"playbook:{playbook.slug}@{playbook.version}"


def allowed_contracts(task_type_id: int) -> list[ToolContract]:
    """Return, for every tool the task type may use, the newest contract version in the allowed range."""
    found: list[ToolContract] = []
    newest_first = registry.all_versions()[::-1]
    for rule in allowed_tools(task_type_id):
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
            **({"cost_micros": contract.cost_micros} if contract.cost_micros else {}),
            **({"reads_back": True} if registry.reads_back(contract.name, contract.version) else {}),
        }
        for contract in allowed_contracts(task_type.pk)
    }


# --- what can be wrong ----------------------------------------------------------------------------------------------


def _input_issues(task_type: TaskType, task: JSON) -> Sequence[TaskIssue]:
    try:
        guarded = guard(task, max_bytes=MAX_INPUT_BYTES)
    except WireError as error:
        return [TaskIssue(error.path, str(error.code), error.message)]
    try:
        issues = schema.compile(task_type.input_schema).validate(guarded)
    except (ContractError, TypeError, AttributeError):
        return []  # the task type is what is wrong, and says so itself
    return [TaskIssue(issue.path, str(issue.code), issue.message) for issue in issues]


def unusable_issues(task_type: TaskType) -> Sequence[TaskIssue]:
    """Say everything that keeps a saved task type from being used now: `task_type_issues`, and tools it may not use.

    Two queries more where it has a playbook.
    """
    issues = list(task_type_issues(task_type))
    return issues or list(allowlist_issues(task_type))


def allowlist_issues(task_type: TaskType) -> Sequence[TaskIssue]:
    """Say which tools the playbook of a saved task type calls although the allowlist does not let it."""
    if not planner_name(task_type).startswith("playbook:") or task_type.playbook is None:
        return []
    try:
        plan = read_playbook(task_type.playbook.body, max_steps=1000, calls_per_step=16)
    except (WireError, InvalidPlan):
        return []
    return list(tool_issues(plan, [contract.name for contract in allowed_contracts(task_type.pk)]))


def task_type_issues(task_type: TaskType) -> Sequence[TaskIssue]:
    """Say everything that would make runs of this type fail, at save time rather than at run time."""
    issues: list[TaskIssue] = list(deadline_issues(task_type))
    limits = Limits()
    try:
        limits = Limits.from_json(task_type.limits)
    except InvalidLimits as error:
        issues.append(TaskIssue("limits", "invalid_limits", str(error)))
    try:
        guard(task_type.input_schema)  # before anything walks it: it may be nested without end
        schema.assert_strict(task_type.input_schema, where="input_schema")
        schema.compile(task_type.input_schema)
    except WireError as error:
        issues.append(TaskIssue("input_schema", str(error.code), error.message))
    except ContractError as error:
        issues.append(TaskIssue("input_schema", "invalid_schema", str(error)))
    except (TypeError, AttributeError):
        issues.append(TaskIssue("input_schema", "invalid_schema", "This is not a JSON Schema of an object."))
    for name in ("stop_when", "success_when"):
        expression = getattr(task_type, name)
        if not expression:
            continue
        try:
            check_condition(expression, frozenset({"input", "steps", "done"}), functions=KNOWN_FUNCTIONS)
        except ConditionError as error:
            issues.append(TaskIssue(name, error.code, str(error)))
    issues.extend(output_issues(task_type.output_policy))
    issues.extend(fallback_issues(task_type, limits))
    # A critical task type whose model is not there yet goes on with its fallback.
    forgiven = _WITHOUT_MODEL if fallback_name(task_type) else frozenset()
    issues.extend(TaskIssue(*issue) for issue in model_issues(task_type) if issue[1] not in forgiven)
    if task_type.playbook is not None:
        plan = _read(task_type.playbook.body, limits)
        spare = _read(task_type.fallback.body, limits) if task_type.fallback is not None else None
        if not isinstance(plan, Plan):
            issues.extend(plan)
        elif spare is None or isinstance(spare, Plan):  # a fallback that cannot be read has said so
            issues.extend(criteria_issues(task_type, plan, spare))
    elif not planned_by_model(task_type):
        issues.append(TaskIssue("playbook", "playbook_missing", "Choose the playbook that makes the plan."))
    return issues


_WITHOUT_MODEL: Final = frozenset({"model_not_configured", "model_key_missing"})


def fallback_issues(task_type: TaskType, limits: Limits | None = None) -> Sequence[TaskIssue]:
    """Say why the fallback of a task type could not take over: every promise a critical one makes is checked here."""
    limits, fallback = limits or Limits(), task_type.fallback
    if fallback is None:
        if task_type.critical:
            message = "A critical task type needs the playbook that takes over when its planner cannot go on."
            return [TaskIssue("fallback", "fallback_missing", message)]
        return []
    if found := [
        TaskIssue("fallback", issue.code, f"{issue.path or '/'}: {issue.message}")
        for issue in playbook_issues(fallback.body, limits)
    ]:
        return found
    issues: list[TaskIssue] = []
    if fallback == task_type.playbook and task_type.planner != PlannerKind.MODEL:
        message = "The fallback is the playbook that it would take over from."
        issues.append(TaskIssue("fallback", "fallback_is_planner", message))
    plan = read_playbook(fallback.body, max_steps=1000, calls_per_step=limits.calls_per_step)
    if missing := out_of_reach(task_type.success_when, {step.id for step in plan.steps}):
        message = (
            f"The success criterion names {missing[0]}, which is no step of the fallback, so those would all fail."
        )
        issues.append(TaskIssue("fallback", "unknown_step", message))
    return issues


def fallback_tool_issues(task_type: TaskType, allowed: Collection[str]) -> Sequence[TaskIssue]:
    """Say which tools the fallback of a critical task type uses although its allowlist, by tool name, has them not."""
    if not task_type.critical or task_type.fallback is None:
        return []
    try:
        plan = read_playbook(task_type.fallback.body, max_steps=1000, calls_per_step=16)
    except (WireError, InvalidPlan):
        return []  # `task_type_issues` says so
    wanted = dict.fromkeys(call.tool for step in plan.steps for call in step.calls)
    return [
        TaskIssue("fallback", "fallback_tool_not_allowed", f"The fallback uses {tool}, which the allowlist denies.")
        for tool in wanted
        if tool not in allowed
    ]


def playbook_issues(body: str, limits: Limits | None = None) -> Sequence[TaskIssue]:
    """Say everything wrong with a playbook's text: form, references, conditions, unknown tools, too many calls."""
    found = _read(body, limits or Limits())
    return [] if isinstance(found, Plan) else found


def _read(body: str, bounds: Limits) -> Plan | Sequence[TaskIssue]:
    try:
        return read_playbook(
            body,
            max_steps=1000,
            calls_per_step=bounds.calls_per_step,
            known_tool=lambda name: registry.get(name) is not None,
        )
    except WireError as error:
        return [TaskIssue("body", str(error.code), error.message)]
    except InvalidPlan as error:
        return [TaskIssue(issue.path, issue.code, issue.message) for issue in error.issues]


def save_playbook(*, slug: str, body: str, actor: Actor) -> Playbook | InvalidTask:
    """Store the next version of a playbook; earlier versions stay as they are, for the runs that use them."""
    issues = list(playbook_issues(body))
    if _SLUG.fullmatch(slug) is None:
        issues.insert(0, TaskIssue("slug", "invalid_slug", "Use 1 to 64 letters, digits, hyphens and underscores."))
    if issues:
        return InvalidTask(tuple(issues))
    for _ in range(SAVES):
        try:
            with transaction.atomic():
                newest = Playbook.objects.filter(slug=slug).aggregate(version=Max("version"))["version"] or 0
                return Playbook.objects.create(slug=slug, version=newest + 1, body=body, created_by_id=actor.user_id)
        except IntegrityError:
            continue  # somebody else has saved the next version of it at this moment
    return InvalidTask((TaskIssue("slug", "conflict", "Too many people save this playbook at once; try again."),))
