"""Conditions of plans, in CEL (`agentops.wire.expressions`).

A condition sees `input`, `steps.<id>.outcome`, `.output`, `.code`, `.note` and, in `expect`, `output`. In a fallback
playbook `done` has, by tool, the calls that succeeded before it took over; elsewhere it is empty. Anything that cannot
be evaluated does not hold: every default is no.
"""

import re
from collections.abc import Mapping
from typing import Final

from agentops.wire import expressions
from agentops.wire.expressions import KNOWN_FUNCTIONS
from agentops.wire.expressions import ExpressionError as ConditionError
from agentops.wire.parse import JSON

__all__ = ["KNOWN_FUNCTIONS", "ConditionError", "check_condition", "holds", "steps_named_in"]

_STEP: Final = re.compile(r"\bsteps\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)")


def check_condition(expression: str, roots: frozenset[str], *, functions: frozenset[str] | None = None) -> None:
    """Accept what `expressions.check` accepts. Raises ConditionError.

    Recorded plans are read without `functions`, so that a history stays readable when the list becomes shorter.
    """
    expressions.check(expression, roots, functions=functions)


def steps_named_in(expression: str) -> frozenset[str]:
    """Return the ids of the steps an expression names, so that only those need to be shown to it."""
    return frozenset(_STEP.findall(expression))


def holds(expression: str, names: Mapping[str, JSON]) -> bool:
    """Evaluate a saved condition; an empty one holds, one that fails or is not true does not."""
    return not expression or expressions.evaluate(expression, names) is True
