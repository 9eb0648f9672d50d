"""How long records are kept, what is held, what was removed; and the forms that change it."""

from collections.abc import Mapping
from typing import Any, assert_never
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agentops.changes import outcomes
from agentops.changes.answers import Words, decided
from agentops.changes.models import ChangeStatus
from agentops.changes.services import RIGHT
from agentops.retention import classes, selectors, services
from agentops.retention.forms import HoldForm
from agentops.retention.models import Hold, Periods
from agentops.runs.pages import unstored
from agentops.tenancy import step_up
from agentops.tenancy.access import can, require
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.step_up import resumes

HISTORY = 20
WORDS = Words("version", "the periods")
_FORBIDDEN: Mapping[str, str] = {
    "role": "Only admins change this.",
    "own": "You asked for this. Another admin has to decide on it.",
    "not_own": "Only whoever proposed a change can take it back.",
}


@require_safe
@require("audit.view")
def retention(request: TenantRequest) -> HttpResponse:
    """Show periods, what waits, holds, and what was removed; see `_page` for the context."""
    return _page(request)


@require_POST
@require(RIGHT)
def change(request: TenantRequest) -> HttpResponse:
    """Lengthen periods, or propose shorter ones. 409 while others wait, 422 with what was typed and every problem."""
    typed = {name: str(request.POST.get(name, "")).strip()[:9] for name in classes.CLASSES}
    note = str(request.POST.get("note", ""))[:20_000]
    days = {name: int(text) if text.isascii() and text.isdigit() else text for name, text in typed.items()}
    outcome = services.change_periods(days=days, note=note, actor=request.actor)
    match outcome:
        case services.Lengthened(version=version):
            messages.success(request, f"Version {version} is in force: nothing is kept for a shorter time than before.")
        case services.Unchanged():
            messages.info(request, "These are the periods that are in force.")
        case outcomes.Proposed(version=version):
            messages.success(request, f"Version {version} is proposed: another admin has to agree to what is shorter.")
        case outcomes.Invalid(problems=problems):
            return _page(request, typed={**typed, "note": note}, errors=problems, status=422)
        case outcomes.Waiting(by=by, version=version):
            notice = _error(f"Version {version} of {by} waits already.", "It has to be decided or withdrawn first.")
            return _page(request, typed={**typed, "note": note}, notice=notice, status=409)
        case outcomes.Forbidden(rule=rule):
            return _page(request, notice=_error(_FORBIDDEN[rule]), status=403)
        case _:
            assert_never(outcome)
    return unstored(redirect("retention"))


