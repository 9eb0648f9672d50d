"""What the driver says about one tool call: its name for ever, its request, its grant, and what its hook answered."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol

from agentops.engine.events import CallConfirmed, CallReconciled, CallUnknown
from agentops.engine.state import Call
from agentops.guardrails.screening import Asked, defaults, screen_output
from agentops.runs.models import Run
from agentops.wire.canonical import digest
from agentops.wire.parse import JSON
from tools import executor
from tools.contracts import (
    CannotTell,
    Confirmed,
    Contradicted,
    DidNotHappen,
    Happened,
    ReadBack,
    Reconciled,
    ToolContract,
)
from tools.registry import registry


class Tools(Protocol):
    """What runs the tools: the module `tools.executor`, or an executor of scripted ones."""

    def execute(self, request: executor.CallRequest, consume: executor.Consume, /) -> executor.Outcome:
        """Run one call under a permit."""

    def reconcile(self, request: executor.CallRequest, /) -> Reconciled:
        """Ask whether an effect is on record."""

    def read_back(self, request: executor.CallRequest, output: JSON, /) -> ReadBack:
        """Look at the effect of a call that returned `output`."""


def idempotency_key(run: Run, call_id: str) -> str:
    """Name an effect for ever: the same run and call give the same key after any crash."""
    return sha256(f"{run.tenant_id}:{run.id}:{call_id}".encode()).hexdigest()[:40]


def request_of(run: Run, call: Call, now: datetime) -> executor.CallRequest:
    """Say to the executor which call is meant, and until when its handler may start."""
    contract = registry.get(call.tool, call.version)
    timeout = timedelta(seconds=contract.timeout_s if contract else 10.0)
    return executor.CallRequest(
        tenant_id=run.tenant_id,
        run_id=run.id,
        call_id=call.call_id,
        tool=call.tool,
        version=call.version,
        arguments=call.arguments,
        digest=call.digest,
        idempotency_key=call.idempotency_key,
        deadline=now + timeout,
    )


def ask_hook(
    call: Call, request: executor.CallRequest, tools: Tools = executor, settings: Asked = defaults
) -> CallReconciled | CallUnknown:
    """Ask the contract's hook what became of an effect; return the answer as an event, its output screened."""
    answer = tools.reconcile(request)
    match answer:
        case Happened(output=output):
            trust = trust_of(registry.get(call.tool, call.version))
            note = "The tool's own record says so."
            screened = screen_output(output, trust, settings)
            return CallReconciled(
                call.call_id, "happened", "hook", output, digest(output), trust, note, screened=screened
            )
        case DidNotHappen():
            return CallReconciled(call.call_id, "did_not_happen", "hook", note="The tool has no record of it.")
        case CannotTell(message=message):
            return CallUnknown(call.call_id, message, asked=True)


def read_back(call: Call, request: executor.CallRequest, tools: Tools = executor) -> CallConfirmed:
    """Look at the effect of a write that succeeded; return what it shows as an event."""
    answer = tools.read_back(request, call.output)
    match answer:
        case Confirmed():
            return CallConfirmed(call.call_id, "confirmed")
        case Contradicted(message=message):
            return CallConfirmed(call.call_id, "contradicted", message[:2000])
        case CannotTell(message=message):
            return CallConfirmed(call.call_id, "cannot_tell", message[:2000])


def trust_of(contract: ToolContract | None) -> dict[str, str]:
    """Return the declared trust of every output field, as events carry it."""
    return {name: str(trust) for name, trust in contract.output_trust.items()} if contract else {}
