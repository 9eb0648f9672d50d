"""A planner that asks a model: for a whole plan before anything is read (plan_first), or for one step at a time.

The model sees the task's words, the contracts the task type may use and, after the first plan, what earlier calls
returned; text that an attacker may have written reaches it only as spotlighted data. What it answers is parsed as
strictly as anything from outside, and is a proposal: the engine checks the plan and the gate checks every call.
"""

import hashlib
import re
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final, TypeVar

from django.conf import settings

from agentops.engine.planner import (
    Answered,
    AnswerRequest,
    CallView,
    Finished,
    Planned,
    PlannerAnswer,
    PlannerFailed,
    PlanRequest,
    ToolView,
)
from agentops.guardrails import spotlight
from agentops.guardrails.output import canary
from agentops.prompts.built_in import BUILT_IN
from agentops.prompts.template import fill
from agentops.providers.catalogue import ModelConfig
from agentops.providers.parameters import DEFAULT_DEADLINE_S, DEFAULTS, ModelParameters
from agentops.providers.prices import LISTED, Estimate, PriceTable
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, as_object, guard
from agentops.worker import model_answer, model_loop
from agentops.worker.model import (
    FunctionCall,
    FunctionResult,
    FunctionTool,
    Instructions,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelTurn,
    Question,
    UserText,
    question_bytes,
)
from agentops.worker.model_chain import ask_in_order
from agentops.worker.model_request import GRACE_S, preload

SUBMIT_PLAN: Final = "submit_plan"
MAX_WHY: Final = 2000
MAX_FUNCTION_NAME: Final = 64
"""Characters of a function's name that every provider accepts; of them letters, digits, `_` and `-`."""

EARLIER: Final = "An earlier plan has run so far. Plan only what is still to be done; what was refused stays refused."
FEEDBACK: Final = "What was said about earlier answers and calls, oldest first:"


T = TypeVar("T")


class _Unusable(ValueError):
    """The answer cannot be read as a plan; the message is told to the model."""


@dataclass(frozen=True, slots=True)
class ModelPlanner:
    """Asks the models of a chain in order. `name` is `model:<first model>`; `deadline_s` bounds a question as a whole.

    `template` is what the models are told (see `agentops.prompts.template`), empty for the built-in one. Everything
    that needs the database is in here already: a question is asked where there is none.
    """

    name: str
    models: tuple[ModelConfig, ...]
    deadline_s: float = DEFAULT_DEADLINE_S
    template: str = ""
    parameters: ModelParameters = DEFAULTS
    prices: PriceTable = LISTED

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        """Ask and wait. Never raises for what a model or its server does, and never takes longer than the deadline."""
        return self._wait(self.aplan(request))

    def answer(self, request: AnswerRequest) -> Answered | PlannerFailed:
        """Have a person's question answered, likewise, in a turn without tools."""
        return self._wait(self.aanswer(request))

    def _wait(self, asking: Coroutine[Any, Any, T]) -> "T | PlannerFailed":
        preload()
        future = model_loop.submit(asking)
        try:
            return future.result(self.deadline_s + GRACE_S)
        except TimeoutError:
            future.cancel()
            message = f"The model did not answer within {self.deadline_s:g} s."
            return PlannerFailed("model_timeout", message, retryable=True)
        except BaseException:
            # A time limit or a shutdown of the caller: nobody waits for the answer any more.
            future.cancel()
            raise

    async def aplan(self, request: PlanRequest) -> PlannerAnswer:
        """Ask as a coroutine, for the loop of `model_loop`; touches no database. Call `preload` before."""
        names = _Names(request.tools)
        attempted = await ask_in_order(self._question(request, names), self.models, deadline_s=self.deadline_s)
        planner = f"model:{attempted.model}"
        match attempted.outcome:
            case ModelFailed() as failed:
                return _failed(failed, planner)
            case ModelAnswer() as answer:
                try:
                    read = _read_step if request.planning == "reactive" else _read_plan
                    return replace(read(request, names, answer), planner=planner)
                except _Unusable as error:
                    return PlannerFailed(
                        "plan_invalid", str(error), usage=answer.usage, exchange=answer.exchange, planner=planner
                    )

    async def aanswer(self, request: AnswerRequest) -> Answered | PlannerFailed:
        """Ask likewise about a call; what comes back is text, whatever the model tries to call."""
        attempted = await ask_in_order(self._about(request), self.models, deadline_s=self.deadline_s)
        planner = f"model:{attempted.model}"
        match attempted.outcome:
            case ModelFailed() as failed:
                return _failed(failed, planner)
            case ModelAnswer() as answer:
                return replace(model_answer.read(answer), planner=planner)

    def estimate(self, request: PlanRequest | AnswerRequest, *, at: datetime) -> Estimate:
        """Return the most that one answer to this request can use, should every model of the chain be asked for it."""
        size = question_bytes(
            self._about(request)
            if isinstance(request, AnswerRequest)
            else self._question(request, _Names(request.tools))
        )
        total = Estimate(0, 0)
        for model in self.models:
            total += self.prices.estimate(model.name, size, self.parameters.max_tokens, at)
        return total

    def _about(self, request: AnswerRequest) -> Question:
        word = spotlight.delimiter(settings.SECRET_KEY, request.about.run_id)
        earlier = [earlier_words(call, request.about, word) for call in request.about.calls]
        messages = model_answer.messages(request, earlier, word)
        return Question(messages, (), False, self.parameters, self.prices)

    def _question(self, request: PlanRequest, names: "_Names") -> Question:
        word = spotlight.delimiter(settings.SECRET_KEY, request.run_id)
        reactive = request.planning == "reactive"
        told = _instructions(self.template or BUILT_IN[request.planning][1], request, word)
        if request.canary:
            told = f"{told}\n\n{canary.told(request.canary)}"
        messages = _step_messages(request, names, told, word) if reactive else _plan_messages(request, told, word)
        tools = _functions(request.tools, names)
        if not reactive:
            tools = [_submit_plan(request, names), *tools]
        return Question(tuple(messages), tuple(tools), not reactive, self.parameters, self.prices)