@require_POST
@require(RIGHT)
@resumes
def decide(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Put proposed periods in force, refuse them or take them back: see `agentops.changes.answers.decided`."""
    verdict, note = str(request.POST.get("verdict", ""))[:20], str(request.POST.get("note", ""))[:20_000]
    outcome = services.decide_periods(change_id=pk, verdict=verdict, note=note, actor=request.actor)

    def page(problems: Mapping[str, str], wrong: str, status: int) -> HttpResponse:
        errors = {f"decision_{name}": why for name, why in problems.items()}
        return _page(request, errors=errors, notice=_error(wrong) if wrong else None, decision_note=note, status=status)

    return unstored(decided(request, outcome, WORDS, page=page, to="retention"))


@require_POST
@require(RIGHT)
def hold_place(request: TenantRequest) -> HttpResponse:
    """Place a legal hold. 422 with what was typed and what is wrong with it."""
    form = HoldForm(request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    data = form.cleaned_data
    outcome = services.place_hold(
        wanted=form.wanted(), matter=data["matter"], reason=data["reason"], actor=request.actor
    )
    match outcome:
        case Hold(matter=matter):
            messages.success(request, f"Held for {matter}. Nothing that it covers is removed until two admins lift it.")
            return unstored(redirect("retention"))
        case outcomes.Invalid(problems=problems):
            for name, why in problems.items():
                form.add_error(name if name in form.fields else None, why)
            return _page(request, form=form, status=422)
        case outcomes.Forbidden(rule=rule):
            return _page(request, notice=_error(_FORBIDDEN[rule]), status=403)
        case _:
            assert_never(outcome)


@require_POST
@require(RIGHT)
def hold_ask(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Ask another admin to lift a hold."""
    get_object_or_404(Hold, pk=pk)
    reason = str(request.POST.get("reason", ""))[:20_000]
    outcome = services.ask_to_lift(hold_id=pk, reason=reason, actor=request.actor)
    return _held(request, outcome, "Another admin has to lift it now.", pk, reason)


@require_POST
@require(RIGHT)
@resumes
def hold_answer(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Lift a hold that somebody else asked to lift, or keep it."""
    get_object_or_404(Hold, pk=pk)
    verdict = str(request.POST.get("verdict", ""))[:20]
    outcome = services.answer_lift(hold_id=pk, verdict=verdict, actor=request.actor)
    return _held(request, outcome, "The hold is lifted." if verdict == "lift" else "The hold stays.", pk)


def _held(request: TenantRequest, outcome: Any, done: str, pk: UUID, reason: str = "") -> HttpResponse:
    match outcome:
        case Hold():
            messages.success(request, done)
            return unstored(redirect("retention"))
        case outcomes.NotFound():
            raise Http404
        case outcomes.Invalid(problems=problems):
            lifting = {"id": pk, "reason": reason, "error": " ".join(problems.values())}
            return _page(request, lifting=lifting, status=422)
        case outcomes.StepUpNeeded():
            return step_up.ask(request)
        case outcomes.TooLate(by=by, status=status):
            said = {"lifted": f"{by} has lifted it.", "asked": f"{by} has asked for it already."}
            return _page(request, notice=_error(said.get(status, "Nobody has asked to lift it.")), status=409)
        case outcomes.Forbidden(rule=rule):
            return _page(request, notice=_error(_FORBIDDEN[rule]), status=403)
        case _:
            raise TypeError(f"a hold does not answer with {outcome!r}")


def _error(title: str, text: str = "Nothing was changed.") -> dict[str, str]:
    return {"tone": "error", "title": title, "text": text}


def _page(
    request: TenantRequest,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    notice: Mapping[str, str] | None = None,
    decision_note: str = "",
    form: HoldForm | None = None,
    lifting: Mapping[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Answer with the page.

    Context of `retention/retention.html`: `version`, `rows` [selectors.Row], `waiting` {row, changes, own} or None,
    `past` [Periods], `holds` and `lifted` [selectors.HoldRow], `removed` [selectors.RemovedRow], `form` (HoldForm),
    `typed`, `errors` {field: text}, `lifting` {id, reason, error} or None, `can_change`, `notice`.
    """
    now = timezone.now()
    in_force = services.in_force()
    versions = list(Periods.objects.select_related("proposed_by", "decided_by").order_by("-version")[: HISTORY + 1])
    row = next((one for one in versions if one.status == ChangeStatus.PROPOSED), None)
    context: dict[str, Any] = {
        "version": in_force.version,
        "rows": selectors.rows(in_force.days, typed or {}, errors or {}),
        "waiting": _waiting(row, in_force.days, request) if row is not None else None,
        "past": [one for one in versions if one.status != ChangeStatus.PROPOSED][:HISTORY],
        "holds": selectors.holds_in_force(request.actor.user_id),
        "lifted": selectors.holds_lifted(HISTORY),
        "removed": selectors.removed_lately(HISTORY),
        "form": form or HoldForm(),
        "placing": form is not None,
        "typed": dict(typed or {}),
        "errors": dict(errors or {}),
        "lifting": lifting,
        "decision_note": decision_note,
        "can_change": can(request.actor, RIGHT),
        "notice": notice,
        "audit_url": f"{reverse('audit')}?type=retention.",
        "now": now,
    }
    return unstored(render(request, "retention/retention.html", context, status=status))


def _waiting(row: Periods, days: Mapping[str, int], request: TenantRequest) -> dict[str, Any]:
    return {
        "row": row,
        "changes": selectors.differences(days, row.body),
        "own": row.proposed_by_id == request.actor.user_id,
    }
