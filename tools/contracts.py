"""What a tool promises: the immutable, versioned contract and the values that pass through it.

A contract is data. It is compared, hashed and shown; it never runs anything. Handlers live behind
`tools.registry` and only `tools.executor` reaches them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID

from agentops.wire.canonical import digest as wire_digest
from agentops.wire.parse import JSON, JSONObject

from .promises import OUTWARD, Bounds, Idempotency, Promises


class Effect(StrEnum):
    """What a crash or a timeout means for a call (architecture, "Tool calls")."""

    READ = "read"
    IDEMPOTENT_WRITE = "idempotent_write"
    UNSAFE_WRITE = "unsafe_write"


class Sensitivity(StrEnum):
    """The four classes that always need a person."""

    FINANCIAL = "financial"
    DATA_DELETION = "data_deletion"
    EXTERNAL_COMMUNICATION = "external_communication"
    PERMISSION_CHANGE = "permission_change"


class ErrorCode(StrEnum):
    """The closed list of reasons for which a call fails."""

    INVALID_INPUT = "invalid_input"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PERMISSION_DENIED = "permission_denied"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    POLICY_BLOCKED = "policy_blocked"
    BUDGET_EXCEEDED = "budget_exceeded"
    BREAKER_OPEN = "breaker_open"
    OUTPUT_INVALID = "output_invalid"
    OUTCOME_UNKNOWN = "outcome_unknown"
    INTERNAL = "internal"


TRANSIENT: frozenset[ErrorCode] = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE})

MAX_RATE: Final = 60_000
"""The highest rate limit, in calls a minute."""

MAX_COST_MICROS: Final = 10_000_000_000
"""The most one call may be said to cost: 10,000 US dollars, in millionths of one."""


class ArgumentRole(StrEnum):
    """Whether an argument decides where an effect lands (authority) or only what it says (content)."""

    AUTHORITY = "authority"
    CONTENT = "content"


class Trust(StrEnum):
    """Integrity of an output field: fixed by the tool, or that of the arguments it was selected with.

    `carried`: that of the arguments of the earlier call of the run that the output field `written_by` names.
    """

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    INHERIT = "inherit"
    CARRIED = "carried"


class Reversal(StrEnum):
    """How an effect can be taken back."""

    NONE_NEEDED = "none_needed"
    UNDO_TOOL = "undo_tool"
    BY_HAND = "by_hand"
    COMPENSABLE = "compensable"
    IRREVERSIBLE = "irreversible"


@dataclass(frozen=True, slots=True)
class Reversibility:
    """How an effect can be taken back, and in words at what cost and until when."""

    state: Reversal
    text: str


class ContractError(ValueError):
    """Raised when a contract breaks a rule every contract must keep."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When calls to a failing tool stop, and for how long.

    They stop after `failures` failures in a row, or once `share` of the last `window` calls failed. The first pause
    is `cool_down_s` seconds; every probe that fails doubles it, up to `cool_down_cap_s`.
    """

    failures: int = 5
    window: int = 20
    share: float = 0.6
    cool_down_s: int = 30
    cool_down_cap_s: int = 600

    def problem(self) -> str:
        """Return what is wrong with the numbers, or nothing."""
        if not 1 <= self.failures <= self.window <= 100:
            return "the breaker needs 1 <= failures <= window <= 100"
        if not 0 < self.share <= 1:
            return "the breaker's share must be above 0 and at most 1"
        if not 1 <= self.cool_down_s <= self.cool_down_cap_s <= 86_400:
            return "the breaker needs 1 <= cool_down_s <= cool_down_cap_s <= 86400"
        return ""

    def to_json(self) -> JSONObject:
        """Return the rules as plain JSON."""
        return {
            "failures": self.failures,
            "window": self.window,
            "share": self.share,
            "cool_down_s": self.cool_down_s,
            "cool_down_cap_s": self.cool_down_cap_s,
        }


SHOWN_AS: Final = frozenset(
    {
        *("email.to", "email.cc", "email.bcc", "email.from", "email.reply_to", "email.subject", "email.body"),
        *("email.html", "email.attachments", "http.method", "http.url", "http.headers", "http.body"),
        *("sql.statement", "sql.parameters", "file.path", "file.content", "file.mode"),
        *("url", "date", "command", "secret"),
    }
)
"""What a parameter can be declared to be, for those who show it; anything else is shown by its JSON type."""

_REPEATABLE: Final = {
    Effect.READ: {Idempotency.NOT_NEEDED},
    Effect.IDEMPOTENT_WRITE: {Idempotency.KEY, Idempotency.NATURAL},
    Effect.UNSAFE_WRITE: {Idempotency.KEY, Idempotency.NONE},
}
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\Z")
_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\Z")
_SENTENCE_FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\|([a-z]+)(?::([a-z_][a-z0-9_]*))?)?\}")


def parse_version(text: str) -> tuple[int, int, int]:
    """Return the three numbers of a semantic version such as "1.0.0".

    Raises `ContractError` for anything else; pre-release and build parts are not used here.
    """
    if not _VERSION.match(text):
        raise ContractError(f"{text!r} is not a version of the form 1.2.3")
    major, minor, patch = text.split(".")
    return int(major), int(minor), int(patch)


class SentenceField(NamedTuple):
    """One placeholder of a sentence template: `{amount_minor|money:currency}`."""

    argument: str
    formatter: str
    parameter: str


def sentence_fields(template: str) -> list[SentenceField]:
    """Return the placeholders of a sentence template, in order; formatter and parameter may be empty."""
    return [SentenceField(a, f or "", p or "") for a, f, p in _SENTENCE_FIELD.findall(template)]


class _SealedDict(dict[str, Any]):
    """A JSON object nobody can change in place."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a contract is immutable")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = __ior__ = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _thaw(self)


