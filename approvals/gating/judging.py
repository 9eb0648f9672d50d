"""Put a planned call before the gate: one pure function, for the worker and for whoever traces the gate without one.

What a run is comes from its folded events, and nothing here reads a clock, a database or a tool.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import TypedDict

from agentops.engine.decide import Candidate
from agentops.engine.events import CallSelected
from agentops.engine.state import State
from agentops.engine.transitions import CallState
from agentops.guardrails.output.claims import Deed
from agentops.guardrails.output.policy import OutputPolicy
from agentops.guardrails.output.review import OutputContext
from agentops.guardrails.provenance import UNSCREENED
from agentops.wire.parse import JSON, JSONObject, clean
from approvals.gating import gate
from approvals.gating.policy import NONE, Policy, Surroundings
from tools.allowlist import AllowlistRule
from tools.contracts import Barred, ToolContract, action_digest

Find = Callable[[str, str | None], ToolContract | None]
"""Name and version (None: the highest) -> contract."""

Bars = Callable[[str, str, JSON], Barred | None]
"""Name, version and arguments -> what the tenant's own records say against the call."""


class TenantRules(TypedDict):
    """What a tenant's policy and its scoped trusts have to say about a call (`gate.Candidate`)."""

    policy: Policy
    surroundings: Surroundings | None
    trust: str


Ask = Callable[[ToolContract | None, JSON], TenantRules]
"""Contract and arguments -> the tenant's rules about them."""


def no_rules(contract: ToolContract | None, arguments: JSON) -> TenantRules:
    """Say nothing about any call: a tenant without a policy and without scoped trusts."""
    return {"policy": NONE, "surroundings": None, "trust": ""}


_UNUSED = (CallState.DENIED, CallState.WITHDRAWN)


def judged(
    state: State,
    candidate: Candidate,
    *,
    find: Find,
    allow: AllowlistRule,
    policy: OutputPolicy,
    idempotency_key: str,
    tenant_id: int,
    beside: int = 0,
    bars: Bars = lambda tool, version, arguments: None,
    rules: Ask = no_rules,
) -> tuple[CallSelected, ToolContract | None, gate.GateVerdict]:
    """Return the call as it is recorded, its contract, and what the gate says of it.

    `beside` counts the calls of the same tool that the same step makes before this one. `bars` may ask a
    database; without one nothing is barred.
    """
    contract, version, pin = pinned(state, candidate.tool, find)
    arguments = clean(candidate.arguments)
    asked = rules(contract, arguments)
    counted = counts(allow, asked)
    verdict = gate.classify(
        gate.Candidate(
            contract=contract,
            pinned=gate.Pin(version, str(pin["digest"])) if pin else None,
            arguments=arguments,
            provenance=candidate.provenance,
            planned=candidate.planned,
            allow=allow,
            calls_so_far=(used_so_far(state, candidate.tool) if counted else 0) + beside,
            call_id=candidate.call_id,
            waiting=(let_so_far(state, candidate.tool) if counted else 0) + beside,
            output=output_context(state, policy, find) if contract is not None and contract.egress else gate.USUAL,
            barred=bars(candidate.tool, version, arguments) if contract is not None else None,
            unscreened=UNSCREENED in state.suspicion,
            **asked,
        )
    )
    selected = CallSelected(
        call_id=candidate.call_id,
        step_id=candidate.step_id,
        tool=candidate.tool,
        version=version,
        effect=str(contract.effect) if contract else "",
        arguments=arguments,
        digest=action_digest(tenant_id=tenant_id, tool=candidate.tool, version=version, arguments=arguments),
        idempotency_key=candidate.idempotency_key or idempotency_key,
        provenance={path: p.to_json() for path, p in candidate.provenance.items()},
        planned=candidate.planned,
        findings=[one.to_json() for one in verdict.found],
    )
    return selected, contract, verdict


def counts(allow: AllowlistRule, rules: TenantRules) -> bool:
    """Say whether it matters how often the run has called a tool. Counting it is the longer the longer the run is."""
    return allow.max_calls is not None or bool(rules["policy"].rules)


def used_so_far(state: State, tool: str, before: str = "") -> int:
    """Count the calls of a tool that were not refused: all of them, or those selected before the call `before`."""
    earlier = takewhile(lambda call: call.call_id != before, state.calls.values())
    return sum(1 for call in earlier if call.tool == tool and call.state not in _UNUSED)


def let_so_far(state: State, tool: str) -> int:
    """Count the calls of a tool that run without a person and have not started yet."""
    calls = (call for call in state.calls.values() if call.tool == tool and not call.proposal_id)
    return sum(1 for call in calls if call.state is CallState.GRANTED)


def pinned(state: State, tool: str, find: Find) -> tuple[ToolContract | None, str, JSONObject | None]:
    """Return the contract that would execute now, its version, and what the run was started with."""
    pin = state.submitted.tools.get(tool) if state.submitted else None
    contract = find(tool, str(pin["version"]) if pin else None)
    return contract, str(pin["version"]) if pin else contract.version if contract else "", pin


def output_context(state: State, policy: OutputPolicy, find: Find) -> OutputContext:
    """Return what texts of a run are judged by when they leave: rules, its mark, and what it has executed."""
    canary = state.submitted.canary if state.submitted is not None else ""
    done = (call for call in state.calls.values() if call.state is CallState.SUCCEEDED)
    deeds = tuple(
        Deed(tool, effect != "read", frozenset(str(one) for one in contract.sensitivity) if contract else _NO)
        for tool, version, effect in dict.fromkeys((call.tool, call.version, call.effect) for call in done)
        for contract in (find(tool, version),)
    )
    return OutputContext(policy, (canary,) if canary else (), deeds)


_NO: frozenset[str] = frozenset()
