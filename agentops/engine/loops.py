"""Runs that go round in circles: calls that come again in the same order, and plans that are an earlier one again."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from agentops.engine.plan import ArrayTree, Literal, ObjectTree, Plan, Ref, Step, Text, Tree
from agentops.engine.state import State
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON

LOOP_DETECTED: Final = "loop_detected"
MAX_PERIOD: Final = 4
"""The longest cycle that is looked for, in calls. One call over and over is what the limit `repeats` is for."""

MIN_ROUNDS: Final = 2
MAX_DETECTIONS: Final = 2
"""A model is told the first time and fails the second."""


def last_keys(state: State) -> list[str]:
    """Return the `repeat_key`s of the latest calls of the present planner, oldest first, as many as can matter."""
    wanted = min(MAX_PERIOD * rounds(state), len(state.calls) - state.calls_before)
    latest = reversed(state.calls.values())  # type: ignore[call-overload]  # those of a dict know their order
    keys = [call.keys[0] for call in islice(latest, wanted)]
    return keys[::-1]


def rounds(state: State) -> int:
    """How often the same calls may come in the same order: as often as one call may, at least twice to be a cycle."""
    return max(MIN_ROUNDS, state.limits.repeats)


def period(keys: Sequence[str], times: int) -> int:
    """Return the length (2 to MAX_PERIOD) of a cycle that the keys end with `times` times over, or 0."""
    for length in range(2, MAX_PERIOD + 1):
        if len(keys) < length * times:
            return 0
        tail = keys[-length * times :]
        if len(set(tail[:length])) > 1 and all(tail[i] == tail[i % length] for i in range(len(tail))):
            return length
    return 0


def cycle_message(tools: Sequence[str], times: int) -> str:
    """Name a cycle by its tools; arguments are left out, because they may hold anybody's words."""
    return f"The run goes round in circles: {', '.join(tools)}, {times} times with the same arguments."


def same_plan(state: State) -> int:
    """Return the version of an earlier plan that the current one, not yet begun, repeats; 0 if it is new.

    Names of steps, reasons and answers make no difference, nor does a step that comes later than before.
    """
    *earlier, current = state.plans
    if not earlier or state.cursor or not current.steps:
        return 0
    shape = shape_of(current)
    return next((plan.version for plan in reversed(earlier) if shape_of(plan) == shape), 0)


def shape_of(plan: Plan) -> str:
    """Write what a plan does as text, with its own steps named by their place in it."""
    names = {step.id: f"#{index}" for index, step in enumerate(plan.steps)}
    return canonical([_step(step, names) for step in plan.steps])


_NAMED: Final = re.compile(r"\bsteps\s*\.\s*([a-z][a-z0-9_]*)")


def _step(step: Step, names: Mapping[str, str]) -> JSON:
    def renamed(condition: str) -> str:
        return _NAMED.sub(lambda found: f"steps.{names.get(found[1], found[1])}", condition)

    return {
        "calls": [{"tool": call.tool, "arguments": _tree(call.arguments, names)} for call in step.calls],
        "when": renamed(step.when),
        "expect": renamed(step.expect),
    }


def _tree(tree: Tree, names: Mapping[str, str]) -> JSON:
    match tree:
        case Literal(value):
            return {"literal": value}
        case Ref():
            return {"ref": _ref(tree, names)}
        case Text(parts):
            return {"text": [part if isinstance(part, str) else {"ref": _ref(part, names)} for part in parts]}
        case ObjectTree(members):
            return {"object": {name: _tree(child, names) for name, child in members}}
        case ArrayTree(items):
            return [_tree(item, names) for item in items]


def _ref(ref: Ref, names: Mapping[str, str]) -> str:
    step_id = ref.step_id
    if step_id is None or step_id not in names:
        return str(ref)
    return ".".join(("steps", names[step_id], ref.base.rsplit(".", 1)[1], *ref.path))
