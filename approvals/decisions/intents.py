"""A verdict that waits while its person says who they are: signed, so that it goes on as it was without being typed
again, and cannot be changed on the way."""

from datetime import timedelta
from typing import Final

from django.core import signing
from django.http import QueryDict

from agentops.factors import Way
from agentops.tenancy.requests import TenantRequest
from approvals.models import Proposal

SALT: Final = "approvals.intent"
LASTS: Final = timedelta(minutes=10)


def sign_intent(request: TenantRequest, proposal: Proposal, posted: QueryDict) -> str:
    """Return the signed text of what somebody posted as a verdict on a proposal."""
    kept = posted.copy()
    for name in ("csrfmiddlewaretoken", *Way, "intent"):
        kept.pop(name, None)
    body = [request.actor.user_id, request.tenant.pk, proposal.pk.hex, kept.urlencode()]
    return signing.dumps(body, salt=SALT, compress=True)


def read_intent(request: TenantRequest, proposal: Proposal, text: str) -> QueryDict | None:
    """Return what was posted; None unless this person posted it about this proposal within the last ten minutes."""
    try:
        body = signing.loads(text, salt=SALT, max_age=LASTS)
    except (signing.BadSignature, ValueError):
        return None
    match body:
        case [int(user), int(tenant), str(found), str(posted)]:
            mine = (user, tenant, found) == (request.actor.user_id, request.tenant.pk, proposal.pk.hex)
            return QueryDict(posted) if mine else None
        case _:
            return None
