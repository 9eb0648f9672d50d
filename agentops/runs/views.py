"""The list of runs, the page of one run, and the form that starts one."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from agentops.budgets.selectors import budget_rows
from agentops.engine.state import State
from agentops.engine.transitions import REQUEUEABLE, CallState, RunState
from agentops.guardrails.provenance import SourceKind
from agentops.runs import selectors, services
from agentops.runs.artifacts import TASK, Whole, artifacts, objective, whole
from agentops.runs.exchanges import exchange_of
from agentops.runs.findings import found_in
from agentops.runs.forms import ONLY, STATES, ArtifactForm, CancelForm, RunFilter, TaskForm
from agentops.runs.models import Run, TaskType, ToolCall
from agentops.runs.pages import answer, unstored
from agentops.runs.submissions import Submitted, submit_once
from agentops.runs.timeline import Told, listing, plan_steps, tell, verdict
from agentops.runs.turns import turns
from agentops.runs.usage import usage_rows
from agentops.tenancy.access import Actor, can, require
from agentops.tenancy.people import agent
from agentops.tenancy.requests import TenantRequest


@require_safe
@require("run.view")
def run_list(request: TenantRequest) -> HttpResponse:
    """List runs, newest first, 50 a page.

    Context of `runs/list.html` and `runs/_list.html`: `runs` [{id, url, state, task_type, title, steps_used,
    calls_used, denied_calls, failure_code, created_at, duration, requested_by}], `next_url` ("" at the end),
    `filters` {state, task_type, only, active}, `states`, `task_types` and `only` choices, `filter` the bound form. A
    bad filter is a 400 without rows.
    """
    form = RunFilter(request.GET)
    valid = form.is_valid()
    page = selectors.RunPage((), "")
    if valid:
        asked = form.cleaned_data
        page = selectors.run_page(
            state=asked["state"], task_type=asked["task_type"], only=asked["only"], before=asked["before"]
        )
    names = selectors.token_names(page.runs)
    kept = {name: value for name in ("state", "task_type", "only") if (value := request.GET.get(name, ""))}
    context = {
        "runs": [_run(run, names) for run in page.runs],
        "next_url": f"{reverse('runs')}?{urlencode(kept | {'before': page.next})}" if page.next else "",
        "filters": {"state": "", "task_type": "", "only": "", **kept, "active": bool(kept)},
        "filter": form,
        "states": STATES,
        "only": ONLY,
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
    cancel: CancelForm | None = None,
    hold: Mapping[str, str] | None = None,
    notice: dict[str, str] | None = None,
) -> HttpResponse:
    """Answer with the page of a run; `cancel` and `hold` {what, reason, error} are forms that came back with errors.

    Context of `runs/run.html` and `runs/_run.html`: `run` {id, url, state, task_type, title, failure_code,
    failure_message, created_at, duration, requested_by}, `verdict` one sentence, `objective` [artifacts.Value],
    `artifacts` [artifacts.Artifact], `artifacts_url`, `turns` [turns.Turn], `notes` of a live run [{name, kind, value,
    size, untrusted, source_call}], `timeline` [timeline.Group], `broken` what makes the record unreadable (""
    normally), `findings` [see findings.found_in], `steps_url`, `case_url` ("" unless it can become a case), `limits`
    [usage.UsageRow as dict], `budgets` [budgets.selectors.BudgetRow as dict] while it may spend,
    `plan` (as recorded, a path and a value per line), `plan_steps` [timeline.PlannedStep], `answer`, `proposals` [{id,
    url, band, score, sentence_parts, status}], `denied` [{tool, step_id, code, message, off_plan}], `unknown` [{url,
    tool, message, asked}], `can_reconcile`, `can_cancel`, `cancel_url`, `holds` [see `_holds`], `paused` {since,
    causes, stopped} or None, `removed` (RemovedSegment where retention has
    removed the record, or None), `last_error`, `stop_url`, `audit_url`, `live` whether it changes.
    """
    recorded = selectors.record_of(run)
    removed = None if recorded else selectors.removal_of_record(run)
    told = tell(recorded, _proposal_url, lambda seq: reverse("run_exchange", args=[run.id, seq]))
    state = RunState(run.state)
    may_reconcile = can(request.actor, "call.reconcile")
    steps_url = reverse("run_steps", args=[run.id])
    context = {
        "run": _run(run, selectors.token_names([run])),
        "verdict": verdict(state, told),
        "timeline": told.groups,
        "objective": objective(told.state),
        "artifacts": artifacts(told.state),
        "artifacts_url": reverse("run_artifacts", args=[run.id]),
        "turns": turns(recorded),
        "notes": [] if state.terminal else selectors.session_notes(run),
        "broken": told.broken,
        "limits": [asdict(row) for row in usage_rows(told.state)],
        "budgets": [] if state.terminal else [asdict(b) for b in budget_rows(run.task_type_id, timezone.now())],
        "plan": listing(told.state.plan.raw) if told.state.plan else "",
        "plan_steps": plan_steps(told.state.plan),
        "answer": run.answer,
        "proposals": _proposals(run),
        "denied": _denied(told),
        "unknown": _unknown(run, told),
        "can_cancel": not state.terminal and can(request.actor, "run.cancel"),
        "cancel_url": reverse("run_cancel", args=[run.id]),
        "cancel": cancel or CancelForm(),
        "can_reconcile": may_reconcile,
        "holds": _holds(request.actor, run, told.state, hold),
        "paused": _paused(told),
        # A dead letter says it in its own words.
        "last_error": "" if state.terminal else run.last_error,
        "stop_url": _stop_url(request.actor, run),
        "findings": found_in(recorded, lambda place: f"{steps_url}?at={place}"),
        "steps_url": steps_url,
        "case_url": reverse("run_promote", args=[run.id])
        if state.terminal and removed is None and can(request.actor, "regression.manage")
        else "",
        "removed": removed,
        "audit_url": f"{reverse('audit')}?run={run.id}" if can(request.actor, "audit.view") else "",
        "live": not state.terminal,
        "notice": notice,
    }
    return answer(request, "runs/run.html", "runs/_run.html", context, status=status)


@require_safe
@require("run.view")
def run_artifacts(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show the task memory of a run, or one value of it in full, 20,000 characters at a time.

    `?call=<call id or "input">&name=<member>&part=<n>` chooses; without it everything is listed. Context of
    `runs/artifacts.html`: `run` {title, task_type, url}, `objective`, `artifacts`, `url`; of `runs/artifact.html`:
    `run`, `value` (artifacts.Value), `made_by`, `step_id`, `text` (this part), `digest` of the whole, `characters`,
    `part`, `parts`, `previous_url`, `next_url`, `sources` [{kind, ref, path}], `url`. What the run does not have is a
    404; a strange address a 400.
    """
    run = find_run(pk)
    state = tell(selectors.record_of(run)).state
    here = reverse("run_artifacts", args=[run.id])
    context: dict[str, Any] = {
        "run": {"title": run.title, "task_type": run.task_type.name, "url": reverse("run", args=[run.id])},
        "url": here,
    }
    if not request.GET:
        context |= {"objective": objective(state), "artifacts": artifacts(state), "task": TASK}
        return unstored(render(request, "runs/artifacts.html", context))
    form = ArtifactForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest("This address names no artifact.", content_type="text/plain")
    asked = form.cleaned_data
    found = whole(state, asked["call"], asked["name"])
    if found is None:
        raise Http404
    return unstored(render(request, "runs/artifact.html", context | _artifact(found, here, asked)))


