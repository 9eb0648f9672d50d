"""Records step by step: of runs, of files that were imported, of trials that failed. Nothing here executes anything."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentops.audit.models import RemovedSegment
from agentops.audit.services import Recorded
from agentops.engine.transitions import RunState
from agentops.payloads.services import what_became_of
from agentops.regression.exporting import Mask, export_run, import_run, recording_of_import
from agentops.regression.forms import MASKS, ExportForm, ImportForm, PlaceForm
from agentops.regression.keeping import kept_of_file, kept_of_run
from agentops.regression.models import CaseResult, ImportedRun
from agentops.regression.recordings import BadRecording, Masked, read_recording
from agentops.regression.steps import StepView, cause_of, recorded_of, step_at
from agentops.regression.verdicts import Outcome, Verdict, verdict_of
from agentops.runs import selectors
from agentops.runs.findings import found_in, readable
from agentops.runs.models import Run
from agentops.runs.pages import unstored
from agentops.runs.timeline import tell
from agentops.runs.views import find_run
from agentops.tenancy.access import can, require
from agentops.tenancy.requests import TenantRequest


@require_safe
@require("run.view")
def run_steps(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show the record of a run at one event; see `_page` for the context."""
    run = find_run(pk)
    recorded = selectors.record_of(run)
    if not recorded and (removed := selectors.removal_of_record(run)) is not None:
        return _removed(request, run, removed)
    about = {
        "title": run.title or run.task_type.name,
        "id": str(run.id),
        "url": reverse("run", args=[run.id]),
        "here": reverse("run_steps", args=[run.id]),
        "kind": "run",
        "case_url": reverse("run_promote", args=[run.id])
        if RunState(run.state).terminal and can(request.actor, "regression.manage")
        else "",
        "export_url": reverse("run_export", args=[run.id]) if can(request.actor, "run.export") else "",
    }
    return _page(request, recorded, about)


def _removed(request: TenantRequest, run: Run, removed: RemovedSegment) -> HttpResponse:
    """Say that a record was removed, and when. Context of `regression/removed.html`: `run`, `removed`, `event_url`."""
    url = reverse("audit_event", args=[removed.event_id]) if can(request.actor, "audit.view") else ""
    context = {"run": run, "removed": removed, "event_url": url}
    return unstored(render(request, "regression/removed.html", context, status=410))


