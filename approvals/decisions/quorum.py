"""Several people approve what is critical, none of them knowing what the others said.

Votes count for the version they were given on, so an edit voids them, and for as long as whoever gave them may decide.
What an earlier approver wrote is sealed until the last one has spoken: it stands in no event and on no card until then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F

from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy.access import Actor, roles_with
from agentops.tenancy.models import Membership
from agentops.wire.parse import JSONObject, clean_text
from approvals.assessing.ladder import Rung
from approvals.models import Decision, Proposal, Verdict
from approvals.proposals.opening import person_of
from approvals.proposals.outcomes import Forbidden, Seconded

ONCE_EACH = "once_each"


@dataclass(frozen=True, slots=True)
class Enough:
    """With this person's approval there are enough; `others` are those who approved before, oldest first."""

    others: tuple[Decision, ...]

    def to_json(self) -> list[JSONObject]:
        """Return what the event says about the others."""
        return [
            {"by": one.user.get_username(), "at": one.at.isoformat(), "note": one.note, "view": str(one.view or "")}
            for one in self.others
        ]


def votes_on(proposal: Proposal) -> Sequence[Decision]:
    """Return the approvals that count on the version at hand, without the one that closed it. No query without any."""
    if not proposal.votes:
        return ()
    counted = Decision.objects.filter(proposal=proposal, version=proposal.version, final=False, undone_at__isnull=True)
    able = Membership.objects.filter(role__in=roles_with("proposal.decide")).values("user_id")
    counted = counted.filter(user__in=able, user__is_active=True)
    return tuple(counted.select_related("user").order_by("at", "id"))


def enough(proposal: Proposal, *, people: int, role: str) -> bool:
    """Say whether as many people as `people`, all of them of `role`, have approved the version at hand. Two queries."""
    given = Decision.objects.filter(proposal=proposal, version=proposal.version, undone_at__isnull=True)
    approved = set(given.exclude(verdict=Verdict.REJECT).values_list("user_id", flat=True))
    if len(approved) < people:
        return False
    if not role:
        return True
    of_role = Membership.objects.filter(user__in=approved, role=role).values_list("user_id", flat=True)
    return approved <= set(of_role)


def void_without(proposal: Proposal, role: str, *, now: datetime) -> None:
    """Void the approvals of people without a role that the policy asks for by now. Must run inside `atomic`."""
    of_role = Membership.objects.filter(role=role).values("user_id")
    given = Decision.objects.filter(proposal=proposal, undone_at__isnull=True).exclude(verdict=Verdict.REJECT)
    given.exclude(user__in=of_role).update(undone_at=now)


def second(
    proposal: Proposal, actor: Actor, note: str, rung: Rung, *, view: UUID, record: JSONObject, now: datetime
) -> Enough | Seconded | Forbidden:
    """Count one person's approval, or say that with it there are enough.

    Must run inside `atomic`, under the run's lock. Nothing is written when there are enough.
    """
    if rung.approvers <= 1:
        return Enough(())
    votes = votes_on(proposal)
    if any(vote.user_id == actor.user_id for vote in votes):
        return Forbidden(ONCE_EACH)
    if len(votes) + 1 >= rung.approvers:
        return Enough(tuple(votes))
    Decision.objects.create(
        proposal=proposal,
        version=proposal.version,
        verdict=Verdict.APPROVE,
        user_id=person_of(actor),
        note=clean_text(note.strip()),
        digest=proposal.digest,
        at=now,
        final=False,
        view=view,
    )
    Proposal.objects.filter(pk=proposal.pk).update(votes=F("votes") + 1)
    record_in_tenant_stream(
        "proposal.seconded",
        {
            "run": str(proposal.run_id),
            "call_id": proposal.call_id,
            "version": proposal.version,
            "digest": proposal.digest,
            "view": record,
        },
        subject=("proposal", str(proposal.pk)),
        actor=actor,
    )
    return Seconded(proposal.pk, len(votes) + 1, rung.approvers, now)