@require_http_methods(["GET", "HEAD", "POST"])
@require("run.submit")
def submit(request: TenantRequest) -> HttpResponse:
    """Choose a task type, fill in its form, start a run.

    `?task_type=<slug>` chooses. The form carries a one-time key: sent twice, it leads to the run it has started.
    Context of `runs/submit.html`: `task_types` [{slug, name, description, selected, url}], `task_type` and `form` of
    the chosen one or None, `notice` {tone, title, text} or None. A task that is refused comes back with status 422 and
    everything that was typed.
    """
    slug = request.GET.get("task_type", "")
    every = selectors.task_types()
    types = [one for one in every if one.enabled]
    posted = request.method == "POST"
    # Whoever has typed something keeps it, even if the kind of task was switched off meanwhile.
    chosen = next((one for one in (every if posted else types) if one.slug == slug), None)
    if slug and chosen is None and not posted:
        raise Http404
    form = TaskForm(chosen, request.POST if posted else None) if chosen else None
    notice: dict[str, str] | None = None
    status = 200
    if posted:
        if chosen is None or form is None:
            text = "There is no such kind of task here." if slug else "Choose a kind of task first."
            notice = {"tone": "error", "title": "Nothing was submitted.", "text": text}
        elif form.is_valid():
            outcome = submit_once(
                task_type=chosen,
                input=form.task,
                actor=request.actor,
                title=form.cleaned_data["title"],
                key=form.cleaned_data["once"],
            )
            if isinstance(outcome, Submitted):
                again = "This form was sent before; this is the run that it has started."
                messages.success(request, again if outcome.again else "Submitted. The run is queued.")
                return redirect("run", pk=outcome.run.id)
            form.add_issues(_refusals(chosen, outcome))
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