class _SealedList(list[Any]):
    """A JSON array nobody can change in place."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a contract is immutable")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _thaw(self)


def _seal(value: Any) -> Any:
    if isinstance(value, dict):
        return _SealedDict({k: _seal(v) for k, v in value.items()})
    if isinstance(value, list | tuple):
        return _SealedList([_seal(v) for v in value])
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _thaw(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_thaw(v) for v in value]
    return value


@dataclass(frozen=True)
class ToolContract:
    """One version of one tool.

    `roles` names every top-level parameter of `input_schema`; `output_trust` names every top-level output
    field, or the empty string for all that are not named. Schemas are strict JSON Schema 2020-12
    (see `tools.schema.assert_strict`). `sentence` is a template over the parameters. `rate_per_minute` limits the calls
    of one tenant, None does not. `cost_micros` is what one attempt costs at most, in millionths of a US dollar; budgets
    reserve and spend it for every attempt that reaches the tool. `shows` says of parameters what they are (`SHOWN_AS`),
    so that a reviewer sees an address, a statement or a file, and never the value of a secret. `promises` are bounds,
    sinks, idempotency, cosmetic parameters, attestations and the undo tool (`tools.promises`).

    Raises `ContractError` when a part is missing or names something that does not exist.
    """

    name: str
    version: str
    title: str
    description: str
    input_schema: JSONObject
    output_schema: JSONObject
    effect: Effect
    roles: Mapping[str, ArgumentRole]
    output_trust: Mapping[str, Trust]
    error_codes: frozenset[ErrorCode]
    sentence: str
    reversible: Reversibility
    sensitivity: frozenset[Sensitivity] = frozenset()
    must_see: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    timeout_s: float = 10.0
    breaker: BreakerRules = BreakerRules()
    rate_per_minute: int | None = None
    cost_micros: int = 0
    shows: Mapping[str, str] = field(default_factory=dict)
    promises: Promises = field(default_factory=Promises)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_schema", _seal(self.input_schema))
        object.__setattr__(self, "output_schema", _seal(self.output_schema))
        object.__setattr__(self, "roles", MappingProxyType(dict(self.roles)))
        object.__setattr__(self, "shows", MappingProxyType(dict(self.shows)))
        object.__setattr__(self, "output_trust", MappingProxyType(dict(self.output_trust)))
        problems = list(self._problems())
        if problems:
            raise ContractError(f"{self.name} {self.version}: " + "; ".join(problems))

    def _problems(self) -> Iterator[str]:
        if not _NAME.match(self.name) or len(self.name) > 100:
            yield "the name must be dotted lower-case words"
        parse_version(self.version)
        parameters, outputs = set(self.parameters), set(self.outputs)
        if set(self.roles) != parameters:
            yield f"roles must name exactly the parameters {sorted(parameters)}"
        if not set(self.output_trust) <= outputs | {""}:
            yield "output_trust names a field that does not exist"
        if "" not in self.output_trust and set(self.output_trust) != outputs:
            yield "output_trust must name every output field or give a default"
        if not set(self.must_see) <= parameters or not set(self.egress) <= parameters:
            yield "must_see and egress may only name parameters"
        if not set(self.shows) <= parameters or not set(self.shows.values()) <= SHOWN_AS:
            yield "shows names an unknown parameter or an unknown kind"
        for part in sentence_fields(self.sentence):
            if part.argument not in parameters or (part.parameter and part.parameter not in parameters):
                yield f"the sentence names the unknown parameter {part.argument!r}"
        if "{" in _SENTENCE_FIELD.sub("", self.sentence) or "}" in _SENTENCE_FIELD.sub("", self.sentence):
            yield "the sentence has a malformed placeholder"
        if Trust.CARRIED in self.output_trust.values() and "written_by" not in outputs:
            yield "a carried output needs the output field written_by"
        if self.effect is Effect.READ and self.sensitivity:
            yield "a read cannot be sensitive"
        if self.timeout_s <= 0 or self.timeout_s > 600:
            yield "timeout_s must be above 0 and at most 600"
        if problem := self.breaker.problem():
            yield problem
        if self.rate_per_minute is not None and not 1 <= self.rate_per_minute <= MAX_RATE:
            yield f"rate_per_minute must be between 1 and {MAX_RATE}"
        if not 0 <= self.cost_micros <= MAX_COST_MICROS:
            yield f"cost_micros must be between 0 and {MAX_COST_MICROS}"
        yield from self._broken_promises()

    def _broken_promises(self) -> Iterator[str]:
        promises, parameters = self.promises, set(self.parameters)
        properties = self.input_schema.get("properties")
        yield from promises.bounds.problems(properties if isinstance(properties, dict) else {})
        if not set(promises.cosmetic) | set(promises.attestations) <= parameters:
            yield "cosmetic and attestations may only name parameters"
        elif set(promises.cosmetic) & {*_deciding(self.roles), *self.must_see, *self.egress, *promises.attestations}:
            yield "a cosmetic parameter cannot be authority, must-see, attested, or leave the tenant"
        if self.idempotency not in _REPEATABLE[self.effect]:
            yield f"a tool of the effect {self.effect} cannot have the idempotency {self.idempotency}"
        if self.effect is Effect.READ and promises.bounds != Bounds():
            yield "a read has no effect to bound"
        if promises.sinks and self.egress and not promises.sinks & OUTWARD:
            yield "parameters leave the tenant and no sink is outside"
        if bool(promises.undo_tool) != (self.reversible.state is Reversal.UNDO_TOOL):
            yield "undo_tool and the reversibility undo_tool need each other"
        if promises.undo_tool and not _NAME.match(promises.undo_tool):
            yield "undo_tool must be the name of a tool"

    @property
    def idempotency(self) -> Idempotency:
        """What a second call with the same key does; by default what the effect class implies."""
        return self.promises.idempotency or (Idempotency.NOT_NEEDED if not self.writes else Idempotency.KEY)

    @property
    def bounds(self) -> Bounds:
        """How much one call may do at most."""
        return self.promises.bounds

    @property
    def parameters(self) -> tuple[str, ...]:
        """The top-level parameter names, in schema order."""
        return _properties(self.input_schema)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The top-level output field names, in schema order."""
        return _properties(self.output_schema)

    @property
    def authority(self) -> tuple[str, ...]:
        """The parameters that decide where the effect lands."""
        return tuple(p for p in self.parameters if self.roles[p] is ArgumentRole.AUTHORITY)

    @property
    def writes(self) -> bool:
        """Whether the tool changes anything."""
        return self.effect is not Effect.READ

    def trust_of(self, output_field: str) -> Trust:
        """Return the declared integrity of one top-level output field; undeclared means untrusted."""
        return self.output_trust.get(output_field, self.output_trust.get("", Trust.UNTRUSTED))

    def to_json(self) -> JSONObject:
        """Return every part of the contract as plain JSON, the text that `digest` covers.

        Parts that came later are left out at their default, so that contracts which do not use them keep their digest.
        """
        later: JSONObject = {}
        if self.breaker != BreakerRules():
            later["breaker"] = self.breaker.to_json()
        if self.rate_per_minute is not None:
            later["rate_per_minute"] = self.rate_per_minute
        if self.cost_micros:
            later["cost_micros"] = self.cost_micros
        if self.shows:
            later["shows"] = dict(self.shows)
        timeout: JSON = int(self.timeout_s) if float(self.timeout_s).is_integer() else self.timeout_s
        return {
            "name": self.name,
            "version": self.version,
            "title": self.title,
            "description": self.description,
            "input_schema": _thaw(self.input_schema),
            "output_schema": _thaw(self.output_schema),
            "effect": str(self.effect),
            "sensitivity": sorted(str(s) for s in self.sensitivity),
            "roles": {k: str(v) for k, v in self.roles.items()},
            "output_trust": {k: str(v) for k, v in self.output_trust.items()},
            "error_codes": sorted(str(c) for c in self.error_codes),
            "timeout_s": timeout,
            "sentence": self.sentence,
            "reversible": {"state": str(self.reversible.state), "text": self.reversible.text},
            "must_see": list(self.must_see),
            "egress": list(self.egress),
            **later,
            **self.promises.to_json(),
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON of the whole contract (RFC 8785)."""
        return wire_digest(self.to_json())


def _deciding(roles: Mapping[str, ArgumentRole]) -> set[str]:
    return {name for name, role in roles.items() if role is ArgumentRole.AUTHORITY}


def _properties(schema: JSONObject) -> tuple[str, ...]:
    properties = schema.get("properties")
    return tuple(properties) if isinstance(properties, dict) else ()


def action_digest(*, tenant_id: int, tool: str, version: str, arguments: JSON) -> str:
    """Return the SHA-256 (hex) that an approval and an execution are bound to."""
    return wire_digest({"tenant": tenant_id, "tool": tool, "version": version, "arguments": arguments})


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a handler knows about the call besides its arguments. The tenant scope is already open."""

    tenant_id: int
    run_id: UUID
    call_id: str
    idempotency_key: str
    deadline: datetime


class ToolError(Exception):
    """Raised by a handler that knows the call had no effect, with a code of its contract.

    The exceptions, of writes, are `ErrorCode.OUTCOME_UNKNOWN` (the handler does not know) and `OUTPUT_INVALID` (the
    provider did answer, and nobody can read what).
    `retry_after` is in seconds and only meant for transient codes.
    """

    def __init__(self, code: ErrorCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Barred:
    """What our own records say against a call, with a short code: it is refused before anybody is asked."""

    code: str
    message: str


class Blast(NamedTuple):
    """One kind of real thing a call touches; `count` is None when it is not known (never 0 for unknown)."""

    kind: str
    count: int | None  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    detail: str = ""


class Money(NamedTuple):
    """An amount in minor units with its ISO 4217 code."""

    minor: int
    currency: str


class Fact(NamedTuple):
    """A labelled value from our own records, shown beside the action."""

    label: str
    value: str


class Change(NamedTuple):
    """One field of one record as it is and as it would be; text of several lines is shown as a difference."""

    field: str
    before: JSON
    after: JSON


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a call will touch, built from our own database and never from an agent's words."""

    summary: str
    blast: tuple[Blast, ...] = ()
    money: Money | None = None
    egress: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    def to_json(self) -> JSONObject:
        """Return the consequence as plain JSON, for the frozen proposal; `changes` only where there are some."""
        changes: list[JSON] = [{"field": c.field, "before": c.before, "after": c.after} for c in self.changes]
        return {
            "summary": self.summary,
            "blast": [{"kind": b.kind, "count": b.count, "detail": b.detail} for b in self.blast],
            "money": None if self.money is None else {"minor": self.money.minor, "currency": self.money.currency},
            "egress": list(self.egress),
            "facts": [{"label": f.label, "value": f.value} for f in self.facts],
            "warnings": list(self.warnings),
            **({"changes": changes} if changes else {}),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Consequence":
        """Read what `to_json` wrote; raises KeyError or TypeError for anything else."""
        money = raw["money"]
        return cls(
            summary=str(raw["summary"]),
            blast=tuple(Blast(str(one["kind"]), one["count"], str(one["detail"])) for one in raw["blast"]),
            money=None if money is None else Money(int(money["minor"]), str(money["currency"])),
            egress=tuple(str(one) for one in raw["egress"]),
            facts=tuple(Fact(str(one["label"]), str(one["value"])) for one in raw["facts"]),
            warnings=tuple(str(one) for one in raw["warnings"]),
            changes=tuple(Change(str(c["field"]), c["before"], c["after"]) for c in raw.get("changes", ())),
        )


@dataclass(frozen=True, slots=True)
class Happened:
    """The effect is on record; `output` is what the call returned or would have returned."""

    output: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DidNotHappen:
    """There is no trace of the effect."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """Our records do not settle it; a person has to look."""

    message: str


Reconciled = Happened | DidNotHappen | CannotTell


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The effect is there, as the call said."""


@dataclass(frozen=True, slots=True)
class Contradicted:
    """The call said that it had succeeded, and the effect is not there or is another one."""

    message: str


ReadBack = Confirmed | Contradicted | CannotTell
