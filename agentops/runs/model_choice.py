"""Which models plan the runs of a task type, how they are asked and what they are told; and what is wrong with that."""

from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from agentops.prompts.services import built_in
from agentops.providers.chain import chain_problems, default_chain, written_chain
from agentops.providers.parameters import InvalidParameters, ModelParameters
from agentops.providers.selectors import price_table
from agentops.runs.models import PlannerKind, TaskType
from agentops.wire.parse import JSONObject


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What a run that a model plans keeps for its life. `prompt` is `slug@version`, `digest` its SHA-256."""

    models: tuple[str, ...] = ()
    parameters: JSONObject = field(default_factory=dict)
    prompt: str = ""
    digest: str = ""


def chain_of(task_type: TaskType) -> tuple[str, ...]:
    """Return the models of a task type in order: its own, else those of the environment."""
    return written_chain(task_type.model_names) or default_chain()


def planned_by_model(task_type: TaskType) -> bool:
    """Say whether a new run of this type is planned by a model."""
    if task_type.planner == PlannerKind.AUTO:
        return bool(chain_of(task_type))
    return task_type.planner == PlannerKind.MODEL


def model_choice(task_type: TaskType) -> ModelChoice:
    """Return what a new run of this type keeps; nothing for one that a playbook plans. Stores the built-in prompt."""
    if not planned_by_model(task_type):
        return ModelChoice()
    prompt = task_type.prompt or built_in("reactive" if task_type.planning == "reactive" else "plan_first")
    return ModelChoice(
        models=chain_of(task_type),
        parameters=ModelParameters.from_json(task_type.model_parameters).to_json(),
        prompt=prompt.name,
        digest=prompt.digest,
    )


def model_issues(task_type: TaskType, *, now: datetime | None = None) -> list[tuple[str, str, str]]:
    """Say what would keep models from planning the runs of this type: (field, stable code, sentence).

    Parameters and prompt are checked even while a playbook plans. Codes: those of `providers.chain.chain_problems`, and
    invalid_model_parameters, prompt_other_planning, model_price_unknown.
    """
    issues: list[tuple[str, str, str]] = []
    try:
        ModelParameters.from_json(task_type.model_parameters)
    except InvalidParameters as error:
        issues.append(("model_parameters", "invalid_model_parameters", str(error)))
    if task_type.prompt is not None and task_type.prompt.planning != task_type.planning:
        message = f"{task_type.prompt} explains another way of planning than this task type has."
        issues.append(("prompt", "prompt_other_planning", message))
    if not planned_by_model(task_type):
        return issues
    where = "model_names" if written_chain(task_type.model_names) else "planner"
    issues += [(where, problem.code, problem.message) for problem in chain_problems(chain_of(task_type))]
    if not issues and _money_is_limited(task_type):
        for model in price_table().unpriced(chain_of(task_type), now or timezone.now()):
            message = f"What {model} costs is not known, and this task type limits money: add a model price for it."
            issues.append((where, "model_price_unknown", message))
    return issues


def _money_is_limited(task_type: TaskType) -> bool:
    limit = task_type.limits.get("cost_micros") if isinstance(task_type.limits, dict) else None
    return isinstance(limit, int) and limit > 0
