"""The page of one proposal, and the decision."""

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agentops.runs.pages import is_fragment, unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from approvals import claims, selectors, services
from approvals.answers import Answer, answer_to, headline, incomplete, leased
from approvals.card import Draft, Notice
from approvals.filters import BadFilter, Filters, parse
from approvals.forms import DecisionForm, read_edit, typed_values
from approvals.models import Proposal, Status
from approvals.proposal_pages import card_answer as _card_answer
from approvals.proposal_pages import fetch as _found
from tools.registry import registry


@require_safe
@require("proposal.view")
def proposal(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show one proposal: a page, or for htmx the card. Context: `card` (`card.card_of`)."""
    return _card_answer(request, _found(pk), status=200)


@require_POST
@require("proposal.view")
def decide(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Take a person's verdict on the version and digest they saw.

    200 with the next card (htmx) or a redirect to the queue; 409 when somebody was first or the proposal has changed;
    410 when it has expired or was withdrawn; 423 while somebody else has it; 422 when the verdict cannot be taken as it
    is; 403 when this person may not, with the rule. All but the first show the proposal as it is now, with what was
    typed.
    """
    found = _found(pk)
    form = DecisionForm(request.POST)
    draft = _draft(request.POST)
    if (taken := claims.taken_by_another(found, request.actor, timezone.now())) is not None:
        return _refuse(request, found, leased(taken, draft))
    if not form.is_valid():
        return _refuse(request, found, incomplete(draft, {n: str(e[0]) for n, e in form.errors.items() if n == "note"}))
    outcome = _verdict(request, found, form.cleaned_data, draft)
    if isinstance(outcome, Answer):
        return _refuse(request, found, outcome)
    now = _found(pk)
    if isinstance(outcome, services.Decided):
        return _decided(request, now, headline(outcome, now.tool))
    return _refuse(request, now, answer_to(outcome, now, draft, request.actor.name))


def _draft(posted: QueryDict) -> Draft:
    return Draft(
        reason_code=str(posted.get("reason_code", ""))[:40],
        note=str(posted.get("note", ""))[:20_000],
        values=typed_values({name: str(posted[name]) for name in posted}),
        open={"edit": "edit", "reject": "reject"}.get(str(posted.get("decision", "")), ""),
    )


def _verdict(request: TenantRequest, found: Proposal, said: dict[str, Any], draft: Draft) -> services.Outcome | Answer:
    version, digest, note, actor = said["version"], said["args_digest"], said["note"], request.actor
    match said["decision"]:
        case "approve":
            return services.approve(proposal_id=found.pk, actor=actor, version=version, digest=digest, note=note)
        case "edit":
            contract = registry.get(found.tool, found.contract_version)
            edit = read_edit(contract, found.argument_values, draft.values)
            if edit.errors and (found.version, found.digest) == (version, digest):
                return incomplete(draft, dict(edit.errors))
            return services.edit_and_approve(
                proposal_id=found.pk, actor=actor, version=version, digest=digest, arguments=edit.arguments, note=note
            )
        case _:
            return services.reject(
                proposal_id=found.pk,
                actor=actor,
                version=version,
                digest=digest,
                reason_code=said["reason_code"],
                note=note,
            )


def _refuse(request: TenantRequest, found: Proposal, told: Answer) -> HttpResponse:
    return _card_answer(request, found, told.notice, told.draft, status=told.status)


def _decided(request: TenantRequest, found: Proposal, title: str) -> HttpResponse:
    """Go on: to the queue without scripts, to the next card in the queue, or stay where there is no queue.

    Who was served the proposal is served the next one.
    """
    if not is_fragment(request):
        messages.success(request, title)
        if request.POST.get("back") == "together":  # leads on to the run once nothing of it waits any more
            return unstored(redirect("together", pk=found.run_id))
        return unstored(redirect("queue"))
    filters = filters_of_the_page(request)
    following = _next(request, found, filters) if filters is not None else None
    if following is None:
        return _card_answer(request, found, Notice("ok", title), status=200)
    decided_url = reverse("proposal", args=[found.pk])
    notice = Notice("ok", title, "This is the next one.", url=decided_url, link="See what was decided")
    return _card_answer(request, following, notice, status=200)


def _next(request: TenantRequest, found: Proposal, filters: Filters) -> Proposal | None:
    if found.served_at is not None and found.leased_by_id == request.actor.user_id:
        served = claims.serve_next(actor=request.actor, filters=filters)
        return _found(served.proposal_id) if isinstance(served, claims.Done) else None
    following = selectors.next_after(found, filters, now=timezone.now())
    return _found(following.pk) if following is not None else None


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
