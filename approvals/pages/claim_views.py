"""Claim, release, assign, hold and bring back one proposal; keep a lease while its card is looked at."""

from datetime import timedelta
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from agentops.runs.pages import is_fragment, unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from approvals.cards.card import Draft, Notice
from approvals.models import Proposal
from approvals.pages.forms import AssignForm, HoldForm
from approvals.pages.proposal_pages import card_answer, fetch
from approvals.queue import claims

# Of each: 200 with the card (htmx) or a redirect to its page; 403; 409 when it is decided or expired; 422 when it lacks
# something; 423 when somebody else has it and no reason was given. All but the first change nothing, and show why.


@require_POST
@require("proposal.decide")
def claim(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Make a proposal one's own for the time being; `reason` takes it over from somebody."""
    fetch(pk)
    outcome = claims.claim(proposal_id=pk, actor=request.actor, reason=request.POST.get("reason", ""))
    return _answer(request, pk, outcome, "It is yours. Nobody else decides it while you look at it.")


@require_POST
@require("proposal.decide")
def release(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Give back what one has."""
    fetch(pk)
    return _answer(request, pk, claims.release(proposal_id=pk, actor=request.actor), "It is anybody's again.")


@require_POST
@require("proposal.decide")
def assign(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Say whose it is: `to` is a user name, `reason` why."""
    found, form = fetch(pk), AssignForm(request.POST)
    if not form.is_valid():
        return _refused(request, found, _first(form), open_="assign")
    said = form.cleaned_data
    outcome = claims.assign(proposal_id=pk, actor=request.actor, to=said["to"], reason=said["reason"])
    return _answer(request, pk, outcome, f"It is {said['to']}'s now.", open_="assign")


@require_POST
@require("proposal.decide")
def hold(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Put it off by `minutes`, with a `reason`."""
    found, form = fetch(pk), HoldForm(request.POST)
    if not form.is_valid():
        return _refused(request, found, _first(form), open_="hold")
    said = form.cleaned_data
    until = timezone.now() + timedelta(minutes=said["minutes"])
    outcome = claims.hold(proposal_id=pk, actor=request.actor, until=until, reason=said["reason"])
    return _answer(request, pk, outcome, "Put off. It comes back by itself; its deadline goes on.", open_="hold")


@require_POST
@require("proposal.decide")
def resume(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Bring it back at once."""
    fetch(pk)
    return _answer(request, pk, claims.resume(proposal_id=pk, actor=request.actor), "It is back in the queue.")


@require_POST
@require("proposal.decide")
def renew(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Keep one's lease: JSON {"until"}, or 409 {"code": "taken"|"closed"|"lost", "by"?} when it is not one's own."""
    fetch(pk)
    match claims.renew(proposal_id=pk, actor=request.actor):
        case claims.Done(until=until) if until is not None:
            return unstored(JsonResponse({"until": until.isoformat()}))
        case claims.Taken(by=by):
            return unstored(JsonResponse({"code": "taken", "by": by}, status=409))
        case claims.Closed(status=status):
            return unstored(JsonResponse({"code": "closed", "status": status}, status=409))
        case _:
            return unstored(JsonResponse({"code": "lost"}, status=409))


def _answer(
    request: TenantRequest, pk: UUID, outcome: claims.Outcome, done: str, *, open_: str = "take"
) -> HttpResponse:
    found = fetch(pk)
    match outcome:
        case claims.Done():
            if is_fragment(request):
                return card_answer(request, found, Notice("ok", done), status=200)
            messages.success(request, done)
            return unstored(redirect("proposal", pk))
        case claims.Taken(by=by, until=until):
            held = f"{by} has this until {until:%H:%M:%S} UTC." if until is not None else f"This is {by}'s."
            notice = Notice("error", held, "Nothing was changed. To take it over, say why.")
            return card_answer(request, found, notice, _draft(request, open_), status=423)
        case claims.Closed(status=status):
            notice = Notice("error", f"This is {status} already.", "Nothing was changed.")
            return card_answer(request, found, notice, status=409)
        case claims.Refused(message=message):
            return _refused(request, found, message, open_=open_)
        case claims.MayNot(message=message):
            return card_answer(request, found, Notice("error", "You may not do this.", message), status=403)


def _refused(request: TenantRequest, found: Proposal, message: str, *, open_: str) -> HttpResponse:
    notice = Notice("error", "Nothing was changed.", message)
    return card_answer(request, found, notice, _draft(request, open_), status=422)


def _draft(request: TenantRequest, open_: str) -> Draft:
    posted = request.POST
    values = {name: str(posted.get(name, ""))[:150] for name in ("to", "minutes")}
    return Draft(note=str(posted.get("reason", ""))[:2_000], values=values, open=open_)


def _first(form: forms.Form) -> str:
    return str(next(iter(form.errors.values()))[0])