def _failed(failed: ModelFailed, planner: str) -> PlannerFailed:
    told = (failed.code, failed.message, failed.retryable, failed.retry_after, failed.usage, failed.exchange)
    return PlannerFailed(*told, planner)


# --- Names -----------------------------------------------------------------------------------------------------------


class _Names:
    """Contract names and the function names that stand for them: `mail.read` is `mail__read`, unique and short."""

    def __init__(self, tools: Sequence[ToolView]) -> None:
        self.functions: dict[str, str] = {}
        taken = {SUBMIT_PLAN}
        for tool in tools:
            function = _function_name(tool.name)
            if function in taken:
                function = _with_digest(tool.name, function)
            taken.add(function)
            self.functions[tool.name] = function
        self.tools = {function: tool for tool, function in self.functions.items()}

    def function(self, tool: str) -> str:
        """Return the function's name, also for a tool of an earlier call that is no longer offered."""
        return self.functions.get(tool) or _function_name(tool)

    def called(self, function: str) -> str:
        """Return the contract's name for a function the model called; raises _Unusable for one not offered."""
        return self._known(function, self.tools.get(function) or (function if function in self.functions else None))

    def written(self, tool: str) -> str:
        """Return the contract's name for a tool the model wrote in a plan; raises _Unusable for one not offered."""
        return self._known(tool, tool if tool in self.functions else self.tools.get(tool))

    def _known(self, name: str, tool: str | None) -> str:
        if tool is None:
            raise _Unusable(f"There is no tool {name[:64]!a}; known are {', '.join(self.functions) or 'none'}.")
        return tool


def _function_name(tool: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", tool.replace(".", "__"))
    return name if len(name) <= MAX_FUNCTION_NAME else _with_digest(tool, name)


def _with_digest(tool: str, function: str) -> str:
    return f"{function[: MAX_FUNCTION_NAME - 9]}_{hashlib.sha256(tool.encode()).hexdigest()[:8]}"


# --- What the model is told ------------------------------------------------------------------------------------------


def _functions(tools: Sequence[ToolView], names: _Names) -> list[FunctionTool]:
    return [
        FunctionTool(names.function(tool.name), tool.description, as_object(guard(tool.input_schema))) for tool in tools
    ]


def _submit_plan(asked: PlanRequest, names: _Names) -> FunctionTool:
    text: JSONObject = {"type": "string"}
    step: JSONObject = {
        "id": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,39}$"},
        "tool": {"type": "string", "enum": list(names.functions)},
        "arguments": {"type": "object", "description": "Literals, $ref and $text, by the tool's parameters."},
        "when": text,
        "expect": text,
        "on_failure": {"type": "string", "enum": ["fail", "continue"]},
        "why": text,
    }
    answer: JSONObject = {
        "when": text,
        "text": {"anyOf": [text, {"type": "object", "description": "A $ref or $text."}]},
    }
    schema = _closed(
        {
            "steps": {"type": "array", "maxItems": asked.steps_left, "items": _closed(step)},
            "answers": {"type": "array", "items": _closed(answer)},
        }
    )
    return FunctionTool(SUBMIT_PLAN, "Submit the whole plan. The only way to answer.", schema)


