"""The risk page of a tenant: how well risk predicts what people do, what is weighed, and who changes that."""

from collections.abc import Mapping
from typing import Any, assert_never
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agentops.changes import outcomes
from agentops.changes.answers import Words, decided
from agentops.changes.models import ChangeStatus
from agentops.changes.services import RIGHT
from agentops.runs.pages import unstored
from agentops.tenancy.access import can, require
from agentops.tenancy.proof import StepUpNeeded
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.step_up import resumes
from approvals.assessing import weighing
from approvals.assessing.calibration import Calibration, calibrate, simulate
from approvals.assessing.risk import ENGINE
from approvals.assessing.weights import MOST, NAMES, THRESHOLD_NAMES, BadWeights, Weights, parse_weights
from approvals.models import RiskWeights

HISTORY = 20
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

WORDS = Words("version", "the weights")


@require_safe
@require("audit.view")
def risk(request: TenantRequest) -> HttpResponse:
    """Show calibration, weights in force, the set that waits with its simulation, and what was decided before.

    Context of `approvals/risk.html`: `calibration` Calibration, `plot` [{x, y, low, high, n, name}] in the units of the
    drawing, `reasons` [{code, name, weight, rate}], `thresholds` [{name, value}], `hours` text, `weights` Weights,
    `engine`, `waiting` {row, changes [{name, before, after}], simulation, own} or None, `past` [RiskWeights],
    `form` {weights [{code, name, value}], thresholds, hours, days [(n, name, on)], note}, `errors` {field: text},
    `can_change`, `notice` {tone, title, text} or None.
    """
    return _page(request)


@require_POST
@require(RIGHT)
def propose(request: TenantRequest) -> HttpResponse:
    """Propose a set of weights. 409 while another one waits, 422 with what was typed when it cannot be taken."""
    raw, unreadable = _posted(request.POST)
    note = str(request.POST.get("note", ""))[:20_000]
    if unreadable:
        return _page(request, raw=raw, note=note, errors=unreadable, status=422)
    outcome = weighing.propose(raw=raw, note=note, actor=request.actor)
    match outcome:
        case outcomes.Proposed(version=version):
            messages.success(request, f"Version {version} is proposed. Another admin decides whether it takes effect.")
            return unstored(redirect("risk"))
        case outcomes.Invalid(problems=problems):
            return _page(request, raw=raw, note=note, errors=problems, status=422)
        case outcomes.Waiting(by=by, version=version):
            notice = _error(f"Version {version} of {by} waits already.", "It has to be decided or withdrawn first.")
            return _page(request, raw=raw, note=note, notice=notice, status=409)
        case outcomes.Forbidden(rule=rule):
            notice = _error(WORDS.forbidden(rule), "Nothing was changed.")
            return _page(request, raw=raw, note=note, notice=notice, status=403)
        case outcomes.Settled() | outcomes.TooLate() | outcomes.Stale() | outcomes.NotFound() | StepUpNeeded():
            raise ValueError("a proposal does not end like this")
        case _:
            assert_never(outcome)


