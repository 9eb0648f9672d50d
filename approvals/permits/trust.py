"""Scoped trust: calls like one that a senior has approved need no person again, for one run or some hours.

It covers the same tool, the same contract and the same authority arguments, and lifts the allowlist's wish for a person
alone: never a sensitive class, an untrusted target, readers, or a rule of the policy (`gating.gate`). It ends with
the approval that it was given after, when that is taken back, and when whoever gave it is no senior any more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy import proof
from agentops.tenancy.access import Actor, can
from agentops.tenancy.models import Membership
from agentops.tenancy.prepared import Query
from agentops.tenancy.proof import StepUpNeeded
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON
from approvals.assessing.ladder import rung_for
from approvals.models import Proposal, ScopedTrust, Status
from tools.contracts import ToolContract
from tools.registry import registry

SENIOR: Final = "senior"
THIS_RUN: Final = "run"
HOURS: Final = (1, 4, 24)
LONGEST_RUN: Final = timedelta(days=7)
"""How long trust within one run lasts at most."""
LATELY: Final = 200


@dataclass(frozen=True, slots=True)
class Trust:
    """One trust as the gate's callers see it."""

    id: UUID
    task_type_id: int
    run_id: UUID | None
    tool: str
    contract_digest: str
    authority: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Given:
    """The trust counts from now on."""

    trust_id: UUID
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Revoked:
    """It does not count any more."""

    trust_id: UUID


@dataclass(frozen=True, slots=True)
class Refused:
    """Not possible: `code` is role, not_yours, several, sensitive, untrusted, no_target, gone, scope, given or over."""

    code: str
    message: str


def in_force(now: datetime) -> tuple[Trust, ...]:
    """Return the trusts of the open tenant that count now. One query."""
    return tuple(Trust(*row) for row in _IN_FORCE(now))


def _in_force(now: Any) -> "QuerySet[ScopedTrust, tuple[Any, ...]]":
    columns = ("id", "task_type_id", "run_id", "tool", "contract_digest", "authority", "ends_at")
    return _counting(now).order_by("id").values_list(*columns)


def _counting(now: Any) -> "QuerySet[ScopedTrust]":
    """Return the trusts that count: their approval stands as it did, and whoever gave them still could."""
    rows = ScopedTrust.objects.filter(revoked_at__isnull=True, ends_at__gt=now)
    rows = rows.filter(proposal__status=Status.APPROVED, proposal__decided_at__lte=F("given_at"))
    seniors = Membership.objects.filter(role=SENIOR).values("user_id")
    return rows.filter(given_by__in=seniors, given_by__is_active=True)


_IN_FORCE: Final = Query(_in_force)


def trusted_by(rule: str) -> str:
    """Return the id of the trust that a rule of the gate names (`gate.Auto.rule`), empty if it names none. Pure."""
    return rule.removeprefix(_NAMED) if rule.startswith(_NAMED) else ""


_NAMED: Final = "trust."


def still_counts(trust_id: str, now: datetime) -> bool:
    """Say whether a trust of the open tenant counts at a moment, as the database knows it by now. One query."""
    return _counting(now).filter(pk=trust_id).exists()


def covering(
    trusts: Iterable[Trust],
    *,
    task_type_id: int,
    run_id: UUID,
    contract: ToolContract | None,
    arguments: JSON,
    now: datetime,
) -> str:
    """Return the id of a trust that covers a call, empty if none does. Pure."""
    if contract is None:
        return ""
    for one in trusts:
        same = (one.tool, one.contract_digest, one.task_type_id) == (contract.name, contract.digest, task_type_id)
        if (
            same
            and one.run_id in (None, run_id)
            and now < one.ends_at
            and one.authority == authority(contract, arguments)
        ):
            return str(one.id)
    return ""


def authority(contract: ToolContract, arguments: JSON) -> str:
    """Return the canonical text of the authority arguments, empty where there are none."""
    found = {name: arguments[name] for name in contract.authority if isinstance(arguments, dict) and name in arguments}
    return canonical(found) if found else ""