@require_safe
@require("run.view")
def import_steps(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show an imported record at one event."""
    row = get_object_or_404(ImportedRun, pk=pk)
    recording = recording_of_import(row)
    about = {
        "title": row.title or row.task_type or "A record",
        "id": str(row.pk),
        "url": reverse("run_imports"),
        "here": reverse("run_import_steps", args=[row.pk]),
        "kind": "import",
        "source": row.source,
    }
    return _page(request, recorded_of(recording), about, recording.masked)


@require_safe
@require("regression.view")
def result_steps(request: TenantRequest, pk: int) -> HttpResponse:
    """Show what a trial that failed did, at one event."""
    row = get_object_or_404(CaseResult.objects.select_related("suite_run"), pk=pk)
    if not row.record:
        raise Http404
    about = {
        "title": row.title,
        "id": row.slug,
        "url": reverse("run_suite", args=[row.suite_run_id]),
        "here": reverse("run_result_steps", args=[row.pk]),
        "kind": "trial",
    }
    return _page(request, recorded_of(read_recording(row.record)), about)


@require_POST
@require("run.export")
def export(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Send the record of a run as a file; that it was taken is an event."""
    run = find_run(pk)
    form = ExportForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("Choose what to hide.", content_type="text/plain")
    removed = selectors.removal_of_record(run)
    if removed is not None:
        return _removed(request, run, removed)
    wanted = form.cleaned_data["mask"]
    mask = None if wanted == "none" else Mask(wanted in ("all", "secrets"), wanted in ("all", "personal"))
    recording = export_run(run=run, actor=request.actor, mask=mask)
    response = HttpResponse(recording.text(), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="run-{run.id}.json"'
    response["X-Content-Type-Options"] = "nosniff"
    return unstored(response)


@require_http_methods(["GET", "HEAD", "POST"])
@require("run.view")
def imports(request: TenantRequest) -> HttpResponse:
    """List imported records and take another one. Context of `regression/imports.html`: `rows`, `form` or None."""
    may = can(request.actor, "run.import")
    posted = request.method == "POST"
    if posted and not may:
        return HttpResponse("This needs the right run.import.", status=403, content_type="text/plain")
    form = ImportForm(request.POST if posted else None, request.FILES if posted else None) if may else None
    status = 200
    if posted and form is not None:
        status = 422
        if form.is_valid():
            try:
                row = import_run(raw=form.cleaned_data["file"], actor=request.actor)
                messages.success(request, "Imported. It can be looked at and compared; nothing of it is ever executed.")
                return unstored(redirect("run_import_steps", pk=row.pk))
            except BadRecording as error:
                form.add_error("file", str(error))
    rows = ImportedRun.objects.select_related("imported_by").defer("body").order_by("-imported_at")[:100]
    return unstored(render(request, "regression/imports.html", {"rows": rows, "form": form}, status=status))


def _page(
    request: TenantRequest, recorded: Sequence[Recorded], about: dict[str, str], masked: Masked | None = None
) -> HttpResponse:
    """Answer with one event of a record.

    `?at=<position>` chooses it; without it, the event that the worst finding names, else the last. Context of
    `regression/steps.html`: `about`, `step` (steps.StepView), `text` the event in words, `verdict` (verdicts.Verdict),
    `diverged_url`, `cause` and `cause_url` of a failed run, `findings` [{finding, urls [(seq, url)]}], `previous_url`,
    `next_url`, `first_url`, `last_url`,
    `around` [{url, seq, type, here}], `masks`, `kept` (keeping.Kept), `masked` (recordings.Masked or
    None). A place that is not there is a 404.
    """
    form = PlaceForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest("This address names no event.", content_type="text/plain")
    if not recorded:
        raise Http404
    events, broken = readable(recorded)
    positions = {one.seq: number for number, one in enumerate(recorded, start=1)}
    here = about["here"]
    cause = cause_of(events)

    def url(position: int) -> str:
        return f"{here}?at={position}" if 1 <= position <= len(recorded) else ""

    found = found_in(recorded, url)
    at = form.cleaned_data["at"] or _first(found, positions, len(recorded))
    if at > len(recorded):
        raise Http404
    step = step_at(recorded, at)
    verdict = Verdict(Outcome.UNREADABLE, len(recorded), message=broken) if broken else verdict_of(events, masked)
    context: dict[str, Any] = {
        "about": about,
        "step": step,
        "text": _words(recorded, step),
        "verdict": verdict,
        "diverged_url": url(positions.get(verdict.seq, 0)) if verdict.seq else "",
        "findings": found,
        "cause_url": url(positions.get(cause, 0)) if cause else "",
        "cause": cause,
        "previous_url": url(at - 1),
        "next_url": url(at + 1),
        "first_url": url(1),
        "last_url": url(len(recorded)),
        "around": [
            {"url": url(position), "seq": one.seq, "type": one.type, "here": position == at}
            for position, one in step.around
        ],
        "masks": MASKS,
        "kept": kept_of_run(step.event.data, what_became_of)
        if about["kind"] == "run"
        else kept_of_file(step.event.type, step.event.data, masked),
        "masked": masked,
    }
    return unstored(render(request, "regression/steps.html", context))


def _first(found: Sequence[dict[str, Any]], positions: dict[int, int], count: int) -> int:
    """Begin where the worst finding is, at its last event; else at the end."""
    return positions.get(found[0]["finding"].seqs[-1], count) if found else count


def _words(recorded: Sequence[Recorded], step: StepView) -> str:
    groups = tell(recorded[: step.position]).groups
    entries = [entry for group in groups for entry in group.events if entry.seq == step.event.seq]
    return entries[-1].text if entries else ""
