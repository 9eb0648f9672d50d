"""The dashboard, the runs behind its points, and alarms."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_never
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agentops.metrics import alarms, dashboard
from agentops.metrics import definitions as d
from agentops.metrics.cells import Kind
from agentops.metrics.charts import percent, span_text
from agentops.metrics.forms import FactFilter, MetricsFilter
from agentops.metrics.models import Alarm, AlarmKind, AlarmStatus, Watched
from agentops.metrics.panels import KIND_WORDS, Panels, change_url, drift_rows, false_alarms
from agentops.metrics.watch import RIGHT, message_of
from agentops.runs.pages import unstored
from agentops.tenancy.access import can, require
from agentops.tenancy.requests import TenantRequest
from agentops.webhooks.models import Message
from agentops.wire.money import format_micros

NEAR_H = 24
"""Hours around the beginning of an alarm in which changes are listed."""


@require_safe
@require("metrics.view")
def metrics(request: TenantRequest) -> HttpResponse:
    """Show how the work is going; only rollups are read, whatever there is to count.

    Context of `metrics/dashboard.html`: `filter` {window, task_type}, `windows` and `task_types` choices, `tiles`
    [panels.Tile], `alarms` [(Alarm, name of its task type)], `figures` [panels.Figure], `by_task_type`, `tools`,
    `bands`, `rules`, `variants` [see panels.Panels], `oversight` [(title, value, definition)], `drift` [see
    panels.drift_rows], `false_alarms` in words, `changes` [{at, kind, label, url, task_type}], `in_flight`,
    `behind_s` (None before anything was read), `definitions` [definitions.Definition], `amounts`. A bad filter is a
    400 that shows the last seven days.
    """
    form = MetricsFilter(request.GET)
    valid = form.is_valid()
    window = dashboard.WINDOWS[form.cleaned_data["window"] if valid else "7d"]
    task_type = form.cleaned_data["task_type"] if valid else ""
    now = timezone.now()
    cells = dashboard.load_cells(window, task_type, now)
    end = window.since(now) + window.span * window.spans
    changes = dashboard.changes(cells.since, end, task_type)
    names = dashboard.names()
    panels = Panels(cells, task_type, end, changes, names)
    charts = dashboard.drift_charts(task_type)
    behind = dashboard.behind(now)
    days = window.span.total_seconds() * window.spans / 86_400
    context = {
        "filter": {"window": window.name, "task_type": task_type},
        "windows": [(one.name, one.words) for one in dashboard.WINDOWS.values()],
        "window": window,
        "task_types": [(slug, names.get(slug, slug)) for slug in dashboard.task_types()],
        "tiles": panels.tiles(),
        "alarms": [(one, names.get(one.task_type, one.task_type)) for one in dashboard.open_alarms(task_type)],
        "figures": panels.figures(),
        "by_task_type": panels.by_task_type(),
        "tools": panels.tools(),
        "bands": panels.bands(),
        "rules": panels.rules(),
        "variants": panels.variants(),
        "oversight": panels.oversight(),
        "drift": drift_rows(charts, names),
        "false_alarms": false_alarms(
            sum(one[0] == Watched.RUNS for one in charts), cells.now(Kind.RUN).get("ended", 0) / days
        ),
        "changes": [_change(one, names) for one in changes],
        "in_flight": dashboard.in_flight(task_type),
        "most_in_flight": dashboard.IN_FLIGHT,
        "behind_s": round(behind.total_seconds()) if behind is not None else None,
        "definitions": d.RATES,
        "amounts": d.AMOUNTS,
        "version": d.VERSION,
    }
    return unstored(render(request, "metrics/dashboard.html", context, status=200 if valid else 400))


@require_safe
@require("metrics.view")
def metrics_runs(request: TenantRequest) -> HttpResponse:
    """List the runs behind a point, newest end first, 50 a page.

    Context of `metrics/runs.html`: `facts` [{url, task_type, outcome, code, ended_at, steps, took, human, cost,
    tool_errors, overrides}], `next_url`, `filter` the bound form, `since`, `until`. A bad filter is a 400 without rows.
    """
    form = FactFilter(request.GET)
    valid = form.is_valid()
    page, names = dashboard.FactPage((), ""), dashboard.names()
    if valid:
        page = dashboard.fact_page(**form.cleaned_data)
    kept = {name: value for name in form.fields if name != "before" and (value := request.GET.get(name, ""))}
    context = {
        "facts": [
            {
                "url": reverse("run", args=[fact.run_id]),
                "id": str(fact.run_id),
                "task_type": names.get(fact.task_type, fact.task_type),
                "outcome": fact.outcome,
                "code": fact.code,
                "ended_at": fact.ended_at,
                "steps": fact.steps,
                "took": span_text(fact.latency_ms),
                "human": span_text(fact.human_ms) if fact.human_ms else "",
                "cost": format_micros(fact.cost_micros),
                "tool_errors": fact.tool_errors,
                "overrides": fact.overrides,
            }
            for fact in page.facts
        ],
        "next_url": f"{reverse('metrics_runs')}?{urlencode({**kept, 'before': page.next})}" if page.next else "",
        "filter": form,
        "kept": kept,
        "since": form.cleaned_data.get("since") if valid else None,
        "until": form.cleaned_data.get("until") if valid else None,
    }
    return unstored(render(request, "metrics/runs.html", context, status=200 if valid else 400))


@require_safe
@require("metrics.view")
def alarm(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show one alarm; see `_page`."""
    return _page(request, pk)


