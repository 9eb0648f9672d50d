"""Whether the index of what waiting proposals are found by is whole, and how it is made again when it is not.

PostgreSQL keeps no log of the table `ProposalTerm` (it is unlogged): everything in it follows from proposals, which are
durable, and its log would be the largest of a proposal. When the database server has crashed, or a standby has taken
over, the table is empty, and so is the table that says it is whole, which is unlogged too. Until the sweeper has made
the index again, a filter of words or arguments looks at every proposal that waits: it finds the same, more slowly.

SQLite forgets nothing.
"""

from typing import Final
from uuid import UUID

from django.db import connection, transaction

from agentops.tenancy.prepared import fetch
from agentops.tenancy.scope import current_tenant_id

PIECE: Final = 500
"""So many proposals are held in one transaction. Holding one keeps others from deciding it, for that moment."""

PIECES: Final = 20


def whole() -> bool:
    """Say whether every proposal of the open tenant that waits is in the index. One query."""
    return connection.vendor != "postgresql" or bool(fetch(_WHOLE, [current_tenant_id()]))


def mend(pieces: int = PIECES, size: int = PIECE) -> int:
    """Go on making the index of the open tenant whole, so many pieces; return how many proposals were put into it.

    Safe to repeat, to interrupt and to run several times at once: of those that meet, one works. One query when the
    index is whole.
    """
    if whole():
        return 0
    added = 0
    for _ in range(pieces):
        with transaction.atomic():
            one = _piece(size)
        if not one:
            break
        added += one
    return added


def _piece(size: int) -> int:
    """Put the next piece into the index; return how many proposals that were, 0 when there is nothing to do now."""
    tenant = current_tenant_id()
    fetch(_BEGIN, [tenant])
    taken = fetch(_TAKE, [tenant])
    if not taken:
        return 0
    run, call = taken[0]
    found = fetch(_NEXT, [tenant, run, call, size])
    if not found:
        fetch(_END, [tenant])
        return 0
    held: set[UUID] = {row[0] for row in fetch(_ADD, [tenant, [row[0] for row in found], tenant])}
    for proposal, its_run, its_call in found:
        # Somebody is changing this one, and may leave its terms as they are. Go no further until they are done.
        if proposal not in held:
            break
        run, call = its_run, its_call
    fetch(_GO_ON, [run, call, tenant])
    return len(held) if (run, call) != taken[0] else 0


_WHOLE: Final = "select 1 from approvals_termindex where tenant_id = %s and whole"
_BEGIN: Final = """
insert into approvals_termindex (tenant_id, upto_run, upto_call, whole)
values (%s, '00000000-0000-0000-0000-000000000000', '', false) on conflict do nothing
"""
_TAKE: Final = """
select upto_run, upto_call from approvals_termindex where tenant_id = %s and not whole for update skip locked
"""
# In the order of the index `proposal_one_open_per_call`.
_NEXT: Final = """
select id, run_id, call_id from approvals_proposal
where tenant_id = %s and status = 'pending' and (run_id, call_id) > (%s, %s) order by run_id, call_id limit %s
"""
# A proposal that changes meanwhile waits for this transaction, and its trigger then finds what was put in here.
_ADD: Final = """
with held as (
    select id, terms from approvals_proposal
    where tenant_id = %s and id = any(%s) and status = 'pending' for share skip locked
), added as (
    insert into approvals_proposalterm (tenant_id, term, proposal_id)
    select %s, term, id from held, jsonb_array_elements_text(terms) as term on conflict do nothing
)
select id from held
"""
_GO_ON: Final = "update approvals_termindex set upto_run = %s, upto_call = %s where tenant_id = %s"
_END: Final = "update approvals_termindex set whole = true where tenant_id = %s"
