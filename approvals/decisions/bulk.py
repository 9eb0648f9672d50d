"""Reject many proposals at once, with one reason. Approving is done one by one; rejecting is always cheaper."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import DatabaseError

from agentops.tenancy.access import Actor
from approvals.decisions.deciding import reject
from approvals.models import Proposal, RejectScope
from approvals.proposals.outcomes import Outcome

logger = logging.getLogger(__name__)

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

    def __str__(self) -> str:
        return f"{self.proposal_id}:{self.version}:{self.digest}"


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """The record did not take it, so it is as it was."""


def reject_many(
    *,
    chosen: Sequence[Chosen],
    actor: Actor,
    reason_code: str,
    note: str,
    scope: str = RejectScope.STEP,
    retry: bool = True,
) -> list[tuple[Chosen, Outcome | Unrecorded | None]]:
    """Reject each of up to 100 proposals in a transaction of its own; return what became of each, in order.

    None stands for an id of no proposal in the tenant. One that cannot be rejected does not keep the others.
    """
    told: list[tuple[Chosen, Outcome | Unrecorded | None]] = []
    for one in chosen[:MOST]:
        try:
            outcome: Outcome | Unrecorded | None = reject(
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
        except DatabaseError:
            logger.exception("the rejection of proposal %s could not be recorded", one.proposal_id)
            outcome = Unrecorded()
        told.append((one, outcome))
    return told
