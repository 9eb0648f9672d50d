"""What was shown to whom, when: a signed token that every card carries and every approval has to bring back.

It binds one person to one version and digest of one proposal and to the moment at which the server rendered the card,
and it serves for one verdict. It can be copied, not made: whoever has none was not shown the card. Whether somebody has
read what they were shown is another question; the token is what the reading window is measured from.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from django.core import signing

from agentops.tenancy.access import Actor
from approvals.models import Proposal

SALT: Final = "approvals.sight"
MAX_LENGTH: Final = 1_000
LASTS: Final = timedelta(hours=12)
"""As long as a session: a card that has been open longer has to be opened again."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Sight:
    """One card as it was served. `opened` is False for one that stood there without anybody asking for it."""

    id: UUID
    user_id: int
    tenant_id: int
    proposal_id: UUID
    version: int
    digest: str
    at: datetime
    opened: bool = True

    def token(self) -> str:
        """Return the signed text."""
        body = [
            *(_VERSION, self.id.hex, self.user_id, self.tenant_id, self.proposal_id.hex, self.version, self.digest),
            *(round(self.at.timestamp() * 1000), int(self.opened)),
        ]
        return signing.dumps(body, salt=SALT)


def look(proposal: Proposal, actor: Actor, *, now: datetime, opened: bool = True) -> Sight:
    """Return what this person is shown now: the proposal as it is, on a card that has not served yet."""
    return Sight(
        id=uuid4(),
        user_id=actor.user_id or 0,
        tenant_id=proposal.tenant_id,
        proposal_id=proposal.pk,
        version=proposal.version,
        digest=proposal.digest,
        at=now,
        opened=opened,
    )


def read_sight(token: str) -> Sight | None:
    """Return what a token says, None if it is none of ours."""
    if not token or len(token) > MAX_LENGTH:
        return None
    try:
        match signing.loads(token, salt=SALT):
            case [1, str(view), int(user), int(tenant), str(proposal), int(version), str(digest), int(ms), int(opened)]:
                at = datetime.fromtimestamp(ms / 1000, UTC)
                return Sight(UUID(view), user, tenant, UUID(proposal), version, digest, at, bool(opened))
    except (signing.BadSignature, ValueError, TypeError, OverflowError, OSError):
        pass
    return None


def fits(sight: Sight, proposal: Proposal, actor: Actor) -> bool:
    """Say whether this is what this person saw of the proposal as it is now."""
    shown = (sight.user_id, sight.tenant_id, sight.proposal_id, sight.version, sight.digest)
    return shown == (actor.user_id, proposal.tenant_id, proposal.pk, proposal.version, proposal.digest)
