"""Conditions in CEL, the expression language of Kubernetes admission and Google IAM.

A condition sees `input`, `steps.<id>.outcome`, `.output`, `.code`, `.note` and, in `expect`, `output`. In a fallback
playbook `done` has, by tool, the calls that succeeded before it took over; elsewhere it is empty. Anything that cannot
be evaluated (a missing member, two types that do not compare) does not hold: every default is no.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import cel

from agentops.wire.parse import JSON

MAX_EXPRESSION: Final = 2000
_STEP: Final = re.compile(r"\bsteps\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)")
_BOUND: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_][A-Za-z0-9_]*)\s*,")
_COMPREHENSION: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(")


_BAD_CHARACTER: Final = re.compile("[\x00\ud800-\udfff]")
_IDENTIFIER: Final = re.compile(r"[A-Za-z]\w*")

KNOWN_FUNCTIONS: Final = frozenset(
    [
        *("size", "contains", "startsWith", "endsWith", "matches", "has", "type", "dyn"),
        *("int", "uint", "double", "string", "bytes", "timestamp", "duration"),
        *("getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    ]
)
"""What a condition may call, besides the operators and the one comprehension."""


class ConditionError(ValueError):
    """A condition cannot be saved; `code` is invalid_condition, unknown_name, or condition_too_costly."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@lru_cache(maxsize=4096)
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def check_condition(expression: str, roots: frozenset[str], *, functions: frozenset[str] | None = None) -> None:
    """Accept an expression that parses, names only `roots`, and loops at most once. Raises ConditionError.

    `functions` are those it may call, where that is asked: a call of another one could never be evaluated. Recorded
    plans are read without them, so that a history stays readable when the list becomes shorter.
    """
    if found := _BAD_CHARACTER.search(expression):
        raise ConditionError("invalid_condition", f"character U+{ord(found[0]):04X} is not allowed")
    if len(expression) > MAX_EXPRESSION:
        raise ConditionError("condition_too_costly", f"a condition may have {MAX_EXPRESSION} characters")
    if len(_COMPREHENSION.findall(expression)) > 1:
        raise ConditionError("condition_too_costly", "a condition may use one comprehension")
    try:
        program = _program(expression)
    except (ValueError, RuntimeError, RecursionError) as error:
        raise ConditionError("invalid_condition", str(error)[:300]) from error
    unknown = sorted(set(program.variables()) - roots - set(_BOUND.findall(expression)))
    if unknown:
        raise ConditionError("unknown_name", f"unknown name {unknown[0]!r}; known are {', '.join(sorted(roots))}")
    if functions is not None:
        called = {name for name in program.functions() if _IDENTIFIER.fullmatch(name)}
        if strange := sorted(called - functions):
            known = ", ".join(sorted(functions))
            raise ConditionError("unknown_name", f"unknown function {strange[0]!r}; known are {known}")


def steps_named_in(expression: str) -> frozenset[str]:
    """Return the ids of the steps an expression names, so that only those need to be shown to it."""
    return frozenset(_STEP.findall(expression))


def holds(expression: str, names: Mapping[str, JSON]) -> bool:
    """Evaluate a saved condition; an empty one holds, one that fails or is not true does not."""
    if not expression:
        return True
    try:
        return _program(expression).execute(dict(names)) is True
    except (KeyError, ValueError, TypeError, RuntimeError, OverflowError, ZeroDivisionError):
        return False
