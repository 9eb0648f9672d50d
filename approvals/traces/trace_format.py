"""Read a trace of an agent's calls, in the format of `gate_trace.schema.json`. Pure; every mistake is named.

What a trace does not say about a tool has the careful default: it changes something that cannot be taken back, every
parameter decides where, and what it returns may have been written by an attacker.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from agentops.engine.plan import InvalidPlan, Plan, parse_plan
from agentops.guardrails.output.policy import BadPolicy, OutputPolicy, policy_of
from agentops.wire.parse import JSON, JSONObject, WireError, guard, parse_json, pointer_token
from agentops.wire.places import BadFile
from approvals.gating.policy import Policy, Surroundings
from approvals.gating.policy_file import read_json
from tools.allowing import constraint_problems
from tools.allowlist import AllowlistRule, AllowlistState, constraints_of
from tools.contracts import (
    ArgumentRole,
    Consequence,
    ContractError,
    Effect,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    Trust,
)
from tools.schema import Validator
from tools.schema import compile as compile_schema

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_OUTPUT_BYTES: Final = 4 * 1024 * 1024
CLOCK: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""When a trace happens that does not say when."""
SCHEMA: Final = Path(__file__).with_name("gate_trace.schema.json")


@dataclass(frozen=True, slots=True)
class TraceIssue:
    """One thing wrong with a trace: JSON pointer, stable code, sentence; line and column of what is no JSON at all."""

    path: str
    code: str
    message: str
    line: int = 0
    column: int = 0

    def to_json(self) -> JSONObject:
        """Return the issue as plain JSON."""
        found: JSONObject = {"path": self.path, "code": self.code, "message": self.message}
        return found | {"line": self.line, "column": self.column} if self.line else found


class BadTrace(ValueError):
    """A trace that cannot be run; `issues` says why, all of it."""

    def __init__(self, issues: "list[TraceIssue]") -> None:
        super().__init__("; ".join(f"{one.path or '/'}: {one.message}" for one in issues))
        self.issues = tuple(issues)

    def to_json(self) -> JSONObject:
        """Return what a program is told."""
        return {"error": {"code": "bad_trace", "issues": [one.to_json() for one in self.issues]}}


@dataclass(frozen=True, slots=True)
class TracedCall:
    """One call as it was made; `arguments` None: those of its step in the plan."""

    id: str
    tool: str
    step: str
    arguments: JSONObject | None
    output: JSON
    error: str | None
    approved: bool
    why: str
    consequence: Consequence | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace. `plan` is None where there was none; `tools` and `rules` go by the tool's name.

    `output` is the output policy, `policy` the tenant's; `around` is what its rules see of run and tenant.
    """

    id: str
    input: JSONObject
    planning: str
    planner: str
    plan: JSONObject | None
    tools: Mapping[str, ToolContract]
    rules: Mapping[str, AllowlistRule]
    calls: tuple[TracedCall, ...]
    output: OutputPolicy
    policy: Policy
    around: Surroundings
    canary: str


@cache
def schema() -> JSONObject:
    """Return the JSON Schema of the format."""
    found: JSONObject = json.loads(SCHEMA.read_text())
    return found


@cache
def _validator() -> Validator:
    return Validator({name: part for name, part in schema().items() if name != "$schema"})


def read_trace(raw: str | bytes) -> Trace:
    """Read the text of one trace. Raises `BadTrace`."""
    try:
        found = parse_json(raw, max_bytes=MAX_BYTES)
    except WireError as error:
        issue = TraceIssue(error.path, str(error.code), error.message, error.line, error.column)
        raise BadTrace([issue]) from None
    return trace_of(found)


def trace_of(raw: JSON) -> Trace:
    """Read one trace. Raises `BadTrace`."""
    issues = list(_issues_of_form(raw))
    if issues or not isinstance(raw, dict):
        raise BadTrace(issues)
    given: dict[str, Any] = raw
    tools: dict[str, ToolContract] = {}
    rules: dict[str, AllowlistRule] = {}
    for index, entry in enumerate(given["tools"]):
        at = f"/tools/{index}"
        if entry["name"] in tools:
            issues.append(TraceIssue(f"{at}/name", "duplicate_tool", f"There are two tools {entry['name']}."))
            continue
        try:
            contract = contract_of(entry)
            compile_schema(contract.input_schema)
        except ContractError as error:
            issues.append(TraceIssue(at, "invalid_tool", str(error)[:500]))
            continue
        tools[contract.name] = contract
        rule = AllowlistRule(
            contract.name,
            AllowlistState(entry.get("allow", "auto")),
            max_calls=entry.get("max_calls"),
            constraints=constraints_of(entry.get("constraints", {})),
        )
        issues += [
            TraceIssue(f"{at}/constraints/{pointer_token(name)}", "invalid_constraint", message)
            for name, message in constraint_problems(rule)
        ]
        rules[contract.name] = rule
    plan = given.get("plan")
    planning = given.get("planning", "reactive" if plan is None else "plan_first")
    issues += _issues_of_plan(plan, planning)
    around = _around(given.get("run", {}), issues)
    calls = _calls(given["calls"], around.now, issues)
    issues += _issues_of_calls(calls, plan, planning)
    policy = _policy(given.get("policy"), around.now, issues)
    output = OutputPolicy()
    try:
        output = policy_of(given.get("output_policy"))
    except BadPolicy as error:
        issues += [TraceIssue(f"/output_policy{path}", "invalid_output_policy", text) for path, text in error.problems]
    if issues:
        raise BadTrace(issues)
    return Trace(
        id=given.get("id", ""),
        input={"text": given["task"]["text"], **given["task"].get("input", {})},
        planning=planning,
        planner=f"{given.get('planner', 'model')}:trace",
        plan=plan,
        tools=tools,
        rules=rules,
        calls=calls,
        output=output,
        policy=policy,
        around=around,
        canary=given.get("canary", ""),
    )


def _policy(raw: JSONObject | None, now: datetime, issues: "list[TraceIssue]") -> Policy:
    """Read the tenant's policy as version 1; no rules where there is none."""
    if raw is None:
        return Policy()
    try:
        rules, wrong = read_json(raw, now=now)
    except BadFile as error:
        issues += [TraceIssue("/policy", "invalid_policy", one.message) for one in error.problems]
        return Policy()
    issues += [TraceIssue(f"/policy{path}", "invalid_policy", text) for path, text in wrong]
    return Policy(1, rules)