def _closed(properties: JSONObject) -> JSONObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _plan_messages(asked: PlanRequest, told: str, word: str) -> list[Message]:
    said = [_task(asked)]
    # Plan 1 is made before anything untrusted is seen, even if a caller hands calls in.
    if asked.version > 1 and asked.calls:
        said += [EARLIER, *(earlier_words(call, asked, word) for call in asked.calls)]
    said += _feedback(asked, word)
    return [Instructions(told), UserText("\n\n".join(said))]


def _step_messages(asked: PlanRequest, names: _Names, told: str, word: str) -> list[Message]:
    messages: list[Message] = [Instructions(told), UserText(_task(asked))]
    numbered = [(f"call_{number}", call) for number, call in enumerate(asked.calls, 1)]
    for _, step in groupby(numbered, key=lambda pair: pair[1].step_id):
        calls = list(step)
        messages.append(
            ModelTurn(
                tuple(
                    FunctionCall(call_id, names.function(call.tool), _arguments_of(call, asked, word))
                    for call_id, call in calls
                )
            )
        )
        messages += [
            FunctionResult(call_id, names.function(call.tool), _result(call, asked, word)) for call_id, call in calls
        ]
    feedback = _feedback(asked, word)
    return [*messages, UserText("\n\n".join(feedback))] if feedback else messages


def _instructions(template: str, asked: PlanRequest, word: str) -> str:
    values = {
        "task_type": asked.task_type,
        "instructions": asked.instructions,
        "tools": "\n\n".join(_signature(tool) for tool in asked.tools),
        "steps_left": str(asked.steps_left),
        "calls_per_step": str(asked.calls_per_step),
        "data_rules": spotlight.instructions(word),
    }
    return fill(template, values).strip()


def _task(asked: PlanRequest) -> str:
    return f"The task's input:\n{canonical(asked.input)}"


def earlier_words(call: CallView, asked: PlanRequest, word: str) -> str:
    """Return an earlier call and what came of it, as a model is told."""
    head = f"Step {call.step_id}, {call.tool}: {call.state}"
    content: JSONObject = {"arguments": call.arguments, **_outcome(call)}
    return f"{head}\n{_shown(content, call, asked, word)}"


def _result(call: CallView, asked: PlanRequest, word: str) -> str:
    return _shown(_outcome(call), call, asked, word)


def _outcome(call: CallView) -> JSONObject:
    if call.state == "succeeded":
        return {"output": call.output}
    return {"outcome": call.state, "code": call.code, "note": call.note}


def _shown(content: JSONObject, call: CallView, asked: PlanRequest, word: str) -> str:
    """Return content as it is only when all of it is known to be trusted; arguments and notes may quote what is not."""
    text = canonical(content)
    if call.untrusted or call.note or (asked.tainted and content.keys() != {"output"}):
        return spotlight.block(text, label=f"{call.tool} in step {call.step_id}", delimiter=word)
    return text


def _feedback(asked: PlanRequest, word: str) -> list[str]:
    """Quote what reviewers, tools and checks said; a person's words can be heeded, none of them are instructions."""
    if not asked.feedback:
        return []
    return [FEEDBACK, *(spotlight.block(text, label="feedback", delimiter=word) for text in asked.feedback)]


def _arguments_of(call: CallView, asked: PlanRequest, word: str) -> JSONObject:
    """Return what a model called a tool with; where it may have copied from what it read, texts are marked as data."""
    arguments = call.arguments if isinstance(call.arguments, dict) else {}
    return {key: _as_data(value, word) for key, value in arguments.items()} if asked.tainted else arguments


def _as_data(value: JSON, word: str) -> JSON:
    match value:
        case str():
            return spotlight.marked(value, delimiter=word)
        case list():
            return [_as_data(member, word) for member in value]
        case dict():
            return {spotlight.marked(key, delimiter=word): _as_data(member, word) for key, member in value.items()}
        case _:
            return value


def _signature(tool: ToolView) -> str:
    """Return a tool in one line: `shop.find_order(order_ref: string) -> {found: boolean}: Find an order.`"""
    return f"- {tool.name}{_fields(tool.input_schema, '()')} -> {_fields(tool.output_schema, '{}')}: {tool.description}"


