"""Reject many proposals at once, with one reason. Approving is done one by one; rejecting is always cheaper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from agentops.tenancy.access import Actor
from approvals.deciding import reject
from approvals.models import Proposal, RejectScope
from approvals.outcomes import Outcome

MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Chosen:
    """One row that was ticked: the version and digest as they stood in the list."""

    proposal_id: UUID
    version: int
    digest: str

    @classmethod
    def parse(cls, text: str) -> "Chosen":
        """Read `<id>:<version>:<digest>`; raises ValueError."""
        proposal_id, version, digest = text.split(":")
        if len(digest) != 64 or not version.isdecimal() or len(version) > 9:
            raise ValueError("a chosen row names version and digest")
        return cls(UUID(proposal_id), int(version), digest)


def reject_many(
    *,
    chosen: Sequence[Chosen],
    actor: Actor,
    reason_code: str,
    note: str,
    scope: str = RejectScope.STEP,
    retry: bool = True,
) -> list[tuple[Chosen, Outcome | None]]:
    """Reject each of up to 100 proposals in a transaction of its own; return what became of each, in order.

    None stands for an id of no proposal in the tenant. One that cannot be rejected does not keep the others.
    """
    told: list[tuple[Chosen, Outcome | None]] = []
    for one in chosen[:MOST]:
        try:
            outcome: Outcome | None = reject(
                proposal_id=one.proposal_id,
                actor=actor,
                version=one.version,
                digest=one.digest,
                reason_code=reason_code,
                note=note,
                scope=scope,
                retry=retry,
            )
        except Proposal.DoesNotExist:
            outcome = None
        told.append((one, outcome))
    return told
