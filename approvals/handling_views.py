"""Escalating a proposal, giving it more time, rejecting many at once, and the list of what was escalated."""

from typing import Any, assert_never
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentops import clock
from agentops.runs.pages import is_fragment, unstored
from agentops.tenancy.access import require
from agentops.tenancy.people import called
from agentops.tenancy.requests import TenantRequest
from approvals import bulk, handling
from approvals.answers import answer_to, headline
from approvals.card import RULES, Draft, Notice
from approvals.deciding import needs_note
from approvals.forms import ManyForm, ReasonForm
from approvals.models import Handling, Proposal, RejectReason, RejectScope, Status
from approvals.outcomes import Decided
from approvals.proposal_pages import card_answer, fetch
from approvals.reminders import on_call_now

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


@require_http_methods(["GET", "HEAD", "POST"])
@require("proposal.decide")
def reject_many(request: TenantRequest) -> HttpResponse:
    """Offer what waits to be ticked, and reject what was, with one reason: 422 when nothing was tried.

    `?tool=<name>` offers one tool's. Context of `approvals/rejected.html`: `offered` [{proposal, value}], `rows`
    [{proposal, done, text}], `done`, `error`, `reasons`, `scopes`, `draft` {reason_code, note, scope, retry},
    `chosen` as it was sent.
    """
    if request.method != "POST":
        return _offer(request, [], "", Draft(), status=200)
    form = ManyForm(request.POST)
    raw = [str(one) for one in request.POST.getlist("chosen")]
    error = ""
    chosen: list[bulk.Chosen] = []
    try:
        chosen = [bulk.Chosen.parse(one) for one in raw]
    except ValueError:
        error = "Choose again: a row of this list is damaged."
    if not error and not chosen:
        error = "Choose what to reject."
    if not error and len(chosen) > bulk.MOST:
        error = f"At most {bulk.MOST} at once."
    if not error and not form.is_valid():
        error = next(str(wrong[0]) for wrong in form.errors.values())
    if not error and not form.cleaned_data["note"].strip():
        asked = Proposal.objects.filter(pk__in=[one.proposal_id for one in chosen], status=Status.PENDING)
        rank = max(asked.values_list("band_rank", flat=True), default=0)
        if needs_note(form.cleaned_data["reason_code"], rank):
            error = "Say in a note why: this reason, or the risk of something that is ticked, needs one."
    rows: list[dict[str, Any]] = []
    if not error:
        said = form.cleaned_data
        told = bulk.reject_many(
            chosen=chosen,
            actor=request.actor,
            reason_code=said["reason_code"],
            note=said["note"],
            scope=said["scope"],
            retry=said["retry"] != "no",
        )
        found = Proposal.objects.in_bulk([one.proposal_id for one, _ in told])
        rows = [_row(request, found.get(one.proposal_id), outcome) for one, outcome in told]
    typed = {name: str(request.POST.get(name, "")) for name in ("reason_code", "note", "scope", "retry")}
    draft = Draft(
        reason_code=typed["reason_code"][:40],
        scope=typed["scope"][:10],
        retry=typed["retry"][:10],
        note=typed["note"][:2000],
    )
    if error:
        return _offer(request, raw[: bulk.MOST], error, draft, status=422)
    context = {"rows": rows, "done": sum(row["done"] for row in rows)}
    return unstored(render(request, "approvals/rejected.html", context))


def _offer(request: TenantRequest, chosen: list[str], error: str, draft: Draft, *, status: int) -> HttpResponse:
    waiting = Proposal.objects.filter(status=Status.PENDING)
    if tool := request.GET.get("tool", "")[:100]:
        waiting = waiting.filter(tool=tool)
    found = waiting.order_by("decide_by", "id")[: bulk.MOST]
    context = {
        "offered": [{"proposal": one, "value": f"{one.pk}:{one.version}:{one.digest}"} for one in found],
        "chosen": chosen,
        "error": error,
        "reasons": RejectReason.choices,
        "scopes": RejectScope.choices,
        "draft": draft,
    }
    return unstored(render(request, "approvals/rejected.html", context, status=status))


def _row(request: TenantRequest, proposal: Proposal | None, outcome: Any) -> dict[str, Any]:
    if proposal is None or outcome is None:
        return {"proposal": None, "done": False, "text": "There is no such proposal."}
    if isinstance(outcome, Decided):
        return {"proposal": proposal, "done": True, "text": headline(outcome, proposal.tool)}
    notice = answer_to(outcome, proposal, Draft(), called(request.user)).notice
    return {"proposal": proposal, "done": False, "text": f"{notice.title} {notice.text}".strip()}


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