def _around(raw: Mapping[str, Any], issues: "list[TraceIssue]") -> Surroundings:
    return Surroundings(
        _moment(raw.get("at"), "/run/at", CLOCK, issues),
        raw.get("task_type", "trace"),
        raw.get("origin", "submitted"),
        raw.get("requested_by", "user"),
        raw.get("tenant", "trace"),
        raw.get("environment", "test"),
    )


def _moment(text: str | None, path: str, usual: datetime, issues: "list[TraceIssue]") -> datetime:
    if text is None:
        return usual
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not 1900 < found.year < 9000:
        message = "Say date and time with their zone, such as 2026-11-26T10:00:00Z."
        issues.append(TraceIssue(path, "invalid_moment", message))
        return usual
    return found.astimezone(UTC)


def _calls(given: "list[Any]", now: datetime, issues: "list[TraceIssue]") -> tuple[TracedCall, ...]:
    calls: list[TracedCall] = []
    for index, entry in enumerate(given):
        at = _moment(entry.get("at"), f"/calls/{index}/at", now, issues)
        if at < now:
            message = "It was made before the call in front of it."
            issues.append(TraceIssue(f"/calls/{index}/at", "out_of_order", message))
        now = max(now, at)
        calls.append(_call(index, entry, now))
    return tuple(calls)


def _issues_of_form(raw: JSON) -> "list[TraceIssue]":
    """What the schema says; what tools returned may be anything, and is only bounded."""
    issues: list[TraceIssue] = []
    skeleton = raw
    if isinstance(raw, dict) and isinstance(calls := raw.get("calls"), list):
        skeleton = {**raw, "calls": [_without_output(call) for call in calls]}
        for index, call in enumerate(calls):
            if isinstance(call, dict):
                try:
                    guard(call.get("output"), max_bytes=MAX_OUTPUT_BYTES)
                except WireError as error:
                    issues.append(TraceIssue(f"/calls/{index}/output{error.path}", str(error.code), error.message))
    found = _validator().validate(skeleton)
    return [*(TraceIssue(one.path, str(one.code), one.message) for one in found), *issues]


def _without_output(call: JSON) -> JSON:
    return {name: value for name, value in call.items() if name != "output"} if isinstance(call, dict) else call


