"""Which planner a run has: the one its submission named, for as long as it lives."""

from dataclasses import dataclass
from datetime import timedelta

from agentops.engine.events import RunSubmitted
from agentops.engine.planner import Planner, PlannerAnswer, PlannerFailed, PlanRequest, ToolView
from agentops.engine.playbook import PlaybookPlanner
from agentops.engine.state import State
from agentops.prompts.built_in import digest
from agentops.prompts.models import Prompt
from agentops.providers.chain import configured
from agentops.providers.parameters import ModelParameters
from agentops.providers.selectors import price_table
from agentops.runs.models import Playbook, Run
from tools.allowlist import allowed_tools
from tools.registry import registry


@dataclass(frozen=True, slots=True)
class NoPlanner:
    """Stands in for a planner that is gone; the run fails with a reason instead of hanging."""

    name: str
    code: str
    message: str

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        return PlannerFailed(self.code, self.message)


def planner_for(run: Run, state: State) -> Planner:
    """Return the planner the run has now: the one it was submitted with, or its fallback once that has taken over.

    One query for a playbook; models load lazily.
    """
    name = state.planner
    kind, _, rest = name.partition(":")
    if kind == "model":
        assert state.submitted is not None
        return _model_planner(name, state.submitted)
    slug, _, version = rest.partition("@")
    playbook = Playbook.objects.filter(slug=slug, version=int(version or 0)).first()
    if playbook is None:
        return NoPlanner(name, "playbook_missing", f"There is no playbook {rest}.")
    return PlaybookPlanner(name, playbook.body, len(state.plans) + 1 if state.fell_back is not None else 1)


def _model_planner(name: str, submitted: RunSubmitted) -> Planner:
    """Return what asks the models of a run with the version of the prompt that it was submitted with. Two queries."""
    from agentops.worker.model_planner import ModelPlanner
    from agentops.worker.model_request import preload

    chain = submitted.models or [name.removeprefix("model:")]
    models = tuple(configured(model) for model in chain)
    if not any(model.configured() for model in models):
        problems = " ".join(problem.message for model in models if (problem := model.problem()))
        return NoPlanner(name, "model_not_configured", f"This worker has no model of this run. {problems}")
    template = _template(submitted)
    if isinstance(template, NoPlanner):
        return template
    preload()
    parameters = ModelParameters.from_json(submitted.model_parameters)
    return ModelPlanner(name, models, parameters.deadline_s, template, parameters, price_table())


def _template(submitted: RunSubmitted) -> "str | NoPlanner":
    """Return the recorded version of the prompt, compared with its digest; runs of earlier programs have none."""
    if not submitted.prompt:
        return ""
    slug, _, version = submitted.prompt.rpartition("@")
    prompt = Prompt.objects.filter(slug=slug, version=int(version)).first() if version.isdecimal() else None
    if prompt is None or digest(prompt.template) != submitted.prompt_digest:
        message = f"The prompt {submitted.prompt} is not the one this run started with."
        return NoPlanner(submitted.planner, "prompt_missing", message)
    return prompt.template


def patience(planner: Planner) -> timedelta:
    """Return how long a planner may take to answer; a run's lease has to outlast that."""
    return timedelta(seconds=float(getattr(planner, "deadline_s", 0.0)))


def offered_tools(run: Run, state: State) -> tuple[ToolView, ...]:
    """Return what a planner is shown: the contracts the run started with, where its task type still admits them."""
    assert state.submitted is not None
    offered: list[ToolView] = []
    for rule in allowed_tools(run.task_type_id):
        pin = state.submitted.tools.get(rule.tool)
        contract = registry.get(rule.tool, str(pin["version"])) if pin is not None else None
        if contract is None or pin is None or contract.digest != pin["digest"] or not rule.admits(contract.version):
            continue
        offered.append(
            ToolView(
                contract.name, contract.version, contract.description, contract.input_schema, contract.output_schema
            )
        )
    return tuple(offered)
