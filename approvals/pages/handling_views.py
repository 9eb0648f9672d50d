"""Escalating a proposal, giving it more time, and the list of what was escalated."""

from typing import assert_never
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from agentops import clock
from agentops.runs.pages import is_fragment, unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from approvals.cards.card import RULES, Draft, Notice
from approvals.decisions import handling
from approvals.decisions.reminders import on_call_now
from approvals.models import Handling, Proposal, Status
from approvals.pages.forms import ReasonForm
from approvals.pages.proposal_pages import card_answer, fetch

SHOWN = 100


@require_POST
@require("proposal.decide")
def escalate(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Hand a proposal to the seniors. 200 with the card or a redirect to it; 403, 409, 410 or 422 with the reason."""
    found = fetch(pk)
    form = ReasonForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    outcome = handling.escalate(proposal_id=found.pk, actor=request.actor, reason=reason)
    return _told(request, pk, outcome, "Escalated.", "Seniors decide it from now on. Its deadline is as it was.")


@require_POST
@require("proposal.decide")
def extend(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Give a proposal more time. Answers like `escalate`."""
    found = fetch(pk)
    form = ReasonForm(request.POST)
    readable = form.is_valid()
    minutes = form.cleaned_data.get("minutes") if readable else None
    reason = form.cleaned_data["reason"] if readable else ""
    outcome = handling.extend(proposal_id=found.pk, actor=request.actor, minutes=minutes or 0, reason=reason)
    return _told(request, pk, outcome, "It has more time.", "Without a decision it still does not run.")


def _told(request: TenantRequest, pk: UUID, outcome: handling.Outcome, title: str, text: str) -> HttpResponse:
    now = fetch(pk)
    draft = Draft(note=str(request.POST.get("reason", ""))[:20_000], open="handle")
    match outcome:
        case handling.Handled():
            if not is_fragment(request):
                messages.success(request, f"{title} {text}")
                return unstored(redirect("proposal", pk=pk))
            return card_answer(request, now, Notice("ok", title, text), status=200)
        case handling.Closed(status=status):
            gone = status in (Status.EXPIRED, Status.WITHDRAWN)
            notice = Notice("error", "It is too late for that.", f"The proposal is {Status(status).label.lower()}.")
            return card_answer(request, now, notice, status=410 if gone else 409)
        case handling.Refused(message=message):
            return card_answer(request, now, Notice("error", "Nothing was changed.", message), draft, status=422)
        case handling.MayNot(rule=rule):
            notice = Notice("error", "You may not do this.", RULES.get(rule, rule))
            return card_answer(request, now, notice, status=403)
        case _:
            assert_never(outcome)


@require_safe
@require("queue.view")
def escalations(request: TenantRequest) -> HttpResponse:
    """List what waits for seniors: who handed it over, when and why. Context: `rows`, `on_call`, `more`.

    Three queries whatever the length; what is critical and has one approval shows nothing of it.
    """
    waiting = Proposal.objects.filter(status=Status.PENDING).exclude(needs_role="")
    found = list(waiting.select_related("task_type").order_by("decide_by", "id")[: SHOWN + 1])
    shown = found[:SHOWN]
    rows = Handling.objects.filter(proposal__in=shown, kind=Handling.Kind.ESCALATE).select_related("user")
    reasons = {row.proposal_id: row for row in rows.order_by("at")}
    context = {
        "rows": [{"proposal": one, "escalation": reasons.get(one.pk)} for one in shown],
        "more": len(found) > SHOWN,
        "on_call": on_call_now(clock.now()),
    }
    return unstored(render(request, "approvals/escalations.html", context))