def _refusals(task_type: TaskType, refused: services.InvalidTask) -> Iterator[tuple[str, str]]:
    """Yield what the person got wrong beside its field, and what is wrong with the task type on top of the form."""
    unusable = set(services.unusable_issues(task_type))
    for issue in refused.issues:
        if issue in unusable or issue.path == "task_type":
            yield "", f"This kind of task cannot be used now. {issue.message}"
        else:
            yield issue.path, issue.message


# --- what the templates print ---------------------------------------------------------------------------------------


def _run(run: Run, token_names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": run.id,
        "url": reverse("run", args=[run.id]),
        "state": run.state,
        "paused": run.paused_at is not None,
        "stopped": run.halt_id is not None,
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


PART = 20_000
"""Characters of a value on one page."""

_SOURCES = {
    SourceKind.OPERATOR: "a person of this tenant",
    SourceKind.REVIEWER: "a reviewer",
    SourceKind.CONSTANT: "the playbook",
    SourceKind.TOOL: "a tool's answer",
    SourceKind.MODEL: "a model",
    SourceKind.FACT: "a fact",
}


def _artifact(found: Whole, here: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    parts = max(1, -(-len(found.text) // PART))
    part = asked["part"] or 1
    if part > parts:
        raise Http404

    def url_of(number: int) -> str:
        if not 1 <= number <= parts:
            return ""
        return f"{here}?{urlencode({'call': asked['call'], 'name': asked['name'], 'part': number})}"

    return {
        "value": found.value,
        "made_by": found.made_by,
        "step_id": found.step_id,
        "text": found.text[(part - 1) * PART : part * PART],
        "digest": found.digest,
        "characters": len(found.text),
        "part": part,
        "parts": parts,
        "previous_url": url_of(part - 1),
        "next_url": url_of(part + 1),
        "sources": [{"kind": _SOURCES[kind], "ref": agent(ref), "path": path} for kind, ref, path in found.sources],
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


def _unknown(run: Run, told: Told) -> list[dict[str, Any]]:
    open_calls = [c for c in told.state.calls.values() if c.state is CallState.UNKNOWN]
    if not open_calls:
        return []
    rows = dict(ToolCall.objects.filter(run_id=run.pk).values_list("call_id", "pk"))
    return [
        {
            # The page is declared by the layer above; here it is only linked.
            "url": reverse("unknown", args=[rows[c.call_id]]) if c.call_id in rows else "",
            "tool": c.tool,
            "message": c.note,
            "asked": c.hook_asked,
        }
        for c in open_calls
    ]


def _paused(told: Told) -> dict[str, Any] | None:
    """Return since when and why nothing new starts."""
    if told.state.paused_at is None:
        return None
    return {"since": told.state.paused_at, "causes": told.held, "stopped": bool(told.state.paused_by_halt)}


def _holds(actor: Actor, run: Run, state: State, came_back: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """Return what a person may do to hold the run or to let it go on, each a small form that asks why.

    [{what, title, button, help, url, open, reason, error}].
    """
    offered = []
    if not state.state.terminal and can(actor, "run.pause"):
        if state.paused_by:
            text = "It is queued again where it stands. Its deadlines move by the time it was paused."
            offered.append(("resume", "Resume", "Resume this run", text))
        else:
            text = "Nothing new starts. What is under way is still recorded, and deadlines stand still."
            offered.append(("pause", "Pause", "Pause this run", text))
    if state.state is RunState.FAILED and state.failure_code in REQUEUEABLE and can(actor, "run.requeue"):
        text = "It goes on from where it stands: everything done stays done, and the same limits hold."
        offered.append(("requeue", "Try again", "Queue it again", text))
    back = dict(came_back or {})
    return [
        {
            "what": what,
            "title": title,
            "button": button,
            "help": text,
            "url": reverse(f"run_{what}", args=[run.id]),
            "open": back.get("what") == what,
            "reason": back.get("reason", "") if back.get("what") == what else "",
            "error": back.get("error", "") if back.get("what") == what else "",
        }
        for what, title, button, text in offered
    ]


def _stop_url(actor: Actor, run: Run) -> str:
    if not can(actor, "line.stop") or RunState(run.state).terminal:
        return ""
    return f"{reverse('stop')}?{urlencode({'what': f'run:{run.pk}'})}"
