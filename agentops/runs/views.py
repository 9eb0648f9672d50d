"""The list of runs, the page of one run, and the form that starts one."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from agentops.engine.transitions import CallState, RunState
from agentops.runs import selectors, services
from agentops.runs.artifacts import artifacts, objective
from agentops.runs.exchanges import exchange_of
from agentops.runs.forms import STATES, CancelForm, ReconcileForm, RunFilter, TaskForm
from agentops.runs.models import Run, TaskType
from agentops.runs.pages import answer, unstored
from agentops.runs.timeline import Told, listing, plan_steps, verdict
from agentops.tenancy.access import can, require
from agentops.tenancy.requests import TenantRequest


@require_safe
@require("run.view")
def run_list(request: TenantRequest) -> HttpResponse:
    """List runs, newest first, 50 a page.

    Context of `runs/list.html` and `runs/_list.html`: `runs` [{id, url, state, task_type, title, steps_used,
    calls_used, denied_calls, failure_code, created_at, duration, requested_by}], `next_url` ("" at the end),
    `filters` {state, task_type, active}, `states` and `task_types` choices, `filter` the bound form. A bad filter is a
    400 without rows.
    """
    form = RunFilter(request.GET)
    valid = form.is_valid()
    page = selectors.RunPage((), "")
    if valid:
        asked = form.cleaned_data
        page = selectors.run_page(state=asked["state"], task_type=asked["task_type"], before=asked["before"])
    names = selectors.token_names(page.runs)
    kept = {name: value for name in ("state", "task_type") if (value := request.GET.get(name, ""))}
    context = {
        "runs": [_run(run, names) for run in page.runs],
        "next_url": f"{reverse('runs')}?{urlencode(kept | {'before': page.next})}" if page.next else "",
        "filters": {"state": "", "task_type": "", **kept, "active": bool(kept)},
        "filter": form,
        "states": STATES,
        "task_types": [(one.slug, one.name) for one in selectors.task_types()],
    }
    return answer(request, "runs/list.html", "runs/_list.html", context, status=200 if valid else 400)


@require_safe
@require("run.view")
def run_detail(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show one run; see `run_page` for the context."""
    return run_page(request, find_run(pk))


@require_safe
@require("run.view")
def run_exchange(request: TenantRequest, pk: UUID, seq: int) -> HttpResponse:
    """Show what was said to the models for one plan. Context of `runs/exchange.html`: `run`, `exchange` (Exchange)."""
    run = find_run(pk)
    exchange = exchange_of(run, seq)
    if exchange is None:
        raise Http404
    return unstored(render(request, "runs/exchange.html", {"run": run, "exchange": exchange}))


def find_run(pk: UUID) -> Run:
    """Return a run of the open tenant with what its page names, or raise Http404."""
    return get_object_or_404(Run.objects.select_related("task_type", "requested_by"), pk=pk)