@require_POST
@require(RIGHT)
@resumes
def decide(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Put a proposed set in force, refuse it or take it back: see `agentops.changes.answers.decided`."""
    verdict, note = str(request.POST.get("verdict", ""))[:20], str(request.POST.get("note", ""))[:20_000]
    outcome = weighing.decide(weights_id=pk, verdict=verdict, note=note, actor=request.actor)

    def page(problems: Mapping[str, str], wrong: str, status: int) -> HttpResponse:
        notice = _error(wrong, "Nothing was changed.") if wrong else None
        return _page(request, errors=problems, notice=notice, decision_note=note, status=status)

    return unstored(decided(request, outcome, WORDS, page=page, to="risk"))


def _error(title: str, text: str) -> dict[str, str]:
    return {"tone": "error", "title": title, "text": text}


# --- the page -------------------------------------------------------------------------------------------------------


def _page(
    request: TenantRequest,
    *,
    raw: Mapping[str, Any] | None = None,
    note: str = "",
    decision_note: str = "",
    errors: Mapping[str, str] | None = None,
    notice: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    weights, calibration = weighing.weights_in_force(), calibrate(timezone.now())
    rows = list(RiskWeights.objects.select_related("proposed_by", "decided_by").order_by("-version")[: HISTORY + 1])
    rates = {one.name: one for one in calibration.reasons}
    context = {
        "calibration": calibration,
        "plot": plot(calibration),
        "reasons": [
            {"code": code, "name": name, "weight": weights.values[code], "rate": rates[code]}
            for code, name in NAMES.items()
        ],
        "thresholds": [
            {"name": name, "value": f"{weights.thresholds[key]:,}"} for key, name in THRESHOLD_NAMES.items()
        ],
        "hours": hours_words(weights),
        "weights": weights,
        "engine": ENGINE,
        "waiting": _waiting(rows, weights, request),
        "past": [one for one in rows if one.status != ChangeStatus.PROPOSED][:HISTORY],
        "form": _form(raw if raw is not None else weights.to_json(), note),
        "decision_note": decision_note,
        "most": MOST,
        "errors": dict(errors or {}),
        "open": raw is not None,
        "can_change": can(request.actor, RIGHT),
        "notice": notice,
    }
    return unstored(render(request, "approvals/risk.html", context, status=status))


def plot(calibration: Calibration) -> list[dict[str, Any]]:
    """Return the points of the reliability plot: 40 units of width for ten points of score, 200 of height for 100 %."""
    return [
        {
            "x": 40 * index + 20,
            "y": round(200 - 2 * (one.share or 0), 1),
            "top": round(200 - 2 * (one.high or 0), 1),
            "height": round(2 * ((one.high or 0) - (one.low or 0)), 1),
            "rate": one,
        }
        for index, one in enumerate(calibration.scores)
        if one.share is not None
    ]


def hours_words(weights: Weights) -> str:
    """Return the working hours in words."""
    hours = weights.hours
    if (hours.start, hours.end) == (0, 24) and len(hours.days) == 7:
        return "always"
    days = ", ".join(DAYS[day] for day in hours.days)
    return f"{hours.start}:00 to {hours.end}:00 UTC on {days}"


def _waiting(rows: list[RiskWeights], weights: Weights, request: TenantRequest) -> dict[str, Any] | None:
    row = next((one for one in rows if one.status == ChangeStatus.PROPOSED), None)
    if row is None:
        return None
    try:
        wanted = parse_weights(row.body, row.version)
    except BadWeights:
        return {"row": row, "changes": [], "simulation": None, "own": row.proposed_by_id == request.actor.user_id}
    return {
        "row": row,
        "changes": changes(weights, wanted),
        "simulation": simulate(wanted),
        "own": row.proposed_by_id == request.actor.user_id,
    }


def changes(before: Weights, after: Weights) -> list[dict[str, Any]]:
    """Return what differs between two sets, in words."""
    rows: list[dict[str, Any]] = [
        {"name": name, "before": f"{before.values[code]} %", "after": f"{after.values[code]} %"}
        for code, name in NAMES.items()
        if before.values[code] != after.values[code]
    ]
    rows += [
        {"name": name, "before": f"{before.thresholds[key]:,}", "after": f"{after.thresholds[key]:,}"}
        for key, name in THRESHOLD_NAMES.items()
        if before.thresholds[key] != after.thresholds[key]
    ]
    if before.hours != after.hours:
        rows.append({"name": "Working hours", "before": hours_words(before), "after": hours_words(after)})
    return rows


def _form(raw: Mapping[str, Any], note: str) -> dict[str, Any]:
    values, thresholds, hours = raw.get("weights", {}), raw.get("thresholds", {}), raw.get("hours", {})
    days = hours.get("days", [])
    return {
        "weights": [{"code": code, "name": name, "value": values.get(code, "")} for code, name in NAMES.items()],
        "thresholds": [{"code": c, "name": n, "value": thresholds.get(c, "")} for c, n in THRESHOLD_NAMES.items()],
        "start": hours.get("start", 0),
        "end": hours.get("end", 24),
        "days": [(number, name, number in days) for number, name in enumerate(DAYS)],
        "note": note,
    }


def _posted(posted: QueryDict) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the form; what is no number stays as it was typed and is named."""
    unreadable: dict[str, str] = {}

    def number(name: str) -> Any:
        text = str(posted.get(name, "")).strip()[:20]
        if text.isascii() and text.isdecimal() and len(text) <= 12:
            return int(text)
        unreadable[name.partition(":")[2] or name] = "Type a whole number."
        return text

    raw = {
        "weights": {code: number(f"weight:{code}") for code in NAMES},
        "thresholds": {code: number(f"threshold:{code}") for code in THRESHOLD_NAMES},
        "hours": {
            "start": number("start"),
            "end": number("end"),
            "days": [int(day) for day in posted.getlist("days") if day in {"0", "1", "2", "3", "4", "5", "6"}],
        },
    }
    return raw, unreadable
