"""Separation of duties: who may not approve this, whatever they have read."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import CharField, Q, QuerySet
from django.db.models.functions import Cast

from agentops.audit.models import Event
from agentops.changes.models import TOOK_EFFECT, ChangeStatus
from agentops.tenancy.access import Actor
from agentops.tenancy.prepared import Query
from approvals.assessing.ladder import POLICY_REST, Rung
from approvals.models import Handling, PolicyVersion, Proposal
from tools.allowing import differences_of
from tools.models import AllowlistChange, AllowlistEntry, HostChange
from tools.promises import Sink
from tools.registry import registry

SELF_APPROVAL = "self_approval"
OWN_POLICY = "own_policy"
OWN_EDIT = "own_edit"
NEEDS_ROLE = "needs_role"


def conflict(proposal: Proposal, actor: Actor, rung: Rung, *, now: datetime, rested: bool = True) -> str:
    """Return the rule that keeps this person from approving, empty if none does.

    Queries only from High upwards, unless `rested` is off, and for proposals that were edited.
    """
    own = proposal.requested_by_id is not None and proposal.requested_by_id == actor.user_id
    if own and not proposal.task_type.allow_self_approval:
        return SELF_APPROVAL
    if lacks_role(proposal, actor):
        return NEEDS_ROLE
    if rested and rung.rested and (_changed_the_rules(proposal, actor, now) or _listed_a_host(proposal, actor, now)):
        return OWN_POLICY
    if rung.approvers > 1 and proposal.handled and _edited_it(proposal, actor):
        return OWN_EDIT
    return ""


def lacks_role(proposal: Proposal, actor: Actor) -> bool:
    """Say whether the proposal has been escalated to people of a role that this person does not have."""
    return bool(proposal.needs_role) and proposal.needs_role not in actor.roles


def _changed_the_rules(proposal: Proposal, actor: Actor, now: datetime) -> bool:
    since = now - POLICY_REST
    kind = proposal.task_type_id
    if _CHANGED(kind, str(kind), proposal.tool, actor.id, since):
        return True
    cell = (kind, proposal.tool)
    widened = _WIDENED(actor.user_id, since)
    if any(cell == (one.task_type_id, one.tool) for row in widened for one in differences_of(row)):
        return True
    return bool(_PUBLISHED(actor.user_id, since, now))


def _changed(kind: Any, named: Any, tool: Any, who: Any, since: Any) -> "QuerySet[Event, tuple[int]]":
    """Changes that somebody made of what applies to a kind of work, or to a tool in it."""
    entries = AllowlistEntry.objects.filter(task_type_id=kind, tool=tool).values(name=Cast("pk", CharField()))
    rules = Q(type="admin.changed", subject_kind="tasktype", subject_id=named)
    rules |= Q(type="allowlist.changed", subject_kind="allowlistentry", subject_id__in=entries)
    # What the whole tenant lets out, and what its guardrails look for, is said for this kind of work as well.
    rules |= Q(type="admin.changed", subject_kind__in=("outputrules", "screening"))
    return Event.objects.filter(rules, actor_kind="user", actor_id=who, at__gt=since).values_list("pk")[:1]


def _widened(who: Any, since: Any) -> "QuerySet[AllowlistChange]":
    return AllowlistChange.objects.filter(proposed_by=who, status=ChangeStatus.ACTIVE, decided_at__gt=since)


def _published(who: Any, since: Any, now: Any) -> "QuerySet[PolicyVersion, tuple[UUID]]":
    """Of a policy both who proposed it and who published it; the rules of it that apply to the call may be any."""
    policies = PolicyVersion.objects.filter(status__in=TOOK_EFFECT, effective_at__gt=since, effective_at__lte=now)
    return policies.filter(Q(proposed_by=who) | Q(decided_by=who)).values_list("pk")[:1]


_CHANGED: Final = Query(_changed)
_WIDENED: Final = Query(_widened)
_PUBLISHED: Final = Query(_published)


def _listed_a_host(proposal: Proposal, actor: Actor, now: datetime) -> bool:
    """Say whether the person lately let hosts be asked, and the call asks one."""
    contract = registry.get(proposal.tool, proposal.contract_version)
    if contract is None or Sink.HTTP not in contract.promises.sinks:
        return False
    since = now - POLICY_REST
    allowed = Event.objects.filter(type="host.allowed", actor_kind="user", actor_id=actor.id, at__gt=since)
    widened = HostChange.objects.filter(proposed_by=actor.user_id, status=ChangeStatus.ACTIVE, decided_at__gt=since)
    return allowed.exists() or widened.exists()


def _edited_it(proposal: Proposal, actor: Actor) -> bool:
    # Of the call: it may have been asked about before, under another proposal.
    same = Proposal.objects.filter(run=proposal.run_id, call_id=proposal.call_id)
    edits = Handling.objects.filter(proposal__in=same, kind=Handling.Kind.EDIT, version=proposal.version)
    return edits.filter(user_id=actor.user_id or 0).exists()
