"""One person's own page: what they decided, what they can still take back, what they want, and when they are away."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.runs.models import ToolCall
from agentops.runs.pages import unstored
from agentops.tenancy.access import can, require, roles_with
from agentops.tenancy.models import Membership
from agentops.tenancy.people import called
from agentops.tenancy.requests import TenantRequest
from approvals.cards.afterwards import afterwards
from approvals.decisions.release import may_take_back
from approvals.models import Absence, Decision, Handling, Preference
from approvals.pages.forms import AbsenceForm, PreferenceForm
from approvals.proposals.opening import person_of

SHOWN = 50


@require_safe
@require("queue.view")
def me(request: TenantRequest) -> HttpResponse:
    """Show a person's own decisions, the newest first, with what became of them; see `_page` for the context."""
    return _page(request)


@require_POST
@require("queue.view")
def preferences(request: TenantRequest) -> HttpResponse:
    """Keep what a person wants. 422 with the form when it cannot be read."""
    form = PreferenceForm(request.POST)
    if not form.is_valid():
        return _page(request, preference=form, status=422)
    with transaction.atomic():
        row, _ = Preference.objects.update_or_create(user_id=person_of(request.actor), defaults=form.cleaned_data)
        record_in_tenant_stream(
            "preferences.changed",
            {"undo_s": row.undo_s, "reminders": row.reminders},
            subject=("user", str(request.actor.user_id)),
            actor=request.actor,
        )
    messages.success(request, "Kept.")
    return unstored(redirect("me"))


@require_POST
@require("proposal.decide")
def absence(request: TenantRequest) -> HttpResponse:
    """Say when one is away and who is reminded instead. 422 with the form when it cannot be read."""
    form = AbsenceForm(request.POST, people=_delegates(request))
    if not form.is_valid():
        return _page(request, away=form, status=422)
    said = form.cleaned_data
    with transaction.atomic():
        row = Absence.objects.create(
            user_id=person_of(request.actor),
            delegate_id=said["delegate"],
            starts_at=said["starts_at"],
            ends_at=said["ends_at"],
        )
        record_in_tenant_stream(
            "absence.announced",
            {"from": row.starts_at.isoformat(), "until": row.ends_at.isoformat(), "delegate": str(row.delegate_id)},
            subject=("user", str(request.actor.user_id)),
            actor=request.actor,
        )
    messages.success(request, "Kept. Reminders go to somebody else while you are away; nobody gets your rights.")
    return unstored(redirect("me"))


@require_POST
@require("proposal.decide")
def end_absence(request: TenantRequest, pk: int) -> HttpResponse:
    """End one's own absence now, or take it back before it begins. 404 for anybody else's."""
    now = clock.now()
    with transaction.atomic():
        row = Absence.objects.filter(pk=pk, user_id=request.actor.user_id or 0, ends_at__gt=now).first()
        if row is None:
            raise Http404
        if row.starts_at >= now:
            row.delete()
        else:
            Absence.objects.filter(pk=row.pk).update(ends_at=now)
        record_in_tenant_stream("absence.ended", {}, subject=("user", str(request.actor.user_id)), actor=request.actor)
    messages.success(request, "You are back.")
    return unstored(redirect("me"))


def _page(
    request: TenantRequest,
    *,
    preference: PreferenceForm | None = None,
    away: AbsenceForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """Context of `approvals/me.html`: `decisions` [{decision, proposal, outcome (words), undo_url}], `undoable` (those
    that can be taken back), `handled` [Handling], `absences`, `preference` and `away` (forms), `decides`."""
    now, person = clock.now(), request.actor.user_id or 0
    found = Decision.objects.filter(user_id=person).select_related("proposal").order_by("-at", "-id")[:SHOWN]
    rows = list(found)
    calls = ToolCall.objects.filter(run_id__in={row.proposal.run_id for row in rows})
    became = {
        (call.run_id, call.call_id): afterwards(call.state, call.code)
        for call in calls.only("run", "call_id", "state", "code")
    }
    decisions: list[dict[str, Any]] = []
    for row in rows:
        proposal = row.proposal
        open_ = row.undone_at is None and may_take_back(proposal, request.actor, now)
        decisions.append(
            {
                "decision": row,
                "proposal": proposal,
                "outcome": became.get((proposal.run_id, proposal.call_id), ""),
                "undo_url": reverse("undo", args=[proposal.pk]) if open_ else "",
            }
        )
    wanted = Preference.objects.filter(user_id=person).first() or Preference()
    decides = can(request.actor, "proposal.decide")
    context = {
        "decisions": decisions,
        "undoable": [one for one in decisions if one["undo_url"]],
        "handled": Handling.objects.filter(user_id=person).select_related("proposal").order_by("-at")[:10],
        "absences": Absence.objects.filter(user_id=person, ends_at__gt=now).select_related("delegate"),
        "preference": preference or PreferenceForm(initial={"undo_s": wanted.undo_s, "reminders": wanted.reminders}),
        "away": away or AbsenceForm(people=_delegates(request)) if decides else None,
        "decides": decides,
    }
    return unstored(render(request, "approvals/me.html", context, status=status))


def _delegates(request: TenantRequest) -> list[tuple[int, str]]:
    roles = roles_with("proposal.decide")
    able = Membership.objects.filter(role__in=roles).exclude(user_id=request.actor.user_id or 0)
    people = get_user_model()._default_manager.filter(pk__in=able.values("user_id"), is_active=True)
    return [(one.pk, called(one)) for one in people.order_by("username")]