def _fields(schema: Mapping[str, JSON], brackets: str, depth: int = 0) -> str:
    properties = schema.get("properties")
    members = properties.items() if isinstance(properties, dict) else ()
    return f"{brackets[0]}{', '.join(f'{name}: {_type(kind, depth)}' for name, kind in members)}{brackets[1]}"


def _type(schema: JSON, depth: int) -> str:
    """Return a schema as a short type: what a planner needs to refer to a field, not to validate it."""
    match schema:
        case {"enum": list(values)}:
            return "|".join(canonical(value) for value in values)
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            return "|".join(_type(choice, depth) for choice in choices)
        case {"type": list(kinds)}:
            return "|".join(str(kind) for kind in kinds)
        case {"type": "array", "items": items}:
            return f"[{_type(items, depth)}]"
        case {"type": "object", "properties": dict(members)} if depth < 3:
            return _fields({"properties": members}, "{}", depth + 1)
        case {"type": str(kind)}:
            return kind
        case _:
            return "any"


# --- What the model answered -----------------------------------------------------------------------------------------


def _read_plan(asked: PlanRequest, names: _Names, answer: ModelAnswer) -> Planned:
    plans = [call for call in answer.calls if call.name == SUBMIT_PLAN]
    if not answer.calls:
        raise _Unusable(f"Answer with a call of {SUBMIT_PLAN}, not with text.")
    if plans and len(answer.calls) > 1:
        raise _Unusable(f"Answer with one call of {SUBMIT_PLAN} and no other call.")
    if plans:
        return Planned(_written(_readable(plans[0]), names), answer.usage, answer.exchange)
    # A model that calls the tools themselves has planned one step per call, of plain values.
    steps: list[JSON] = [
        {"id": f"t{asked.version}_{number}", "why": _why(answer), **_direct(call, names)}
        for number, call in enumerate(answer.calls, 1)
    ]
    return Planned({"steps": steps}, answer.usage, answer.exchange)


def _read_step(asked: PlanRequest, names: _Names, answer: ModelAnswer) -> Planned | Finished:
    if not answer.calls:
        return Finished(spotlight.unmark(answer.text), answer.usage, answer.exchange)
    calls: list[JSON] = [_direct(call, names) for call in answer.calls]
    step: JSONObject = {"id": f"t{asked.version}", "why": _why(answer), "calls": calls}
    return Planned({"steps": [step]}, answer.usage, answer.exchange)


def _readable(call: FunctionCall) -> JSONObject:
    if call.invalid:
        raise _Unusable(f"The arguments of {call.name[:64]!a} cannot be read: {call.invalid}")
    return as_object(_unmarked(call.arguments))


def _direct(call: FunctionCall, names: _Names) -> JSONObject:
    tool = names.called(call.name)
    arguments = _readable(call)
    if (key := _form_in(arguments)) is not None:
        raise _Unusable(f"{tool}: {key[:40]!a} is only understood in {SUBMIT_PLAN}; write plain values.")
    return {"tool": tool, "arguments": arguments}


def _form_in(value: JSON) -> str | None:
    """Return the first key that the written form of a plan would read as a reference, or None."""
    match value:
        case dict():
            own = next((key for key in value if key.startswith("$")), None)
            return own or next((key for child in value.values() if (key := _form_in(child)) is not None), None)
        case list():
            return next((key for child in value if (key := _form_in(child)) is not None), None)
        case _:
            return None


def _written(plan: JSONObject, names: _Names) -> JSONObject:
    """Return the plan with contract names and without members set to null, which some servers add for optional ones.

    Raises _Unusable for a tool that was not offered. Everything else is checked by `engine.plan`.
    """
    steps = plan.get("steps")
    if not isinstance(steps, list):
        return plan
    return {**plan, "steps": [_written_step(step, names) for step in steps]}


def _written_step(step: JSON, names: _Names) -> JSON:
    if not isinstance(step, dict):
        return step
    written: JSONObject = {key: value for key, value in step.items() if value is not None}
    if isinstance(tool := written.get("tool"), str):
        written["tool"] = names.written(tool)
    if isinstance(calls := written.get("calls"), list):
        written["calls"] = [_written_step(call, names) for call in calls]
    return written


def _why(answer: ModelAnswer) -> str:
    return spotlight.unmark(answer.text)[:MAX_WHY]


def _unmarked(value: JSON) -> JSON:
    """Return a value without the marks of datamarked text that the model copied."""
    match value:
        case str():
            return spotlight.unmark(value)
        case list():
            return [_unmarked(member) for member in value]
        case dict():
            return {key: _unmarked(member) for key, member in value.items()}
        case _:
            return value
