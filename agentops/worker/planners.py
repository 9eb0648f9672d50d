"""Which planner a run has: the one its submission named, for as long as it lives."""

from dataclasses import dataclass

from agentops.engine.planner import Planner, PlannerAnswer, PlannerFailed, PlanRequest
from agentops.engine.playbook import PlaybookPlanner
from agentops.engine.state import State
from agentops.runs.models import Playbook, Run


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
        return _model_planner(name)
    slug, _, version = rest.partition("@")
    playbook = Playbook.objects.filter(slug=slug, version=int(version or 0)).first()
    if playbook is None:
        return NoPlanner(name, "playbook_missing", f"There is no playbook {rest}.")
    return PlaybookPlanner(name, playbook.body, len(state.plans) + 1 if state.fell_back is not None else 1)


def _model_planner(name: str) -> Planner:
    from agentops.worker.model import ModelConfig
    from agentops.worker.model_planner import ModelPlanner

    config = ModelConfig.from_settings()
    if name != f"model:{config.name}":
        return NoPlanner(name, "model_not_configured", f"This worker has no model {name.removeprefix('model:')}.")
    return ModelPlanner(name, config)
