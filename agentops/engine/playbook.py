"""The deterministic planner: a declared Plan with conditions, the same whatever the world answers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from agentops.engine.conditions import KNOWN_FUNCTIONS
from agentops.engine.plan import Plan, parse_plan
from agentops.engine.planner import Planned, PlannerAnswer, PlannerFailed, PlanRequest
from agentops.wire.parse import JSONObject, WireError, parse_json


def read_playbook(
    body: str, *, max_steps: int, calls_per_step: int, known_tool: Callable[[str], bool] | None = None
) -> Plan:
    """Check a playbook's text as it is saved. Raises InvalidPlan or WireError; nothing invalid is ever stored."""
    raw = parse_json(body)
    return parse_plan(
        raw,
        version=1,
        planner="playbook",
        max_steps=max_steps,
        calls_per_step=calls_per_step,
        known_tool=known_tool,
        functions=KNOWN_FUNCTIONS,
    )


@dataclass(frozen=True, slots=True)
class PlaybookPlanner:
    """Answers every request for plan `version` with the same one; there is none after it. A fallback's comes later."""

    name: str
    body: str
    version: int = 1

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        if request.version > self.version:
            return PlannerFailed("playbook_missing", "A playbook has one plan; there is nothing to replan.")
        try:
            return Planned(_written(self.body))
        except WireError as error:
            return PlannerFailed("plan_invalid", str(error))


@lru_cache(maxsize=256)
def _written(body: str) -> JSONObject:
    raw = parse_json(body)
    return raw if isinstance(raw, dict) else {}
