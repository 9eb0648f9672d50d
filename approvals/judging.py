"""Put a planned call before the gate: one pure function, for the worker and for whoever traces the gate without one.

What a run is comes from its folded events, and nothing here reads a clock, a database or a tool.
"""

from collections.abc import Callable

from agentops.engine.decide import Candidate
from agentops.engine.events import CallSelected
from agentops.engine.state import State
from agentops.engine.transitions import CallState
from agentops.guardrails.output.claims import Deed
from agentops.guardrails.output.policy import OutputPolicy
from agentops.guardrails.output.review import OutputContext
from agentops.wire.parse import JSONObject, clean
from approvals import gate
from tools.allowlist import AllowlistRule
from tools.contracts import ToolContract, action_digest

Find = Callable[[str, str | None], ToolContract | None]
"""Name and version (None: the highest) -> contract."""

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
) -> tuple[CallSelected, ToolContract | None, gate.GateVerdict]:
    """Return the call as it is recorded, its contract, and what the gate says of it.

    `beside` counts the calls of the same tool that the same step makes before this one.
    """
    contract, version, pin = pinned(state, candidate.tool, find)
    arguments = clean(candidate.arguments)
    same_tool = sum(1 for c in state.calls.values() if c.tool == candidate.tool and c.state not in _UNUSED)
    verdict = gate.classify(
        gate.Candidate(
            contract=contract,
            pinned=gate.Pin(version, str(pin["digest"])) if pin else None,
            arguments=arguments,
            provenance=candidate.provenance,
            planned=candidate.planned,
            allow=allow,
            calls_so_far=same_tool + beside,
            output=output_context(state, policy, find),
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


def pinned(state: State, tool: str, find: Find) -> tuple[ToolContract | None, str, JSONObject | None]:
    """Return the contract that would execute now, its version, and what the run was started with."""
    pin = state.submitted.tools.get(tool) if state.submitted else None
    contract = find(tool, str(pin["version"]) if pin else None)
    return contract, str(pin["version"]) if pin else contract.version if contract else "", pin


def output_context(state: State, policy: OutputPolicy, find: Find) -> OutputContext:
    """Return what texts of a run are judged by when they leave: rules, its mark, and what it has executed."""
    canary = state.submitted.canary if state.submitted is not None else ""
    deeds = tuple(
        Deed(call.tool, call.effect != "read", frozenset(str(one) for one in contract.sensitivity) if contract else _NO)
        for call in state.calls.values()
        if call.state is CallState.SUCCEEDED
        for contract in (find(call.tool, call.version),)
    )
    return OutputContext(policy, (canary,) if canary else (), deeds)


_NO: frozenset[str] = frozenset()