def possible(proposal: Proposal, actor: Actor) -> Refused | None:
    """Say why this person cannot trust calls like this one; None if they can."""
    contract = registry.get(proposal.tool, proposal.contract_version)
    if SENIOR not in actor.roles or not can(actor, "proposal.decide"):
        return Refused("role", "Only seniors trust calls without asking again.")
    if proposal.status != Status.APPROVED or proposal.decided_by_id != actor.user_id:
        return Refused("not_yours", "You can trust only what you have approved yourself.")
    if rung_for(proposal).approvers > 1:
        return Refused("several", "Several people had to agree to it: none of them alone trusts the next one.")
    if contract is None or contract.digest != proposal.contract_digest:
        return Refused("gone", "The tool has changed since.")
    if contract.sensitivity:
        return Refused(
            "sensitive", "A sensitive call always goes to a person, unless a bounded rule of the policy lets it."
        )
    if proposal.attacked:
        return Refused("untrusted", "Untrusted text decides where it goes: each such call goes to a person.")
    if not authority(contract, proposal.argument_values):
        return Refused("no_target", "It has no target that calls could have in common.")
    return None


def give(*, proposal_id: UUID, scope: str, actor: Actor, now: datetime | None = None) -> Given | Refused | StepUpNeeded:
    """Trust calls like an approved one: `scope` is `run`, or the number of hours. The person has just proved who it is.

    Raises `Proposal.DoesNotExist` for an id of no proposal in the tenant.
    """
    moment = now or clock.now()
    proposal = Proposal.objects.get(pk=proposal_id)
    if (refused := possible(proposal, actor)) is not None:
        return refused
    if scope != THIS_RUN and scope not in {str(hours) for hours in HOURS}:
        return Refused("scope", "Choose this run, or for how many hours.")
    if (unproved := proof.missing(actor)) is not None:
        return unproved
    contract = registry.get(proposal.tool, proposal.contract_version)
    assert contract is not None
    assert actor.user_id is not None
    ends_at = moment + (LONGEST_RUN if scope == THIS_RUN else timedelta(hours=int(scope)))
    covered = authority(contract, proposal.argument_values)
    try:
        with transaction.atomic():
            row = ScopedTrust.objects.create(
                proposal=proposal,
                task_type_id=proposal.task_type_id,
                run_id=proposal.run_id if scope == THIS_RUN else None,
                tool=proposal.tool,
                contract_digest=proposal.contract_digest,
                authority=covered,
                given_by_id=actor.user_id,
                given_at=moment,
                ends_at=ends_at,
            )
            record_in_tenant_stream(
                "trust.given",
                {
                    "proposal": str(proposal.pk),
                    "tool": proposal.tool,
                    "authority": covered,
                    "run": str(row.run_id or ""),
                    "ends_at": ends_at.isoformat(),
                },
                subject=("trust", str(row.pk)),
                actor=actor,
            )
    except IntegrityError:
        return Refused("given", "Calls like this one have been trusted already.")
    return Given(row.pk, ends_at)


def revoke(*, trust_id: UUID, actor: Actor, now: datetime | None = None) -> Revoked | Refused | None:
    """End a trust at once; whatever it has granted and has not started does not start. None if there is no such trust.

    Anybody who decides proposals or manages the tenant may.
    """
    if not (can(actor, "proposal.decide") or can(actor, "admin.manage")) or actor.user_id is None:
        return Refused("role", "Only those who decide, and admins, end a trust.")
    with transaction.atomic():
        moment = now or clock.now()
        open_ones = ScopedTrust.objects.filter(pk=trust_id, revoked_at__isnull=True)
        if not open_ones.update(revoked_at=moment, revoked_by_id=actor.user_id):
            gone = ScopedTrust.objects.filter(pk=trust_id).exists()
            return Refused("over", "It was revoked already.") if gone else None
        record_in_tenant_stream("trust.revoked", {}, subject=("trust", str(trust_id)), actor=actor)
    return Revoked(trust_id)


def reach(proposal: Proposal) -> tuple[int, int]:
    """Return how many of the newest proposals of this tool and task type had the same targets, and of how many."""
    contract = registry.get(proposal.tool, proposal.contract_version)
    if contract is None:
        return 0, 0
    wanted = authority(contract, proposal.argument_values)
    rows = Proposal.objects.filter(tool=proposal.tool, task_type_id=proposal.task_type_id).exclude(pk=proposal.pk)
    found = list(rows.only("arguments").order_by("-created_at")[:LATELY])
    return sum(authority(contract, one.argument_values) == wanted for one in found), len(found)
