"""What a task type may do with a tool. Anything not listed is denied."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agentops.tenancy.prepared import Query
from agentops.wire import expressions
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, as_object, parse_json

from .contracts import parse_version
from .models import AllowlistEntry, AllowlistState

__all__ = ["AllowlistRule", "AllowlistState", "Constraint", "all_rules", "allowed_tools", "lookup", "rule_of"]

ROOTS: Final = frozenset({"args"})
"""What a constraint may speak of: the arguments of the call."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the arguments of a call have to satisfy, in CEL over `args`. One that cannot be evaluated is violated."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class AllowlistRule:
    """The rule of one task type for one tool; versions are inclusive, empty means unbounded."""

    tool: str
    state: AllowlistState
    min_version: str = ""
    max_version: str = ""
    max_calls: int | None = None
    note: str = ""
    rate_per_minute: int | None = None
    constraints: tuple[Constraint, ...] = ()

    def violated(self, arguments: JSON) -> Constraint | None:
        """Return the first constraint that these arguments do not satisfy."""
        if not self.constraints:
            return None
        names = expressions.bind({"args": arguments})
        return next((one for one in self.constraints if expressions.evaluate(one.expression, names) is not True), None)

    def constraints_text(self) -> str:
        """Return the constraints as they are stored: canonical JSON, empty for none."""
        return canonical({one.name: one.expression for one in self.constraints}) if self.constraints else ""

    def to_json(self) -> JSONObject:
        """Return the rule as plain JSON; what is not set is left out."""
        found: JSONObject = {"state": self.state.value}
        for name in ("min_version", "max_version", "note"):
            if text := getattr(self, name):
                found[name] = text
        for name in ("max_calls", "rate_per_minute"):
            if (number := getattr(self, name)) is not None:
                found[name] = number
        if self.constraints:
            found["constraints"] = {one.name: one.expression for one in self.constraints}
        return found

    @classmethod
    def from_json(cls, tool: str, raw: Mapping[str, JSON]) -> "AllowlistRule":
        """Read what `to_json` wrote."""
        calls, rate = raw.get("max_calls"), raw.get("rate_per_minute")
        return cls(
            tool=tool,
            state=AllowlistState(str(raw["state"])),
            min_version=str(raw.get("min_version", "")),
            max_version=str(raw.get("max_version", "")),
            max_calls=calls if isinstance(calls, int) else None,
            note=str(raw.get("note", "")),
            rate_per_minute=rate if isinstance(rate, int) else None,
            constraints=constraints_of(as_object(raw.get("constraints", {}))),
        )

    def admits(self, version: str) -> bool:
        """Say whether a contract version lies in the allowed range."""
        number = parse_version(version)
        if self.min_version and number < parse_version(self.min_version):
            return False
        return not (self.max_version and number > parse_version(self.max_version))


def constraints_of(raw: Mapping[str, JSON]) -> tuple[Constraint, ...]:
    """Read constraints by name."""
    return tuple(Constraint(name, str(expression)) for name, expression in sorted(raw.items()))


def lookup(task_type_id: int, tool: str) -> AllowlistRule:
    """Return the rule for one tool, `denied` when there is none. One query, in the tenant scope."""
    entry = AllowlistEntry.objects.filter(task_type_id=task_type_id, tool=tool).first()
    return AllowlistRule(tool, AllowlistState.DENIED) if entry is None else rule_of(entry)


def allowed_tools(task_type_id: int) -> list[AllowlistRule]:
    """Return the rules that are not `denied`, by tool name. One query, in the tenant scope."""
    entries = AllowlistEntry.objects.filter(task_type_id=task_type_id).exclude(state=AllowlistState.DENIED)
    return [rule_of(entry) for entry in entries.order_by("tool")]


def all_rules() -> dict[tuple[int, str], AllowlistRule]:
    """Return every rule of the tenant by task type and tool. One query."""
    return {(task_type_id, said[0]): _rule(*said) for task_type_id, *said in _ALL()}


_SAID: Final = (
    *("tool", "state", "min_version", "max_version"),
    *("max_calls", "note", "rate_per_minute", "argument_constraints"),
)
_ALL: Final = Query(lambda: AllowlistEntry.objects.values_list("task_type_id", *_SAID))


def rule_of(entry: AllowlistEntry) -> AllowlistRule:
    """Return the rule that a row says."""
    return _rule(*(getattr(entry, name) for name in _SAID))


def _rule(
    tool: str,
    state: str,
    min_version: str,
    max_version: str,
    max_calls: int | None,
    note: str,
    rate_per_minute: int | None,
    constraints: str,
) -> AllowlistRule:
    return AllowlistRule(
        tool=tool,
        state=AllowlistState(state),
        min_version=min_version,
        max_version=max_version,
        max_calls=max_calls,
        note=note,
        rate_per_minute=rate_per_minute,
        constraints=_stored(constraints),
    )


@lru_cache(maxsize=4096)
def _stored(text: str) -> tuple[Constraint, ...]:
    return constraints_of(as_object(parse_json(text))) if text else ()
