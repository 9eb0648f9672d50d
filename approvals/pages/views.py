"""The page of one proposal, and the decision."""

import logging
from typing import Any, TypedDict
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from django.contrib import messages
from django.db import DatabaseError
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agentops import clock
from agentops.proving import Proved, proved
from agentops.runs.pages import is_fragment, unstored
from agentops.tenancy.access import Actor, require
from agentops.tenancy.people import called
from agentops.tenancy.requests import TenantRequest
from approvals import services
from approvals.cards.card import Draft, Notice
from approvals.cards.readings import note_reading
from approvals.decisions.friction import Evidence, acted_on, shown_again
from approvals.decisions.intents import sign_intent
from approvals.models import Proposal, Status
from approvals.pages.answers import Answer, answer_to, headline, incomplete, unrecorded
from approvals.pages.forms import DecisionForm, brought
from approvals.pages.proposal_pages import card_answer, fetch
from approvals.proposals.outcomes import StepUpNeeded
from approvals.queue import claims, selectors
from approvals.queue.filters import BadFilter, Filters, parse
from approvals.values.entries import read_edit, typed_values
from tools.registry import registry

logger = logging.getLogger(__name__)


@require_safe
@require("proposal.view")
def proposal(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show one proposal: a page, or for htmx the card. Context: `card` (`card.card_of`)."""
    return card_answer(request, fetch(pk), status=200)


@require_POST
@require("proposal.view")
def decide(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Take a person's verdict on the version and digest they saw.

    200 with the next card (htmx) or a redirect to the queue; 202 when others have to agree as well; 409 when somebody
    was first or the proposal has changed; 410 when it has expired or was withdrawn; 412 when what it would touch has
    changed; 422 when a gate of the band is not open or the verdict cannot be taken as it is; 423 while somebody else
    has it; 428 when the person has to say who they are first; 403 when this person may not, with the rule; 503 when
    nothing can be recorded. All but the first show the proposal as it is now, with what was typed.
    """
    return take(request, pk, request.POST, proved(request))


def take(request: TenantRequest, pk: UUID, posted: QueryDict, proof: Proved) -> HttpResponse:
    """Take a verdict as it was posted; `proof` is when its person last proved who they are."""
    form = DecisionForm(posted)
    draft = _draft(posted)
    if not form.is_valid():
        wrong = {n: str(e[0]) for n, e in form.errors.items() if n == "note"}
        return _refuse(request, pk, incomplete(draft, wrong), posted)
    try:
        outcome = _verdict(request, pk, form.cleaned_data, draft, brought(posted, proof))
    except Proposal.DoesNotExist:
        raise Http404 from None
    except DatabaseError:
        logger.exception("a verdict on proposal %s could not be recorded", pk)
        return _refuse(request, pk, unrecorded(draft), posted)
    if isinstance(outcome, Answer):
        return _refuse(request, pk, outcome, posted)
    if isinstance(outcome, services.Decided):
        return _decided(request, outcome)
    told = answer_to(outcome, fetch(pk), draft, called(request.user))
    return _refuse(request, pk, told, posted, intent=isinstance(outcome, StepUpNeeded))


def _glance(pk: UUID) -> Proposal:
    found = selectors.glance(pk)
    if found is None:
        raise Http404
    return found


def _draft(posted: QueryDict) -> Draft:
    said = brought(posted)
    decision = str(posted.get("decision", ""))
    return Draft(
        reason_code=str(posted.get("reason_code", ""))[:40],
        scope=str(posted.get("scope", ""))[:10],
        retry=str(posted.get("retry", ""))[:10],
        note=str(posted.get("note", ""))[:20_000],
        values=typed_values({name: str(posted[name]) for name in posted}),
        open=decision if decision in ("edit", "reject") else "",
        answers=said.answers,
        facts=said.facts,
    )


def _verdict(
    request: TenantRequest, pk: UUID, said: dict[str, Any], draft: Draft, evidence: Evidence
) -> services.Outcome | Answer:
    seen = Seen(proposal_id=pk, actor=request.actor, version=said["version"], digest=said["args_digest"])
    match said["decision"]:
        case "approve":
            return services.approve(**seen, note=said["note"], evidence=evidence)
        case "edit":
            found = _glance(pk)
            contract = registry.get(found.tool, found.contract_version)
            edit = read_edit(contract, found.argument_values, draft.values)
            if edit.errors and (found.version, found.digest) == (seen["version"], seen["digest"]):
                return incomplete(draft, dict(edit.errors))
            return services.edit_and_approve(**seen, arguments=edit.arguments, note=said["note"], evidence=evidence)
        case _:
            reach = {"scope": said["scope"], "retry": said["retry"] != "no"}
            return services.reject(**seen, reason_code=said["reason_code"], note=said["note"], **reach)


class Seen(TypedDict):
    """Who answers which version of what."""

    proposal_id: UUID
    actor: Actor
    version: int
    digest: str


def _refuse(request: TenantRequest, pk: UUID, told: Answer, posted: QueryDict, *, intent: bool = False) -> HttpResponse:
    """Show the card with what was typed; it stays the same card, so that its time to read goes on."""
    found = fetch(pk)
    sight = shown_again(found, request.actor, str(posted.get("view_token", "")))
    if sight is not None and not sight.opened:
        note_reading(found, request.actor, clock.now())
        sight = acted_on(sight, clock.now())
    waiting = sign_intent(request, found, posted) if intent else ""
    return card_answer(request, found, told.notice, told.draft, status=told.status, sight=sight, intent=waiting)


def _decided(request: TenantRequest, outcome: services.Decided) -> HttpResponse:
    """Go on: to the queue without scripts, to the next card in the queue, or stay where there is no queue.

    Who was served the proposal is served the next one.
    """
    found = outcome.proposal
    title = headline(outcome, found.tool)
    if not is_fragment(request):
        messages.success(request, title)
        if request.POST.get("back") == "together":  # leads on to the run once nothing of it waits any more
            return unstored(redirect("together", pk=found.run_id))
        return unstored(redirect("queue"))
    filters = filters_of_the_page(request)
    following = _next(request, found, filters) if filters is not None else None
    if following is None:
        return card_answer(request, fetch(found.pk), Notice("ok", title), status=200)
    decided_url = reverse("proposal", args=[found.pk])
    # Whoever has just approved it can take that back.
    undo = reverse("undo", args=[found.pk]) if outcome.release_at is not None else ""
    notice = Notice("ok", title, "This is the next one.", url=decided_url, link="See what was decided", undo_url=undo)
    return card_answer(request, following, notice, status=200)


def _next(request: TenantRequest, found: Proposal, filters: Filters) -> Proposal | None:
    if found.served_at is not None and found.leased_by_id == request.actor.user_id:
        served = claims.serve_next(actor=request.actor, filters=filters)
        return fetch(served.proposal_id) if isinstance(served, claims.Done) else None
    return selectors.next_after(found, filters, now=timezone.now())


def filters_of_the_page(request: TenantRequest) -> Filters | None:
    """Return the filters of the queue page that sent this request; None when it was another page."""
    address = urlsplit(request.headers.get("HX-Current-URL", ""))
    if address.path != reverse("queue"):
        return None
    everything = Filters(me=request.actor.user_id)
    try:
        filters = parse((parse_qs(address.query).get("q") or [""])[0], request.actor.user_id)
    except BadFilter:
        return everything
    return filters if filters.status == Status.PENDING else everything
