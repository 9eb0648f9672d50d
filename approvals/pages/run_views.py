"""Stepping into a run from its page: cancel, pause, resume, try again. What is refused comes back with its reason."""

from collections.abc import Callable
from typing import Any, assert_never
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from agentops.runs.forms import CancelForm
from agentops.runs.pages import unstored
from agentops.runs.views import find_run, run_page
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from approvals.pages.forms import PauseForm
from approvals.stopping import intervention


@require_POST
@require("run.cancel")
def cancel_run(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Cancel a run; its open proposals close with it. 409 when it has ended already."""
    run = find_run(pk)
    form = CancelForm(request.POST)
    if not form.is_valid():
        return run_page(request, run, status=422, cancel=form, notice=_error("not cancelled", "Shorten the reason."))
    outcome = intervention.cancel_run(run_id=pk, actor=request.actor, reason=form.cleaned_data["reason"])
    match outcome:
        case intervention.Cancelled():
            return _done(request, pk, "The run is cancelled. What was waiting for a decision is withdrawn.")
        case intervention.AlreadyEnded(state=state):
            return _lost(request, pk, f"The run had ended already: {state}.")
        case intervention.NotYours() | intervention.NotFound():
            raise Http404
        case _:
            assert_never(outcome)


@require_POST
@require("run.pause")
def pause_run(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Pause a run. 409 when it has ended or is paused already."""
    outcome = _with_reason(request, pk, intervention.pause_run)
    match outcome:
        case intervention.Paused():
            return _done(request, pk, "The run is paused. What is under way is still recorded; nothing new starts.")
        case intervention.AlreadyPaused():
            return _lost(request, pk, "The run is paused already.")
        case intervention.AlreadyEnded(state=state):
            return _lost(request, pk, f"The run had ended already: {state}.")
        case intervention.ReasonNeeded(message=message):
            return _again(request, pk, "pause", message)
        case _:
            raise Http404


@require_POST
@require("run.pause")
def resume_run(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Resume a run that a person or program has paused. 409 when it is not."""
    outcome = _with_reason(request, pk, intervention.resume_run)
    match outcome:
        case intervention.Resumed(stopped=stopped):
            held = "It is not paused any more, but a stop of the line still holds it."
            return _done(request, pk, held if stopped else "The run goes on. Its deadlines have moved by the pause.")
        case intervention.NotPaused(stopped=stopped):
            held = "A stop of the line holds this run; it goes on when the stop is lifted."
            return _lost(request, pk, held if stopped else "The run is not paused.")
        case intervention.AlreadyEnded(state=state):
            return _lost(request, pk, f"The run had ended already: {state}.")
        case intervention.ReasonNeeded(message=message):
            return _again(request, pk, "resume", message)
        case _:
            raise Http404


@require_POST
@require("run.requeue")
def requeue_run(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Try a failed run again from where it stands. 409 when it did not fail, or for a reason that stays."""
    outcome = _with_reason(request, pk, intervention.requeue_run)
    match outcome:
        case intervention.Requeued(asked_again=asked):
            again = f" {asked} call{'s are' if asked != 1 else ' is'} put before a person once more." if asked else ""
            return _done(request, pk, f"The run is queued again. Everything done stays done.{again}")
        case intervention.NotRequeueable(state=state, code=code):
            how = f"{state} with {code}" if code else state
            return _lost(request, pk, f"The run is {how}, and trying it again would change nothing.")
        case intervention.ReasonNeeded(message=message):
            return _again(request, pk, "requeue", message)
        case _:
            raise Http404


def _with_reason(request: TenantRequest, pk: UUID, step_in: Callable[..., Any]) -> Any:
    form = PauseForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else "x" * (intervention.MAX_REASON + 1)
    return step_in(run_id=find_run(pk).pk, actor=request.actor, reason=reason)


def _done(request: TenantRequest, pk: UUID, text: str) -> HttpResponse:
    messages.success(request, text)
    return unstored(redirect("run", pk=pk))


def _lost(request: TenantRequest, pk: UUID, title: str) -> HttpResponse:
    notice = {"tone": "error", "title": title, "text": "Nothing was changed."}
    return run_page(request, find_run(pk), status=409, notice=notice)


def _again(request: TenantRequest, pk: UUID, what: str, message: str) -> HttpResponse:
    """Show the run with the menu open, what was typed and what is wrong with it."""
    held = {"what": what, "reason": str(request.POST.get("reason", ""))[:20_000], "error": message}
    notice = _error("left as it was", message)
    return run_page(request, find_run(pk), status=422, hold=held, notice=notice)


def _error(what: str, text: str) -> dict[str, str]:
    return {"tone": "error", "title": f"The run was {what}.", "text": text}
