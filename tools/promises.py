"""What a contract promises beyond its schemas: how much a call may do, where it acts, how it is repeated. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from agentops.wire.money import in_currencies
from agentops.wire.parse import JSON, JSONObject

MAX_BOUND: Final = 2**53 - 1
ANY_CURRENCY: Final = "*"


class Idempotency(StrEnum):
    """What a second call with the same idempotency key, or the same arguments, does."""

    NOT_NEEDED = "not_needed"
    KEY = "key"
    NATURAL = "natural"
    NONE = "none"


class Sink(StrEnum):
    """Where the effect of a call arrives. The first three are outside of the tenant."""

    EMAIL = "email"
    HTTP = "http"
    PAYMENT = "payment"
    RECORDS = "records"
    ACCESS = "access"
    MEMORY = "memory"


OUTWARD: Final = frozenset({Sink.EMAIL, Sink.HTTP, Sink.PAYMENT})


@dataclass(frozen=True, slots=True)
class AmountBound:
    """The most money one call moves: minor units by ISO 4217 code, `*` for every other; currencies without are refused.

    `currency` names the parameter with the code.
    """

    parameter: str
    currency: str
    most: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", MappingProxyType(dict(self.most)))

    def to_json(self) -> JSONObject:
        return {"parameter": self.parameter, "currency": self.currency, "most": dict(self.most)}


@dataclass(frozen=True, slots=True)
class CountBound:
    """The most things one call touches: what `parameters` name, counted together.

    A list counts its members, a text the addresses in it (separated by commas or semicolons), a number itself.
    """

    parameters: tuple[str, ...]
    most: int

    def to_json(self) -> JSONObject:
        return {"parameters": list(self.parameters), "most": self.most}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one call may do at most; what is beyond is refused before anybody is asked, and before it executes."""

    amount: AmountBound | None = None
    rows: CountBound | None = None
    recipients: CountBound | None = None

    def to_json(self) -> JSONObject:
        """Return the bounds there are."""
        parts = {"amount": self.amount, "rows": self.rows, "recipients": self.recipients}
        return {name: part.to_json() for name, part in parts.items() if part is not None}

    def problems(self, properties: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with the bounds of a contract whose input schema has these properties."""
        if (amount := self.amount) is not None:
            if not {amount.parameter, amount.currency} <= set(properties):
                yield "the bound of the amount names an unknown parameter"
            elif "integer" not in _types(properties[amount.parameter]):
                yield "the bound of the amount needs whole minor units"
            if not amount.most or not all(re.fullmatch(r"[A-Z]{3}|\*", code) for code in amount.most):
                yield "the bound of the amount needs ISO 4217 codes, or *"
            if not all(0 < most <= MAX_BOUND for most in amount.most.values()):
                yield f"the bound of the amount must be between 1 and {MAX_BOUND}"
        for name, count in (("rows", self.rows), ("recipients", self.recipients)):
            if count is None:
                continue
            if not count.parameters or not set(count.parameters) <= set(properties):
                yield f"the bound of {name} names an unknown parameter"
            if not 0 < count.most <= MAX_BOUND:
                yield f"the bound of {name} must be between 1 and {MAX_BOUND}"

    def exceeded(self, arguments: JSONObject) -> tuple[str, ...]:
        """Say what of these arguments is beyond a bound, in short sentences; values of other people are not repeated.

        What cannot be counted is beyond.
        """
        found = []
        if (amount := self.amount) is not None:
            value, code = arguments.get(amount.parameter), arguments.get(amount.currency)
            most = amount.most.get(code, amount.most.get(ANY_CURRENCY)) if isinstance(code, str) else None
            if most is None:
                found.append("Money may not be moved in this currency.")
            elif not isinstance(value, int) or isinstance(value, bool) or abs(value) > most:
                found.append(f"More than {in_currencies(most, [str(code)])} may not be moved at once.")
        for words, count in (("rows", self.rows), ("recipients", self.recipients)):
            if count is not None and _count(arguments, count.parameters) > count.most:
                found.append(f"More than {count.most:,} {words} may not be touched at once.")
        return tuple(found)


def _types(schema: object) -> set[object]:
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    return set(declared) if isinstance(declared, list) else {declared}


_BETWEEN: Final = re.compile(r"[,;\n]")


def _count(arguments: JSONObject, parameters: tuple[str, ...]) -> float:
    return sum(_things(arguments.get(name)) for name in parameters)


def _things(value: JSON) -> float:
    match value:
        case None:
            return 0
        case bool():
            return 1
        case int():
            return abs(value)
        case str():
            return sum(1 for part in _BETWEEN.split(value) if part.strip())
        case list():
            return sum(_things(member) if isinstance(member, str) else 1 for member in value)
        case dict():
            return 1
        case _:
            return float("inf")


@dataclass(frozen=True, slots=True)
class Promises:
    """The parts of a contract that came with bounds; every default is what contracts without them mean.

    `cosmetic` are parameters whose change alters nothing that matters. `attestations` are parameters whose value an
    approver is asked to pick out first. `undo_tool` takes the effect back.
    """

    idempotency: Idempotency | None = None
    bounds: Bounds = field(default_factory=Bounds)
    sinks: frozenset[Sink] = frozenset()
    cosmetic: tuple[str, ...] = ()
    attestations: tuple[str, ...] = ()
    undo_tool: str = ""

    def to_json(self) -> JSONObject:
        """Return what is not at its default, so that contracts without it keep their digest."""
        found: JSONObject = {}
        if self.idempotency is not None:
            found["idempotency"] = self.idempotency.value
        if bounds := self.bounds.to_json():
            found["bounds"] = bounds
        if self.sinks:
            found["sinks"] = list[JSON](sorted(sink.value for sink in self.sinks))
        if self.cosmetic:
            found["cosmetic"] = list[JSON](self.cosmetic)
        if self.attestations:
            found["attestations"] = list[JSON](self.attestations)
        if self.undo_tool:
            found["undo_tool"] = self.undo_tool
        return found
