"""What the pages of contracts show: the promise in plain words, a live sample, who may use it, how it was used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count

from agentops.engine.transitions import CallState
from agentops.runs.fields import is_money
from agentops.runs.models import Run, TaskType, ToolCall
from agentops.wire.money import in_currencies
from agentops.wire.parse import JSON
from approvals.cards.arguments import text_of
from approvals.gating.policy import SENSITIVE
from approvals.values.consequence import preview
from approvals.values.sentence import Part, render
from tools import schema
from tools.allowlist import AllowlistRule, AllowlistState, all_rules
from tools.compatibility import Difference, compare
from tools.contracts import TRANSIENT, ArgumentRole, Effect, Reversal, ToolContract, Trust
from tools.promises import ANY_CURRENCY, Idempotency, Sink
from tools.publishing import Published, versions_here
from tools.registry import registry

PERIOD: Final = timedelta(days=30)
RUNS: Final = 5_000
"""Usage is counted over at most so many of the newest runs."""

EFFECTS: Final = {
    Effect.READ: "Only reads; it may be repeated freely.",
    Effect.IDEMPOTENT_WRITE: "Changes something; a repeat with the same key changes nothing more.",
    Effect.UNSAFE_WRITE: "Changes something and is never repeated blindly.",
}
TRUSTS: Final = {
    Trust.TRUSTED: "trusted",
    Trust.UNTRUSTED: "untrusted: written outside",
    Trust.INHERIT: "as trusted as the arguments it was asked with",
    Trust.CARRIED: "as trusted as what was written",
}
REVERSALS: Final = {
    Reversal.NONE_NEEDED: "There is nothing to take back.",
    Reversal.UNDO_TOOL: "Another tool takes it back.",
    Reversal.BY_HAND: "Somebody can take it back by hand.",
    Reversal.COMPENSABLE: "It can only be made good.",
    Reversal.IRREVERSIBLE: "It cannot be taken back.",
}
REPEATS: Final = {
    Idempotency.NOT_NEEDED: "There is nothing that a repeat could do twice.",
    Idempotency.KEY: "A second call with the same key does nothing.",
    Idempotency.NATURAL: "A second call with the same arguments leaves things as they are.",
    Idempotency.NONE: "A second call may act twice.",
}
SINKS: Final = {
    Sink.EMAIL: "e-mail to outside",
    Sink.HTTP: "a server outside",
    Sink.PAYMENT: "a payment",
    Sink.RECORDS: "our records",
    Sink.ACCESS: "rights in our systems",
    Sink.MEMORY: "the memory of runs",
}
STATES: Final = {
    AllowlistState.DENIED: "denied",
    AllowlistState.GATED: "needs a person",
    AllowlistState.AUTO: "runs by itself",
}
_TYPES: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "array": "list",
    "object": "group of values",
    "null": "nothing",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One promise: what it is about, and what is promised."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter or output field; `marks` are what is special about it, in a few words each."""

    name: str
    kind: str
    trust: str
    marks: Sequence[str]
    description: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A call as people would make it, as a card would tell it: `sentence` in parts, `consequence` as frozen JSON."""

    sentence: Sequence[Part]
    arguments: Sequence[tuple[str, str]]
    consequence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one task type may do with the tool; `limits` in a few words, `fits` says whether this version is allowed."""

    task_type: str
    state: str
    label: str
    limits: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls of a tool in the newest runs of the last 30 days; `cut`: there were more runs than were counted."""

    calls: int
    outcomes: Sequence[tuple[str, int]]
    errors: Sequence[tuple[str, int, bool]]
    versions: Sequence[tuple[str, int]]
    rejected: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Version:
    """One published version and what it changed against the one before."""

    version: str
    since: str
    digest: str
    registered: bool
    shown: bool
    changes: Sequence[Difference]


# --- the promise ----------------------------------------------------------------------------------------------------


def facts_of(contract: ToolContract) -> list[Fact]:
    """Return what a contract promises, in plain words."""
    return [Fact(name, text) for name, text in _facts(contract) if text]


def _facts(c: ToolContract) -> Iterator[tuple[str, str]]:
    hooked = registry.reads_back(c.name, c.version)
    yield "Effect", EFFECTS[c.effect]
    sensitive = " and ".join(SENSITIVE[one] for one in sorted(c.sensitivity))
    yield "Sensitive", f"It {sensitive}, and always needs a person." if sensitive else "no"
    yield "Acts on", ", ".join(SINKS[one] for one in sorted(c.promises.sinks))
    yield "Leaves the tenant", ", ".join(c.egress) or "nothing"
    yield "A repeat", REPEATS[c.idempotency]
    undo = f" ({c.promises.undo_tool})" if c.promises.undo_tool else ""
    yield "Taking it back", f"{REVERSALS[c.reversible.state]}{undo} {c.reversible.text}"
    yield "At most", "; ".join(_bounds(c))
    yield "Afterwards", "Its effect is read back and compared with what it said." if hooked else ""
    yield "Before", "A card says what it would touch." if registry.has_preview(c.name, c.version) else ""
    yield "Time", f"{c.timeout_s:g} s for each call"
    yield "Rate", f"{c.rate_per_minute} calls a minute" if c.rate_per_minute is not None else "not limited by the tool"
    yield "Cost", f"{c.cost_micros / 1_000_000:.6f} US dollars for each attempt" if c.cost_micros else "none"
    b = c.breaker
    yield (
        "When it keeps failing",
        f"Calls stop after {b.failures} failures in a row, or once {b.share:.0%} of the last {b.window} failed.",
    )


def _bounds(c: ToolContract) -> Iterator[str]:
    bounds = c.bounds
    if bounds.amount is not None:
        for code, most in bounds.amount.most.items():
            yield in_currencies(most, () if code == ANY_CURRENCY else (code,))
    if bounds.rows is not None:
        yield f"{bounds.rows.most:,} row{'' if bounds.rows.most == 1 else 's'}"
    if bounds.recipients is not None:
        yield f"{bounds.recipients.most:,} recipient{'' if bounds.recipients.most == 1 else 's'}"


def errors_of(contract: ToolContract) -> list[tuple[str, bool]]:
    """Return the codes a call may fail with, and whether it is tried again then."""
    return [(code.value, code in TRANSIENT) for code in sorted(contract.error_codes)]


def parameters_of(contract: ToolContract) -> list[Field]:
    """Return the parameters, in schema order."""
    schemas = _properties(contract.input_schema)
    return [
        Field(name, kind_of(name, part, schemas), "", tuple(_marks(contract, name)), _description(part))
        for name, part in schemas.items()
    ]


def outputs_of(contract: ToolContract) -> list[Field]:
    """Return the output fields, in schema order."""
    schemas = _properties(contract.output_schema)
    return [
        Field(name, kind_of(name, part, schemas), TRUSTS[contract.trust_of(name)], (), _description(part))
        for name, part in schemas.items()
    ]


def _marks(contract: ToolContract, name: str) -> Iterator[str]:
    if contract.roles[name] is ArgumentRole.AUTHORITY:
        yield "decides where it lands"
    if name in contract.must_see:
        yield "has to be seen"
    if name in contract.promises.attestations:
        yield "picked out by approvers"
    if name in contract.egress:
        yield "leaves the tenant"
    if name in contract.promises.cosmetic:
        yield "cosmetic"
    if contract.shows.get(name) == "secret":
        yield "never shown"


def _properties(schema: Mapping[str, JSON]) -> dict[str, Mapping[str, Any]]:
    found = schema.get("properties")
    return {name: part for name, part in found.items() if isinstance(part, dict)} if isinstance(found, dict) else {}


def _description(schema: Mapping[str, Any]) -> str:
    return str(schema.get("description", ""))


def kind_of(name: str, schema: Mapping[str, Any], siblings: Mapping[str, Any]) -> str:
    """Say in words what values a part of a schema admits."""
    if isinstance(schema.get("anyOf"), list):
        return " or ".join(kind_of(name, branch, {}) for branch in schema["anyOf"])
    if isinstance(schema.get("enum"), list):
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    declared = schema.get("type")
    kinds = declared if isinstance(declared, list) else [declared]
    words = " or ".join(_TYPES.get(str(kind), str(kind)) for kind in kinds)
    if is_money(name, schema, siblings):
        words = words.replace("whole number", "money in minor units")
    return words + "".join(_limits(schema))


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    if "maxLength" in schema:
        least, most = schema.get("minLength", 0), schema["maxLength"]
        size = f"exactly {most:,}" if least == most else f"{least:,} to {most:,}" if least else f"at most {most:,}"
        yield f", {size} character{'' if most == 1 else 's'}"
    if "pattern" in schema:
        yield f", of the form {schema['pattern']}"
    if "minimum" in schema:
        yield f", {schema['minimum']:,} to {schema['maximum']:,}"
    if "maxItems" in schema:
        each = schema.get("items")
        yield f" of at most {schema['maxItems']:,}"
        if isinstance(each, Mapping):
            yield f": {kind_of('', each, {})}"
    if isinstance(schema.get("properties"), Mapping):
        yield f" ({', '.join(schema['properties'])})"


# --- the sample -----------------------------------------------------------------------------------------------------


def sample_of(contract: ToolContract) -> Sample | None:
    """Return the tool's example as a card of this tenant would tell it now; None without an example that fits.

    Queries the database through the tool's own preview.
    """
    example = registry.example(contract.name)
    if example is None or schema.compile(contract.input_schema).validate(example):
        return None
    schemas = _properties(contract.input_schema)
    arguments = tuple((name, text_of(name, value, example, schemas)) for name, value in example.items())
    return Sample(render(contract, example), arguments, preview(contract, example).shown)


# --- who may use it, and how it was used ----------------------------------------------------------------------------


def coverage_of(contract: ToolContract) -> tuple[list[Coverage], int]:
    """Return the task types that may use the tool, by name, and how many may not. Two queries."""
    rules = {kind: rule for (kind, tool), rule in all_rules().items() if tool == contract.name}
    found, others = [], 0
    for pk, name in TaskType.objects.order_by("name").values_list("pk", "name"):
        rule = rules.get(pk)
        if rule is None or rule.state is AllowlistState.DENIED:
            others += 1
            continue
        fits = rule.admits(contract.version)
        found.append(Coverage(name, rule.state.value, STATES[rule.state], ", ".join(_rule_limits(rule)), fits))
    return found, others


def _rule_limits(rule: AllowlistRule) -> Iterator[str]:
    if rule.min_version or rule.max_version:
        yield f"versions {rule.min_version or 'any'} to {rule.max_version or 'any'}"
    if rule.max_calls is not None:
        yield f"{rule.max_calls} calls a run"
    if rule.rate_per_minute is not None:
        yield f"{rule.rate_per_minute} calls a minute"
    yield from (f"{one.name}: {one.expression}" for one in rule.constraints)


_OUTCOMES: Final = {
    CallState.SUCCEEDED: "succeeded",
    CallState.FAILED: "failed",
    CallState.DENIED: "denied by the gate",
    CallState.REJECTED: "rejected by a person",
    CallState.EXPIRED: "nobody decided in time",
    CallState.WITHDRAWN: "withdrawn",
    CallState.UNKNOWN: "nobody knows whether it happened",
}


def usage_of(tool: str, *, now: datetime) -> Usage:
    """Return how a tool was used in the newest `RUNS` runs of the last 30 days. Two queries."""
    recent = Run.objects.filter(created_at__gte=now - PERIOD).order_by("-created_at", "-id")
    cut = recent[RUNS : RUNS + 1].exists()
    rows = list(
        ToolCall.objects.filter(run__in=recent.values("pk")[:RUNS], tool=tool)
        .values_list("state", "code", "version")
        .annotate(n=Count("pk"))
        .order_by()
    )
    states: dict[str, int] = {}
    errors: dict[str, int] = {}
    versions: dict[str, int] = {}
    for state, code, version, n in rows:
        words = _OUTCOMES.get(CallState(state), "under way")
        states[words] = states.get(words, 0) + n
        versions[version] = versions.get(version, 0) + n
        if code and state in (CallState.FAILED, CallState.DENIED):
            errors[code] = errors.get(code, 0) + n
    transient = {code.value for code in TRANSIENT}
    return Usage(
        calls=sum(states.values()),
        outcomes=tuple(_most_first(states)),
        errors=tuple((code, n, code in transient) for code, n in _most_first(errors)),
        versions=tuple(sorted(versions.items())),
        rejected=states.get(_OUTCOMES[CallState.REJECTED], 0),
        cut=cut,
    )


def _most_first(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))


def versions_of(contract: ToolContract) -> list[Version]:
    """Return every version of the tool that ran here or is registered, the newest first, with what it changed."""
    known = {one.version: one for one in versions_here(contract.name)}
    registered = {one.version: one for one in registry.all_versions() if one.name == contract.name}
    for version, one in registered.items():
        known.setdefault(version, Published(one.name, version, one.digest, "", one.to_json()))
    ordered = sorted(known.values(), key=lambda one: tuple(int(part) for part in one.version.split(".")))
    before = [None, *ordered[:-1]]
    listed = [
        Version(
            version=one.version,
            since=one.since,
            digest=one.digest,
            registered=one.version in registered,
            shown=one.version == contract.version,
            changes=compare(earlier.body, one.body) if earlier is not None else (),
        )
        for one, earlier in zip(ordered, before, strict=True)
    ]
    return listed[::-1]
