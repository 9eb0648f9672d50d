"""Expressions in CEL, the language of Kubernetes admission and Google IAM: checked when saved, evaluated without fail.

Evaluation has three ends: true, false, and None for what cannot be evaluated (a missing member, two types that do not
compare, a result that is no truth value). What None means is the caller's to say; it never means allowed.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import cel

from agentops.wire.parse import JSON

MAX_EXPRESSION: Final = 2000
_GAP: Final = r"(?:\s|//[^\n]*(?:\n|$))*"
_BOUND: Final = re.compile(
    rf"\.{_GAP}(?:all|exists|exists_one|map|filter){_GAP}\({_GAP}([A-Za-z_][A-Za-z0-9_]*){_GAP},"
)
_COMPREHENSION: Final = re.compile(rf"\.{_GAP}(?:all|exists|exists_one|map|filter){_GAP}\(")
_BAD_CHARACTER: Final = re.compile("[\x00\ud800-\udfff]")
_IDENTIFIER: Final = re.compile(r"[A-Za-z]\w*")
_PLACE: Final = re.compile(r"<input>:(\d+):(\d+): (.*)")

KNOWN_FUNCTIONS: Final = frozenset(
    [
        *("size", "contains", "startsWith", "endsWith", "matches", "has", "type", "dyn"),
        *("int", "uint", "double", "string", "bytes", "timestamp", "duration"),
        *("getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    ]
)
"""What an expression may call, besides the operators and the one comprehension."""


class ExpressionError(ValueError):
    """An expression cannot be saved; `code` is invalid_condition, unknown_name, or condition_too_costly.

    `line` and `column` count from 1; 0 where the whole expression is meant.
    """

    def __init__(self, code: str, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.line = line
        self.column = column


@lru_cache(maxsize=4096)
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def check(expression: str, roots: frozenset[str], *, functions: frozenset[str] | None = None) -> None:
    """Accept an expression that parses, names only `roots`, and loops at most once. Raises ExpressionError.

    `functions` are those it may call, where that is asked: a call of another one could never be evaluated.
    """
    if found := _BAD_CHARACTER.search(expression):
        line = expression.count("\n", 0, found.start()) + 1
        column = found.start() - expression.rfind("\n", 0, found.start())
        raise ExpressionError("invalid_condition", f"character U+{ord(found[0]):04X} is not allowed", line, column)
    if len(expression) > MAX_EXPRESSION:
        raise ExpressionError("condition_too_costly", f"a condition may have {MAX_EXPRESSION} characters")
    if len(_COMPREHENSION.findall(expression)) > 1:
        raise ExpressionError("condition_too_costly", "a condition may use one comprehension")
    try:
        program = _program(expression)
    except (ValueError, RuntimeError, RecursionError) as error:
        text = str(error)
        place = _PLACE.search(text)
        line, column = (int(place[1]), int(place[2])) if place else (0, 0)
        raise ExpressionError("invalid_condition", text[:300], line, column) from error
    unknown = sorted(set(program.variables()) - roots - set(_BOUND.findall(expression)))
    if unknown:
        line, column = _place_of(expression, unknown[0])
        known = ", ".join(sorted(roots))
        raise ExpressionError("unknown_name", f"unknown name {unknown[0]!r}; known are {known}", line, column)
    if functions is not None:
        called = {name for name in program.functions() if _IDENTIFIER.fullmatch(name)}
        if strange := sorted(called - functions):
            line, column = _place_of(expression, strange[0])
            known = ", ".join(sorted(functions))
            raise ExpressionError("unknown_name", f"unknown function {strange[0]!r}; known are {known}", line, column)


def _place_of(expression: str, name: str) -> tuple[int, int]:
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", expression)
    if found is None:
        return 0, 0
    at = found.start()
    return expression.count("\n", 0, at) + 1, at - expression.rfind("\n", 0, at)


@lru_cache(maxsize=4096)
def names_in(expression: str) -> frozenset[str]:
    """Return the names that an expression speaks of; none for one that does not parse, which says nothing."""
    try:
        return frozenset(_program(expression).variables())
    except (ValueError, RuntimeError, RecursionError):
        return frozenset()


def brief(error: ExpressionError) -> str:
    """Return what is wrong in one sentence with its place, for people."""
    found = _PLACE.search(str(error))
    text = found[3] if found else str(error)
    text = text.split(" expecting ")[0].removeprefix("Syntax error: ")
    return f"line {error.line}, column {error.column}: {text}" if error.line else text


def bind(names: Mapping[str, JSON]) -> cel.Context:
    """Return names for several evaluations: to hand them over costs a hundred times what an expression does."""
    return cel.Context(variables=dict(names))


def evaluate(expression: str, names: Mapping[str, JSON] | cel.Context) -> bool | None:
    """Return what a saved expression says of these names; None when it cannot be evaluated or says something else."""
    try:
        found = _program(expression).execute(names if isinstance(names, cel.Context) else dict(names))
    except (KeyError, ValueError, TypeError, RuntimeError, ArithmeticError, RecursionError):
        return None
    return found if isinstance(found, bool) else None
