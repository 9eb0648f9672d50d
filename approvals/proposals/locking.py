"""The one lock that everybody takes who changes what people see of a run: its stream."""

from uuid import UUID

from django.db import connection

from agentops.audit.models import Stream
from agentops.runs.recording import stream_of
from agentops.tenancy.prepared import fetch
from agentops.tenancy.scope import current_tenant_id
from approvals.models import Proposal


def lock_run(run_id: UUID) -> None:
    """Hold everybody off the run until the transaction ends. Taken before rows of its proposals and grants."""
    list(Stream.objects.select_for_update().filter(name=stream_of(run_id)).values_list("pk"))


def lock_run_of(proposal_id: UUID) -> None:
    """Hold everybody off the run of a proposal likewise. Raises `Proposal.DoesNotExist`."""
    if connection.vendor == "postgresql":
        tenant = current_tenant_id()
        if not fetch(_OF_PROPOSAL, [tenant, tenant, proposal_id]):
            raise Proposal.DoesNotExist
        return
    lock_run(Proposal.objects.values_list("run_id", flat=True).get(pk=proposal_id))


_OF_PROPOSAL = """
select id from audit_stream where tenant_id = %s
    and name = (select 'run:' || run_id from approvals_proposal where tenant_id = %s and id = %s)
for update
"""
