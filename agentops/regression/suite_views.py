"""Cases, suites and what they have shown; making a case of a run, or of a rejection."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from agentops import clock
from agentops.regression import rehearsing, selectors, services, statistics
from agentops.regression.cases import read_case, write_suite
from agentops.regression.forms import CompareForm, QuarantineForm, RehearsalForm, SuiteForm
from agentops.regression.models import UNDER_WAY, Case, Rehearsal, SuiteRun
from agentops.regression.promoting import NotPromotable
from agentops.runs.pages import unstored
from agentops.runs.views import find_run, run_page
from agentops.tenancy.access import can, require
from agentops.tenancy.requests import TenantRequest
from approvals.models import Proposal


@require_POST
@require("regression.manage")
def promote(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Make a case of a run. 409 with the reason when it cannot be one."""
    run = find_run(pk)
    try:
        made = services.promote_run(run=run, actor=request.actor)
    except NotPromotable as error:
        notice = {"tone": "error", "title": "This run cannot become a case.", "text": str(error)}
        return run_page(request, run, status=409, notice=notice)
    return _made(request, made)


@require_POST
@require("regression.manage")
def from_rejection(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Make a case of a rejected proposal. 409 with the reason when it cannot be one."""
    proposal = get_object_or_404(Proposal, pk=pk)
    try:
        made = services.case_from_rejection(proposal=proposal, actor=request.actor)
    except NotPromotable as error:
        notice = {"tone": "error", "title": "This proposal cannot become a case.", "text": str(error)}
        return run_page(request, find_run(proposal.run_id), status=409, notice=notice)
    return _made(request, made)


@require_safe
@require("regression.view")
def suites(request: TenantRequest) -> HttpResponse:
    """Show every suite, its newest verdict and its trend; see `_suites`."""
    return _suites(request)


def _suites(
    request: TenantRequest,
    *,
    form: RehearsalForm | None = None,
    notice: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Answer with every suite.

    Context of `regression/suites.html`: `suites` [selectors.SuiteRow], `form` the RehearsalForm that came back with
    errors or None, `release` the name of this release, `most_repeat`, `may_manage`, `notice`.
    """
    context = {
        "suites": selectors.suites(clock.now()),
        "form": form,
        "release": rehearsing.release_of_now(),
        "most_repeat": rehearsing.MOST_REPEAT,
        "may_manage": can(request.actor, "regression.manage"),
        "notice": notice,
    }
    return unstored(render(request, "regression/suites.html", context, status=status))


@require_POST
@require("regression.manage")
def rehearse(request: TenantRequest) -> HttpResponse:
    """Ask the worker to run a suite. 404 without such a suite, 409 with the reason when it is not begun."""
    form = RehearsalForm(request.POST)
    if not form.is_valid():
        return _suites(request, form=form, status=422)
    asked = rehearsing.ask(**form.cleaned_data, actor=request.actor)
    if isinstance(asked, rehearsing.NotAsked):
        if asked.code == "no_suite":
            raise Http404
        notice = {"tone": "error", "title": "Nothing was begun.", "text": asked.message}
        return _suites(request, notice=notice, status=409)
    return unstored(redirect("run_rehearsal", pk=asked.rehearsal.pk))


@require_safe
@require("regression.view")
def rehearsal(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show how far a suite has come that somebody asked for. Context of `regression/rehearsal.html`: `row`, `live`."""
    row = get_object_or_404(Rehearsal.objects.select_related("asked_by", "suite_run"), pk=pk)
    context = {"row": row, "live": row.state in UNDER_WAY, "may_manage": can(request.actor, "regression.manage")}
    return unstored(render(request, "regression/rehearsal.html", context))


@require_POST
@require("regression.manage")
def rehearsal_stop(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Stop a suite that is under way."""
    get_object_or_404(Rehearsal, pk=pk)
    if rehearsing.stop(rehearsal_id=pk, actor=request.actor):
        messages.success(request, "Stopped. What its trials have shown is not kept.")
    else:
        messages.info(request, "It had ended already.")
    return unstored(redirect("run_rehearsal", pk=pk))


@require_POST
@require("regression.manage")
def pin_rules(request: TenantRequest) -> HttpResponse:
    """Let the cases of a suite be decided by the rules of now, from now on."""
    form = SuiteForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("This names no suite.", content_type="text/plain")
    try:
        changed = services.pin_rules(suite=form.cleaned_data["suite"], actor=request.actor)
    except Case.DoesNotExist:
        raise Http404 from None
    told = f"{changed} case{'' if changed == 1 else 's'} will be decided by the policy and the allowlist of now."
    messages.success(request, told if changed else "All of them were decided by these rules already.")
    return unstored(redirect("run_suites"))


@require_safe
@require("regression.view")
def compare(request: TenantRequest) -> HttpResponse:
    """Compare two runs of a suite, case by case.

    Context of `regression/compare.html`: `before` and `after` SuiteRun or None, `comparison` (statistics.Comparison),
    `estimates` [(k, before, after)], `rows` [selectors.Pair], `others` [SuiteRun of this suite]. Without an address of
    both, the newest run of a suite and its baseline; runs of two suites are a 400.
    """
    form = CompareForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest("This address names no runs.", content_type="text/plain")
    runs = SuiteRun.objects.select_related("started_by")
    asked = form.cleaned_data
    newest = runs.order_by("-started_at", "-pk")
    after = get_object_or_404(runs, pk=asked["after"]) if asked["after"] else newest.first()
    if after is None:
        return unstored(render(request, "regression/compare.html", {"after": None}))
    before = get_object_or_404(runs, pk=asked["before"]) if asked["before"] else selectors.earlier_than(after)
    if before is not None and before.suite != after.suite:
        return HttpResponseBadRequest("These are runs of two suites.", content_type="text/plain")
    others = newest.filter(suite=after.suite)[: selectors.CHOICES]
    context: dict[str, Any] = {"before": before, "after": after, "others": list(others), "comparison": None}
    if before is not None:
        pairs = selectors.pairs(before, after)
        context |= {
            "comparison": statistics.compare(before.release, services.outcomes_of(before), services.outcomes_of(after)),
            "estimates": selectors.estimates_of(before, after),
            "rows": pairs,
            "differing": sum(one.change != "same" for one in pairs),
        }
    return unstored(render(request, "regression/compare.html", context))


@require_safe
@require("regression.view")
def suite_run(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show one run of a suite. Context of `regression/suite_run.html`: `run`, `summary`, `results`, `baseline`."""
    run = get_object_or_404(SuiteRun.objects.select_related("baseline"), pk=pk)
    results = list(run.results.order_by("-quarantined", "passes", "slug").defer("record"))
    context = {
        "run": run,
        "summary": run.summary,
        "comparison": run.summary.get("comparison"),
        "estimates": list(run.summary.get("pass_hat", {}).items()),
        "results": [_result(one) for one in results],
        "cases": selectors.case_urls(run.suite),
    }
    return unstored(render(request, "regression/suite_run.html", context))


@require_safe
@require("regression.view")
def case(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show one case; see `_case_page`."""
    return _case_page(request, get_object_or_404(Case.objects.select_related("rules"), pk=pk))


@require_POST
@require("regression.manage")
def quarantine(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Put a case into quarantine until a day, or take it out."""
    found = get_object_or_404(Case.objects.select_related("rules"), pk=pk)
    form = QuarantineForm(request.POST)
    if not form.is_valid():
        return _case_page(request, found, form, status=422)
    until = form.cleaned_data["until"]
    services.quarantine_case(case_id=pk, until=until, reason=form.cleaned_data["reason"], actor=request.actor)
    messages.success(request, "Its failures fail nothing until then." if until else "Its failures count again.")
    return unstored(redirect("run_case", pk=pk))


@require_POST
@require("regression.manage")
def retire(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Take a case out of its suite, or put it back."""
    get_object_or_404(Case, pk=pk)
    retired = request.POST.get("retired") == "yes"
    services.retire_case(case_id=pk, retired=retired, actor=request.actor)
    messages.success(request, "It is not run any more." if retired else "It is run again.")
    return unstored(redirect("run_case", pk=pk))


def _case_page(
    request: TenantRequest, found: Case, form: QuarantineForm | None = None, *, status: int = 200
) -> HttpResponse:
    """Answer with a case. Context of `regression/case.html`: `case`, `written` (YAML), `expects`, `history`, `form`."""
    written = read_case(found.body)
    changed = selectors.rules_changed(found)
    context: dict[str, Any] = {
        "case": found,
        "rules_changed": changed,
        "run_url": reverse("run", args=[found.source_run]) if found.source_run else "",
        "proposal_url": reverse("proposal", args=[found.source_proposal]) if found.source_proposal else "",
        "expects": written.expect,
        "written": write_suite(found.suite, found.task_type, [written]),
        "history": [_result(one) for one in selectors.history_of(found)],
        "may_manage": can(request.actor, "regression.manage"),
        "resting": found.quarantined_until is not None and found.quarantined_until > clock.now(),
        "form": form or QuarantineForm(),
    }
    return unstored(render(request, "regression/case.html", context, status=status))


def _result(one: Any) -> dict[str, Any]:
    return {
        "slug": one.slug,
        "title": one.title,
        "passes": one.passes,
        "trials": one.trials,
        "passed": one.passes == one.trials,
        "flaky": 0 < one.passes < one.trials,
        "quarantined": one.quarantined,
        "problems": one.problems,
        "steps": one.steps,
        "calls": one.calls,
        "record_url": reverse("run_result_steps", args=[one.pk]) if one.problems else "",
        "run_url": reverse("run_suite", args=[one.suite_run_id]),
        "suite_run": one.suite_run,
    }


def _made(request: TenantRequest, made: services.Promoted) -> HttpResponse:
    told = "It is a regression case now." if made.new else "It was made a case before; this is it."
    messages.success(request, told)
    return unstored(redirect("run_case", pk=made.case.pk))