@require_POST
@require(RIGHT)
def alarm_acknowledge(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Own an alarm. 409 when somebody was faster."""
    return _answer(
        request, pk, alarms.acknowledge(alarm_id=pk, actor=request.actor, now=timezone.now()), "It is yours."
    )


@require_POST
@require(RIGHT)
def alarm_reset(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Reset an alarm with a reason. 422 with what was typed when something is missing, 409 when somebody was faster."""
    reason, note = str(request.POST.get("reason", ""))[:24], str(request.POST.get("note", ""))[:20_000]
    outcome = alarms.reset(alarm_id=pk, reason=reason, note=note, actor=request.actor, now=timezone.now())
    return _answer(request, pk, outcome, "Reset. The charts begin again.", reason=reason, note=note)


def _answer(
    request: TenantRequest, pk: UUID, outcome: alarms.Outcome, done: str, *, reason: str = "", note: str = ""
) -> HttpResponse:
    match outcome:
        case alarms.Handled():
            messages.success(request, done)
            return unstored(redirect("alarm", pk=pk))
        case alarms.Invalid(problems=problems):
            return _page(request, pk, problems=problems, reason=reason, note=note, status=422)
        case alarms.TooLate(by=by, status=status):
            return _page(request, pk, late=f"{by} was faster: it is {status}.", reason=reason, note=note, status=409)
        case alarms.NotFound():
            raise Http404
        case _:
            assert_never(outcome)


def _page(
    request: TenantRequest,
    pk: UUID,
    *,
    problems: dict[str, str] | None = None,
    reason: str = "",
    note: str = "",
    late: str = "",
    status: int = 200,
) -> HttpResponse:
    """Answer with the page of an alarm.

    Context of `metrics/alarm.html`: `alarm` Alarm, `task_type` its name, `figures` [(name, value)], `changes` around
    its beginning, `runs_url`, `metrics_url`, `can_handle`, `open` whether it is open, `reasons` choices, `reason`,
    `note`, `problems` {field: text}, `late`, `deliveries` [Delivery], `posts` [Message].
    """
    row = get_object_or_404(Alarm.objects.select_related("owner", "reset_by"), pk=pk)
    near, names = timedelta(hours=NEAR_H), dashboard.names()
    changes = dashboard.changes(row.started_at - near, row.started_at + near, row.task_type)
    asked = {"task_type": row.task_type, "since": row.started_at.isoformat()}
    asked |= {"only": "overrides"} if _of_people(row) else {"outcome": "failed"}
    context: dict[str, Any] = {
        "alarm": row,
        "task_type": names.get(row.task_type, row.task_type),
        "figures": _figures(row),
        "changes": [_change(one, names) for one in changes],
        "of_people": _of_people(row),
        "stamping": row.kind == AlarmKind.STAMPING,
        "runs_url": f"{reverse('metrics_runs')}?{urlencode(asked)}",
        "metrics_url": f"{reverse('metrics')}?{urlencode({'task_type': row.task_type})}",
        "can_handle": can(request.actor, RIGHT),
        "open": row.status != AlarmStatus.RESET,
        "raised": row.status == AlarmStatus.RAISED,
        "reasons": alarms.REASONS.items(),
        "reason_words": alarms.REASONS.get(row.reason, ""),
        "reason": reason,
        "note": note,
        "problems": problems or {},
        "late": late,
        "deliveries": list(row.deliveries.select_related("user").order_by("pk")),
        "posts": list(Message.objects.filter(name=message_of(row.pk)).select_related("endpoint").order_by("pk")),
    }
    return unstored(render(request, "metrics/alarm.html", context, status=status))


def _of_people(row: Alarm) -> bool:
    return row.kind in (AlarmKind.OVERRIDE, AlarmKind.STAMPING)


def _figures(row: Alarm) -> list[tuple[str, str]]:
    body = row.body
    low, high = body["difference"]
    people = _of_people(row)
    happened, unit, sums = ("Overridden", "proposals", "overrides") if people else ("Failed", "runs", "failures")
    found = [
        (f"{happened} since it began", f"{body['failures']} of {body['since']} {unit}"),
        ("Baseline", f"{percent(body['baseline_rate'])} of {body['baseline_runs']} {unit}"),
        ("Difference", f"{low * 100:+.1f} to {high * 100:+.1f} points (95 %, Newcombe)"),
        (f"Sum of {sums}", f"{body['s']}, threshold {body['h']} ({body['h_alone']} alone)"),
    ]
    if not people:
        usual = f"usual steps {body['usual_steps']}"
        found.append(("Sum of steps", f"{body['steps']}, threshold {body['steps_h']:g}; {usual}"))
    elif row.kind == AlarmKind.STAMPING:
        usual = f"usual reading time {span_text(body['usual_steps'])}"
        found.append(("Sum of shorter reading", f"{body['steps']}, threshold {body['steps_h']:g}; {usual}"))
    return found


def _change(one: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at": one.at,
        "kind": KIND_WORDS[one.kind],
        "label": one.label,
        "task_type": names.get(one.task_type, one.task_type),
        "url": change_url(one),
    }