def _issues_of_plan(plan: JSONObject | None, planning: str) -> "list[TraceIssue]":
    if plan is None:
        if planning == "plan_first":
            return [TraceIssue("/plan", "plan_missing", "Planning first needs a plan; leave it out for reactive.")]
        return []
    if planning == "reactive":
        return [TraceIssue("/plan", "plan_not_used", "A reactive trace has no plan.")]
    try:
        read = read_plan(plan)
    except InvalidPlan as error:
        return [TraceIssue(f"/plan{one.path}", one.code, one.message) for one in error.issues]
    return [
        TraceIssue(f"/plan/steps/{index}/calls", "several_calls", "Write one call a step.")
        for index, step in enumerate(read.steps)
        if len(step.calls) != 1
    ]


def read_plan(plan: JSONObject) -> Plan:
    """Read the plan of a trace. Raises `InvalidPlan`."""
    return parse_plan(plan, version=1, planner="model:trace")


def _issues_of_calls(calls: tuple[TracedCall, ...], plan: JSONObject | None, planning: str) -> "list[TraceIssue]":
    issues = []
    steps = plan.get("steps") if plan is not None else None
    known = {step.get("id") for step in steps if isinstance(step, dict)} if isinstance(steps, list) else set()
    seen: set[str] = set()
    for index, call in enumerate(calls):
        if call.id in seen:
            issues.append(TraceIssue(f"/calls/{index}/id", "duplicate_id", f"There are two calls {call.id}."))
        seen.add(call.id)
        if call.step and call.step not in known:
            issues.append(TraceIssue(f"/calls/{index}/step", "unknown_step", "The plan has no such step."))
        if call.arguments is None and planning == "reactive":
            issues.append(TraceIssue(f"/calls/{index}/arguments", "arguments_missing", "Say what it was called with."))
    return issues


def _call(index: int, entry: Mapping[str, Any], at: datetime) -> TracedCall:
    told = entry.get("consequence")
    usual: dict[str, Any] = {"blast": [], "money": None, "egress": [], "facts": [], "warnings": []}
    blast = [{"detail": "", **one} for one in told.get("blast", [])] if told is not None else []
    return TracedCall(
        id=entry.get("id", f"call_{index + 1}"),
        tool=entry["tool"],
        step=entry.get("step", ""),
        arguments=entry.get("arguments"),
        output=entry.get("output"),
        error=entry.get("error"),
        approved=entry.get("decision", "approve") == "approve",
        why=entry.get("why", ""),
        consequence=None if told is None else Consequence.from_json({**usual, **told, "blast": blast}),
        at=at,
    )


def contract_of(entry: Mapping[str, Any]) -> ToolContract:
    """Return the contract that an entry of the manifest describes. Raises `ContractError`."""
    roles = {name: ArgumentRole(role) for name, role in entry.get("roles", {}).items()}
    any_object: JSONObject = {"type": "object", "properties": {name: {} for name in roles}}
    # What has no role is no parameter: an argument nobody described could decide anything.
    input_schema = {**entry.get("input_schema", any_object), "additionalProperties": False}
    properties = input_schema.get("properties")
    parameters = list(properties) if isinstance(properties, dict) else []
    sensitivity = frozenset(Sensitivity(one) for one in entry.get("sensitivity", []))
    roles = dict.fromkeys(parameters, ArgumentRole.AUTHORITY) | roles
    content = [name for name in parameters if roles[name] is ArgumentRole.CONTENT]
    leaves = content if Sensitivity.EXTERNAL_COMMUNICATION in sensitivity else []
    trust = entry.get("output_trust", "untrusted")
    trusts = {"": Trust(trust)} if isinstance(trust, str) else {name: Trust(one) for name, one in trust.items()}
    reversible = entry.get("reversible", {"state": "irreversible", "text": "Nobody said how to take it back."})
    title = entry.get("title") or entry["name"]
    return ToolContract(
        name=entry["name"],
        version=entry.get("version", "1.0.0"),
        title=title,
        description=entry.get("description", ""),
        input_schema=input_schema,
        output_schema={"type": "object", "properties": {name: {} for name in trusts if name}},
        effect=Effect(entry.get("effect", "unsafe_write")),
        roles=roles,
        output_trust={"": Trust.UNTRUSTED} | trusts,
        error_codes=frozenset(),
        sentence=entry.get("sentence") or "".join(char for char in title if char not in "{}"),
        reversible=Reversibility(Reversal(reversible["state"]), reversible["text"]),
        sensitivity=sensitivity,
        must_see=tuple(entry.get("must_see", [])),
        egress=tuple(entry.get("egress", leaves)),
    )
