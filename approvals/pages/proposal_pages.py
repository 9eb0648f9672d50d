"""Answer with the card of one proposal: as a page, or for htmx as its fragment."""

from uuid import UUID

from django.http import Http404, HttpResponse

from agentops import clock
from agentops.runs.pages import answer
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.step_up import proofs
from approvals.cards.card import Draft, Notice, card_of
from approvals.cards.readings import note_reading
from approvals.decisions.sight import Sight
from approvals.models import Proposal
from approvals.queue import selectors


def fetch(pk: UUID | None) -> Proposal:
    """Return a proposal with everything its card names; 404 for an id of none in the tenant."""
    found = selectors.find(pk) if pk is not None else None
    if found is None:
        raise Http404
    return found


def card_answer(
    request: TenantRequest,
    found: Proposal,
    notice: Notice | None = None,
    draft: Draft | None = None,
    *,
    status: int,
    sight: Sight | None = None,
    intent: str = "",
) -> HttpResponse:
    """Render the card of what `fetch` returned; `intent` is a verdict that waits until its person has proved who it is.

    That this person has been shown it is noted, unless something went wrong.
    """
    if status == 200:
        note_reading(found, request.actor, clock.now())
    card = card_of(found, request.actor, notice=notice, draft=draft, sight=sight)
    context = {"card": card | {"intent": intent}} | ({"proof": proofs(request)} if intent else {})
    return answer(request, "approvals/proposal.html", "approvals/_card.html", context, status=status)