def run_page(
    request: TenantRequest,
    run: Run,
    *,
    status: int = 200,
    reconcile: ReconcileForm | None = None,
    cancel: CancelForm | None = None,
    notice: dict[str, str] | None = None,
) -> HttpResponse:
    """Answer with the page of a run; `reconcile` and `cancel` are forms that came back with errors.

    Context of `runs/run.html` and `runs/_run.html`: `run` {id, url, state, task_type, title, failure_code,
    failure_message, created_at, duration, requested_by}, `verdict` one sentence, `objective` [artifacts.Value],
    `artifacts` [artifacts.Artifact], `timeline` [timeline.Group], `broken` what makes the record unreadable (""
    normally), `limits` [{name, used, limit}], `plan` (as recorded, a path and a value per line), `plan_steps`
    [timeline.PlannedStep], `answer`, `proposals` [{id, url, band, score, sentence_parts, status}], `denied` [{tool,
    step_id, code, message, off_plan}], `unknown` [{call_id, tool, message, asked}], `can_cancel`, `cancel_url`,
    `can_reconcile`, `reconcile_url`, `reconcile` (ReconcileForm), `audit_url`, `live` whether it changes.
    """
    told = selectors.story(run, _proposal_url, lambda seq: reverse("run_exchange", args=[run.id, seq]))
    state = RunState(run.state)
    may_reconcile = can(request.actor, "call.reconcile")
    context = {
        "run": _run(run, selectors.token_names([run])),
        "verdict": verdict(state, told),
        "timeline": told.groups,
        "objective": objective(told.state),
        "artifacts": artifacts(told.state),
        "broken": told.broken,
        "limits": [{"name": name, "used": used, "limit": limit} for name, used, limit in selectors.spent(told.state)],
        "plan": listing(told.state.plan.raw) if told.state.plan else "",
        "plan_steps": plan_steps(told.state.plan),
        "answer": run.answer,
        "proposals": _proposals(run),
        "denied": _denied(told),
        "unknown": _unknown(told),
        "can_cancel": not state.terminal and can(request.actor, "run.cancel"),
        "cancel_url": reverse("run_cancel", args=[run.id]),
        "cancel": cancel or CancelForm(),
        "can_reconcile": may_reconcile,
        "reconcile_url": reverse("run_reconcile", args=[run.id]),
        "reconcile": reconcile,
        "audit_url": f"{reverse('audit')}?run={run.id}" if can(request.actor, "audit.view") else "",
        "live": not state.terminal,
        "notice": notice,
    }
    return answer(request, "runs/run.html", "runs/_run.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@require("run.submit")
def submit(request: TenantRequest) -> HttpResponse:
    """Choose a task type, fill in its form, start a run.

    `?task_type=<slug>` chooses. Context of `runs/submit.html`: `task_types` [{slug, name, description, selected, url}],
    `task_type` and `form` of the chosen one or None, `notice` {tone, title, text} or None. A task that is refused comes
    back with status 422 and everything that was typed.
    """
    types = [one for one in selectors.task_types() if one.enabled]
    slug = request.GET.get("task_type", "")
    chosen = next((one for one in types if one.slug == slug), None)
    if slug and chosen is None:
        raise Http404
    form = TaskForm(chosen, request.POST if request.method == "POST" else None) if chosen else None
    notice: dict[str, str] | None = None
    status = 200
    if request.method == "POST":
        if chosen is None or form is None:
            notice = {"tone": "error", "title": "Nothing was submitted.", "text": "Choose a kind of task first."}
        elif form.is_valid():
            outcome = services.submit(
                task_type=chosen, input=form.task, actor=request.actor, title=form.cleaned_data["title"]
            )
            if isinstance(outcome, Run):
                messages.success(request, "Submitted. The run is queued.")
                return redirect("run", pk=outcome.id)
            form.add_issues((issue.path, issue.message) for issue in outcome.issues)
        if notice is None:
            notice = {"tone": "error", "title": "Nothing was submitted.", "text": "See what stands beside the fields."}
        status = 422
    context: dict[str, Any] = {
        "task_types": [_task_type(one, slug) for one in types],
        "task_type": chosen,
        "form": form,
        "notice": notice,
    }
    return unstored(render(request, "runs/submit.html", context, status=status))


# --- what the templates print ---------------------------------------------------------------------------------------


def _run(run: Run, token_names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": run.id,
        "url": reverse("run", args=[run.id]),
        "state": run.state,
        "task_type": run.task_type.name,
        "title": run.title,
        "steps_used": run.steps_used,
        "calls_used": run.calls_used,
        "denied_calls": run.denied_calls,
        "failure_code": run.failure_code,
        "failure_message": run.failure_message,
        "created_at": run.created_at,
        "duration": selectors.duration(run),
        "requested_by": selectors.requester(run, token_names),
    }


def _task_type(one: TaskType, selected: str) -> dict[str, Any]:
    return {
        "slug": one.slug,
        "name": one.name,
        "description": one.description,
        "selected": one.slug == selected,
        "url": f"{reverse('submit')}?{urlencode({'task_type': one.slug})}",
    }


def _proposal_url(proposal_id: str) -> str:
    try:
        return reverse("proposal", args=[UUID(proposal_id)])
    except ValueError:
        return ""


def _proposals(run: Run) -> list[dict[str, Any]]:
    # The relation is declared by the layer above; here it is only read.
    rows = run.proposals.order_by("created_at", "id").values("id", "risk_band", "risk_score", "sentence", "status")
    return [
        {
            "id": row["id"],
            "url": reverse("proposal", args=[row["id"]]),
            "band": row["risk_band"],
            "score": row["risk_score"],
            "sentence_parts": row["sentence"],
            "status": row["status"],
        }
        for row in rows
    ]


def _denied(told: Told) -> list[dict[str, Any]]:
    return [
        {"tool": c.tool, "step_id": c.step_id, "code": c.code, "message": c.note, "off_plan": not c.planned}
        for c in told.state.calls.values()
        if c.state is CallState.DENIED
    ]


def _unknown(told: Told) -> list[dict[str, Any]]:
    return [
        {"call_id": c.call_id, "attempt": c.attempts, "tool": c.tool, "message": c.note, "asked": c.hook_asked}
        for c in told.state.calls.values()
        if c.state is CallState.UNKNOWN
    ]
