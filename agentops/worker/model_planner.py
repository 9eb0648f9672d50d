"""A planner that asks a model: for a whole plan before anything is read (plan_first), or for one step at a time.

The model sees the task's words, the contracts the task type may use and, after the first plan, what earlier calls
returned; text that an attacker may have written reaches it only as spotlighted data. What it answers is parsed as
strictly as anything from outside, and is a proposal: the engine checks the plan and the gate checks every call.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from django.conf import settings

from agentops.engine.planner import (
    CallView,
    Finished,
    Planned,
    PlannerAnswer,
    PlannerFailed,
    PlanRequest,
    ToolView,
)
from agentops.guardrails import spotlight
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, as_object, guard
from agentops.worker.model import (
    FunctionCall,
    FunctionResult,
    FunctionTool,
    Instructions,
    Message,
    ModelAnswer,
    ModelConfig,
    ModelFailed,
    ModelTurn,
    UserText,
)
from agentops.worker.model import request as ask_model

SUBMIT_PLAN: Final = "submit_plan"
DEADLINE_S: Final = 60.0
"""Seconds for one question; shorter than the lease of a run, which nobody renews meanwhile."""

MAX_WHY: Final = 2000
MAX_FUNCTION_NAME: Final = 64
"""Characters of a function's name that every provider accepts; of them letters, digits, `_` and `-`."""

PLAN_INSTRUCTIONS: Final = """\
You plan work for an operations team. You do nothing yourself: you write a plan, and every call in it is checked by \
policy and, where it matters, by a person before it runs. Answer with exactly one call of submit_plan.

A plan has steps, which run in order, and answers.
- A step calls one tool. `id` is a short word in lower case, not used before; `why` says in a sentence what the step \
is for, to the person who may have to approve it.
- An argument is a literal value, or {"$ref": "steps.<id>.output.<field>"} for what an earlier step will have \
returned, or {"$ref": "input.<field>"} for a value of the task, or text made of both: \
{"$text": ["Order ", {"$ref": "steps.order.output.order_ref"}, " was refunded."]}.
- You do not know yet what tools will return. Refer to it; never guess an identifier, an address or an amount.
- `when` is a CEL condition; the step is left out when it does not hold: steps.triage.output.intent == 'refund'. \
`expect` is one over `output` that must hold afterwards. An empty string stands for no condition. An earlier step's \
outcome is steps.<id>.outcome, for instance 'succeeded'.
- `on_failure` is fail or continue.
- Of the answers the first whose `when` holds is what the person who asked will read; its text may use {"$text": ...}.
Plan no more than the task needs."""

STEP_INSTRUCTIONS: Final = """\
You work for an operations team, one step at a time. Call the tools that the next step needs; every call is checked \
by policy and, where it matters, by a person before it runs, and you see afterwards what came of it. Write plain \
values as arguments. Never guess an identifier, an address or an amount. When nothing is left to do, or you cannot go \
on, answer in plain text and without a call what was done and what was not."""

EARLIER: Final = "An earlier plan has run so far. Plan only what is still to be done; what was refused stays refused."
FEEDBACK: Final = "What was said about earlier answers and calls, oldest first:"


class _Unusable(ValueError):
    """The answer cannot be read as a plan; the message is told to the model."""


@dataclass(frozen=True, slots=True)
class ModelPlanner:
    """Asks one model. `name` is `model:<model>`; `deadline_s` bounds each question as a whole."""

    name: str
    config: ModelConfig
    deadline_s: float = DEADLINE_S

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        """Ask once. Never raises for what the model or its server does, and never takes longer than the deadline."""
        names = _Names(request.tools)
        word = spotlight.delimiter(settings.SECRET_KEY, request.run_id)
        reactive = request.planning == "reactive"
        messages = _step_messages(request, names, word) if reactive else _plan_messages(request, word)
        tools = _functions(request.tools, names)
        if not reactive:
            tools = [_submit_plan(request, names), *tools]
        outcome = ask_model(self.config, messages, tools, deadline_s=self.deadline_s, must_call=not reactive)
        match outcome:
            case ModelFailed():
                return PlannerFailed(
                    outcome.code,
                    outcome.message,
                    outcome.retryable,
                    outcome.retry_after,
                    outcome.usage,
                    outcome.exchange,
                )
            case ModelAnswer():
                try:
                    return _read_step(request, names, outcome) if reactive else _read_plan(request, names, outcome)
                except _Unusable as error:
                    return PlannerFailed("plan_invalid", str(error), usage=outcome.usage, exchange=outcome.exchange)


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


def _plan_messages(asked: PlanRequest, word: str) -> list[Message]:
    lines = [PLAN_INSTRUCTIONS, f"At most {asked.steps_left} steps. Tools and what they return:"]
    lines += [_signature(tool) for tool in asked.tools]
    said = [_task(asked)]
    # Plan 1 is made before anything untrusted is seen, even if a caller hands calls in.
    if asked.version > 1 and asked.calls:
        said += [EARLIER, *(_earlier(call, asked, word) for call in asked.calls)]
    said += _feedback(asked, word)
    return [Instructions(_instructions(lines, asked, word)), UserText("\n\n".join(said))]


def _step_messages(asked: PlanRequest, names: _Names, word: str) -> list[Message]:
    lines = [STEP_INSTRUCTIONS, f"At most {asked.steps_left} more steps, {asked.calls_per_step} calls in each."]
    messages: list[Message] = [Instructions(_instructions(lines, asked, word)), UserText(_task(asked))]
    numbered = [(f"call_{number}", call) for number, call in enumerate(asked.calls, 1)]
    for _, step in groupby(numbered, key=lambda pair: pair[1].step_id):
        calls = list(step)
        messages.append(
            ModelTurn(
                tuple(FunctionCall(call_id, names.function(call.tool), _arguments_of(call)) for call_id, call in calls)
            )
        )
        messages += [
            FunctionResult(call_id, names.function(call.tool), _result(call, asked, word)) for call_id, call in calls
        ]
    feedback = _feedback(asked, word)
    return [*messages, UserText("\n\n".join(feedback))] if feedback else messages


def _instructions(lines: Iterable[str], asked: PlanRequest, word: str) -> str:
    task_type = f"The task is of the type {asked.task_type}. {asked.instructions}".strip()
    return "\n\n".join([*lines, spotlight.instructions(word), task_type])


def _task(asked: PlanRequest) -> str:
    return f"The task's input:\n{canonical(asked.input)}"


def _earlier(call: CallView, asked: PlanRequest, word: str) -> str:
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
    if call.untrusted or (asked.tainted and content.keys() != {"output"}):
        return spotlight.block(text, label=f"{call.tool} in step {call.step_id}", delimiter=word)
    return text


def _feedback(asked: PlanRequest, word: str) -> list[str]:
    """Quote what reviewers, tools and checks said; a person's words can be heeded, none of them are instructions."""
    if not asked.feedback:
        return []
    return [FEEDBACK, *(spotlight.block(text, label="feedback", delimiter=word) for text in asked.feedback)]


def _arguments_of(call: CallView) -> JSONObject:
    return call.arguments if isinstance(call.arguments, dict) else {}


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


def _read_plan(asked: PlanRequest, names: _Names, answer: ModelAnswer) -> PlannerAnswer:
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


def _read_step(asked: PlanRequest, names: _Names, answer: ModelAnswer) -> PlannerAnswer:
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
