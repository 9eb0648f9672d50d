"""What stands for the world in a case: tools and models that answer from a list."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentops.engine.planner import Finished, Planned, PlannerAnswer, PlannerFailed, PlanRequest
from agentops.regression.cases import Case, ModelAnswer, ScriptedDecision, ToolAnswer
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, as_object, guard
from tools.contracts import (
    CallContext,
    CannotTell,
    Confirmed,
    Contradicted,
    DidNotHappen,
    ErrorCode,
    Happened,
    ReadBack,
    Reconciled,
    ToolContract,
    ToolError,
)
from tools.executor import Executor
from tools.registry import Registry, registry


class ScriptEnded(BaseException):
    """The run wants something that the case has no answer for, so nobody knows how it goes on.

    No `Exception`, so that nothing on the way takes it for a tool's or a planner's trouble.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def contained(wanted: Any, found: Any) -> bool:
    """Whether `found` is `wanted`, or an object that has at least its members, at any depth."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(k in found and contained(v, found[k]) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(contained, wanted, found))
    return bool(canonical(wanted) == canonical(found))


@dataclass
class Script:
    """The answers of one trial that have not been given yet."""

    case: Case
    tools: list[ToolAnswer] = field(init=False)
    models: list[ModelAnswer] = field(init=False)
    decisions: list[ScriptedDecision] = field(init=False)
    given: dict[str, ToolAnswer] = field(init=False, default_factory=dict)
    """Call -> the answer that it got last."""

    def __post_init__(self) -> None:
        self.tools = list(self.case.tools)
        self.models = list(self.case.model)
        self.decisions = list(self.case.decisions)

    def call(self, tool: str, context: CallContext, arguments: JSONObject) -> JSONObject:
        """Answer a call with the first answer left that fits it."""
        for answer in self.tools:
            if answer.tool == tool and (answer.arguments is None or contained(answer.arguments, arguments)):
                self.tools.remove(answer)
                break
        else:
            raise ScriptEnded("no_answer", f"There is no answer left for {tool} with {_brief(arguments)}.")
        self.given[context.call_id] = answer
        if answer.error is not None:
            raise ToolError(answer.error.code, answer.error.message, answer.error.retry_after)
        if answer.unknown is not None:
            raise ToolError(ErrorCode.OUTCOME_UNKNOWN, answer.unknown)
        return as_object(guard(answer.output))

    def settle(self, call_id: str) -> Reconciled:
        """Say what the tool's own record says of an unknown effect."""
        answer = self.given.get(call_id)
        match answer.reconciled if answer is not None else None:
            case "happened":
                assert answer is not None
                return Happened(as_object(guard(answer.output or {})))
            case "did_not_happen":
                return DidNotHappen()
            case _:
                return CannotTell("The case does not say.")

    def look(self, call_id: str) -> ReadBack:
        """Say what reading an effect back shows."""
        answer = self.given.get(call_id)
        match answer.read_back if answer is not None else "confirmed":
            case "contradicted":
                return Contradicted("The case says otherwise.")
            case "cannot_tell":
                return CannotTell("The case cannot tell.")
            case _:
                return Confirmed()

    def decision(self, tool: str) -> ScriptedDecision | None:
        """Take the next verdict about a tool."""
        found = next((one for one in self.decisions if one.tool == tool), None)
        if found is not None:
            self.decisions.remove(found)
        return found


class ScriptedTools:
    """The contracts of this program with scripted tools behind them, and the real executor in front."""

    def __init__(self) -> None:
        self.script: Script | None = None
        tools = Registry()
        for contract in registry.all_versions():
            self._register(tools, contract)
        # Deadlines are the trial's, whose clock is not that of this machine.
        self.executor = Executor(tools, now=lambda: datetime.min.replace(tzinfo=UTC))

    def _register(self, tools: Registry, contract: ToolContract) -> None:
        def handler(context: CallContext, arguments: JSONObject) -> JSONObject:
            return self.now.call(contract.name, context, arguments)

        def reconcile(context: CallContext, arguments: JSONObject) -> Reconciled:
            return self.now.settle(context.call_id)

        def read_back(context: CallContext, arguments: JSONObject, output: JSONObject) -> ReadBack:
            return self.now.look(context.call_id)

        again = registry.reads_back(contract.name, contract.version)
        tools.register(contract, handler, reconcile=reconcile, read_back=read_back if again else None)

    @property
    def now(self) -> Script:
        assert self.script is not None, "no trial is under way"
        return self.script


@dataclass
class ScriptedModel:
    """A planner that answers what the case says that a model answered."""

    name: str
    script: Script

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        """Give the next answer."""
        if not self.script.models:
            raise ScriptEnded("no_model_answer", f"The model is asked for plan {request.version}: no answer is left.")
        answer = self.script.models.pop(0)
        if answer.plan is not None:
            return Planned(guard(answer.plan))
        if answer.finished is not None:
            return Finished(answer.finished)
        return PlannerFailed(answer.failed or "model_unavailable", "The case says so.")


def _brief(arguments: Mapping[str, JSON]) -> str:
    text = canonical(arguments)
    return text if len(text) <= 300 else f"{text[:299]}…"
