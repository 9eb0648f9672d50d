"""Whether what a call would touch is still what its reviewer was shown."""

from datetime import datetime

from agentops.audit.services import record_in_tenant_stream
from agentops.guardrails.provenance import Provenance
from agentops.tenancy.access import Actor
from approvals.assessing.weighing import assessed
from approvals.models import Proposal
from approvals.proposals.ending import close
from approvals.proposals.proposing import risk_columns
from approvals.proposals.search import found_by
from approvals.values.consequence import preview
from tools.registry import registry


def moved(proposal: Proposal, actor: Actor, *, now: datetime) -> tuple[int, str] | None:
    """Ask the tool again what the call would touch; return version and digest of the refreshed proposal if it changed.

    None when it is as it was, or when the contract is gone (the executor refuses that). Must run inside `atomic`, under
    the run's lock. The same arguments keep their digest; the version counts that a person has to look again.
    """
    contract = registry.get(proposal.tool, proposal.contract_version)
    if contract is None:
        return None
    found = preview(contract, proposal.argument_values)
    if found.shown == proposal.consequence:
        return None
    leafwise = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    risk = assessed(
        contract,
        proposal.argument_values,
        leafwise,
        found.consequence,
        task_type_id=proposal.task_type_id,
        now=now,
    )
    changes = {
        "consequence": found.shown,
        **risk_columns(risk),
        "version": proposal.version + 1,
        **found_by(proposal.arguments, proposal.sentence, found.shown),
    }
    if not close(proposal, changes):
        return None
    record_in_tenant_stream(
        "proposal.refreshed",
        {
            "run": str(proposal.run_id),
            "call_id": proposal.call_id,
            "version": proposal.version,
            "digest": proposal.digest,
            "band": proposal.risk_band,
        },
        subject=("proposal", str(proposal.pk)),
        actor=actor,
    )
    return proposal.version, proposal.digest
