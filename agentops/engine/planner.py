"""What a planner is asked and what it may answer. Playbook and model stand behind the same protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agentops.engine.events import Usage
from agentops.wire.parse import JSON, JSONObject


@dataclass(frozen=True, slots=True)
class ToolView:
    """What a planner is shown of a tool: only those its task type may use are ever shown."""

    name: str
    version: str
    description: str
    input_schema: Mapping[str, JSON]
    output_schema: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class CallView:
    """One earlier call. `untrusted`: its output holds text that an attacker may have written."""

    call_id: str
    step_id: str
    tool: str
    arguments: JSON
    state: str
    output: JSON
    code: str
    note: str
    untrusted: bool


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Everything a planner may know. `feedback` quotes what went wrong or what a reviewer said, oldest first."""

    run_id: str
    task_type: str
    instructions: str
    input: JSONObject
    planning: str
    version: int
    tools: tuple[ToolView, ...]
    calls: tuple[CallView, ...]
    feedback: tuple[str, ...]
    tainted: bool
    max_steps: int
    calls_per_step: int
    steps_left: int
    canary: str = ""
    """A mark for the model's instructions; it must not turn up in anything that leaves."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A written plan (see `engine.plan`), not yet checked. `exchange`: the raw request and answer of a model."""

    plan: JSON
    usage: Usage | None = None
    exchange: JSONObject | None = None
    planner: str = ""
    """Who made it, where a planner asks several; empty means the planner itself."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A reactive planner says that nothing more is to be done."""

    answer: str
    usage: Usage | None = None
    exchange: JSONObject | None = None
    planner: str = ""


@dataclass(frozen=True, slots=True)
class PlannerFailed:
    """No plan. `retryable`: worth asking again, after `retry_after` seconds where the provider said so.

    Codes: plan_invalid (the answer cannot be read as a plan), model_rate_limited, model_quota, model_timeout,
    model_unavailable, model_auth, model_not_found, model_context_length, model_content_filtered, model_truncated,
    model_bad_answer, model_not_configured, prompt_missing, playbook_missing.
    """

    code: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    usage: Usage | None = None
    exchange: JSONObject | None = None
    planner: str = ""


PlannerAnswer = Planned | Finished | PlannerFailed


class Planner(Protocol):
    """Makes plans; `name` says who it is, e.g. `playbook:support-email@3` or `model:gpt-5`."""

    @property
    def name(self) -> str: ...

    def plan(self, request: PlanRequest) -> PlannerAnswer: ...
