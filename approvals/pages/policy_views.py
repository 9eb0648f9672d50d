"""The policy page of a tenant: what is in force, in words; what waits for a second admin; and the form for the next."""

import difflib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from agentops.changes import outcomes
from agentops.changes.answers import Words, decided
from agentops.changes.models import TOOK_EFFECT, ChangeStatus
from agentops.changes.services import RIGHT
from agentops.runs.pages import unstored
from agentops.tenancy.access import can, require
from agentops.tenancy.proof import StepUpNeeded
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.step_up import resumes
from agentops.wire.places import BadFile, dump
from approvals.gating.policy import Policy, Rule, in_words
from approvals.gating.policy_file import read, write
from approvals.models import PolicyVersion
from approvals.permits import policies

HISTORY = 20
WORDS = Words("version", "the policy", "is published")


@require_safe
@require("audit.view")
def policy(request: TenantRequest) -> HttpResponse:
    """Show the rules in force, the version that waits, and the history.

    `?against=<version>` compares, `?version=<version>` shows the rules of one. 404 for one that was not published.

    Context of `approvals/policy.html`: `policy` Policy, `rules` and `waiting.rules` [{rule, words}], `waiting` {row,
    rules, difference, own} or None, `past` [PolicyVersion], `shown` {policy, rules} or None, `against`, `difference`,
    `form` {text, effective, note}, `checked` [{rule, words}] or None, `errors` {field: [text]}, `can_change`, `notice`
    {tone, title, text} or None.
    """
    asked = str(request.GET.get("version", ""))[:9]
    shown = policies.published(int(asked)) if asked.isascii() and asked.isdecimal() else None
    if asked and shown is None:
        raise Http404
    return _page(request, against=str(request.GET.get("against", ""))[:9], shown=shown)


@require_POST
@require(RIGHT)
def propose(request: TenantRequest) -> HttpResponse:
    """Check a policy or propose it. 409 while another version waits, 422 with what was typed and every problem."""
    text = str(request.POST.get("text", ""))[:1_000_000].replace("\r\n", "\n")
    note, effective = str(request.POST.get("note", ""))[:20_000], str(request.POST.get("effective", "")).strip()[:40]
    typed = {"text": text, "note": note, "effective": effective}
    try:
        effective_at = _moment(effective)
    except ValueError:
        problem = {"effective": ["Write a date and a time in UTC, such as 2026-12-01T08:00, or nothing."]}
        return _page(request, typed=typed, errors=problem, status=422)
    if request.POST.get("do") != "propose":
        return _check(request, typed)
    outcome = policies.propose(text=text, effective_at=effective_at, note=note, actor=request.actor)
    match outcome:
        case outcomes.Proposed(version=version):
            messages.success(request, f"Version {version} is proposed. Another admin decides whether it takes effect.")
            return unstored(redirect("policy"))
        case outcomes.Invalid(problems=problems):
            listed = {name: why.split("\n") for name, why in problems.items()}
            return _page(request, typed=typed, errors=listed, status=422)
        case outcomes.Waiting(by=by, version=version):
            notice = _error(f"Version {version} of {by} waits already.", "It has to be decided or withdrawn first.")
            return _page(request, typed=typed, notice=notice, status=409)
        case outcomes.Forbidden(rule=rule):
            return _page(request, typed=typed, notice=_error(WORDS.forbidden(rule)), status=403)
        case outcomes.Settled() | outcomes.TooLate() | outcomes.Stale() | outcomes.NotFound() | StepUpNeeded():
            raise ValueError("a proposal does not end like this")
        case _:
            assert_never(outcome)


def _check(request: TenantRequest, typed: Mapping[str, str]) -> HttpResponse:
    try:
        rules = read(typed["text"], now=timezone.now())
    except BadFile as error:
        return _page(request, typed=typed, errors={"text": [str(one) for one in error.problems]}, status=422)
    return _page(request, typed=typed, checked=rules)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    found = parse_datetime(text)
    if found is None:
        raise ValueError(text)
    return found if found.tzinfo is not None else timezone.make_aware(found, timezone.get_default_timezone())


@require_POST
@require(RIGHT)
@resumes
def decide(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Publish a proposed version, refuse it or take it back: see `agentops.changes.answers.decided`."""
    verdict, note = str(request.POST.get("verdict", ""))[:20], str(request.POST.get("note", ""))[:20_000]
    outcome = policies.decide(version_id=pk, verdict=verdict, note=note, actor=request.actor)

    def page(problems: Mapping[str, str], wrong: str, status: int) -> HttpResponse:
        errors = {f"decision_{name}": [why] for name, why in problems.items()}
        return _page(request, errors=errors, notice=_error(wrong) if wrong else None, decision_note=note, status=status)

    return unstored(decided(request, outcome, WORDS, page=page, to="policy"))


def _error(title: str, text: str = "Nothing was changed.") -> dict[str, str]:
    return {"tone": "error", "title": title, "text": text}


# --- the page -------------------------------------------------------------------------------------------------------


def _page(
    request: TenantRequest,
    *,
    typed: Mapping[str, str] | None = None,
    checked: tuple[Rule, ...] | None = None,
    errors: Mapping[str, list[str]] | None = None,
    notice: Mapping[str, str] | None = None,
    decision_note: str = "",
    against: str = "",
    shown: Policy | None = None,
    status: int = 200,
) -> HttpResponse:
    in_force = policies.in_force()
    rows = list(PolicyVersion.objects.select_related("proposed_by", "decided_by").order_by("-version")[: HISTORY + 1])
    row = next((one for one in rows if one.status == ChangeStatus.PROPOSED), None)
    other = next((one for one in rows if str(one.version) == against and one.status in TOOK_EFFECT), None)
    start = {"text": write(in_force.rules), "note": "", "effective": ""}
    context: dict[str, Any] = {
        "policy": in_force,
        "rules": listed(in_force.rules),
        "shown": {"policy": shown, "rules": listed(shown.rules)} if shown is not None else None,
        "waiting": _waiting(row, in_force, request) if row is not None else None,
        "past": [one for one in rows if one.status != ChangeStatus.PROPOSED][:HISTORY],
        "against": other,
        "difference": lines(dump(other.body), write(in_force.rules)) if other is not None else [],
        "form": dict(typed) if typed is not None else start,
        "open": typed is not None,
        "checked": listed(checked) if checked is not None else None,
        "checked_difference": lines(write(in_force.rules), write(checked)) if checked is not None else [],
        "errors": dict(errors or {}),
        "decision_note": decision_note,
        "can_change": can(request.actor, RIGHT),
        "notice": notice,
        "now": timezone.now(),
    }
    return unstored(render(request, "approvals/policy.html", context, status=status))


def _waiting(row: PolicyVersion, in_force: Policy, request: TenantRequest) -> dict[str, Any]:
    wanted = policies.compiled(row.tenant_id, row.version, row.body)
    return {
        "row": row,
        "rules": listed(wanted.rules),
        "readable": wanted.readable,
        "difference": lines(write(in_force.rules), write(wanted.rules)),
        "own": row.proposed_by_id == request.actor.user_id,
    }


def listed(rules: tuple[Rule, ...]) -> list[dict[str, Any]]:
    """Return rules with what they mean in words."""
    return [{"rule": rule, "words": in_words(rule)} for rule in rules]


def lines(before: str, after: str) -> list[dict[str, str]]:
    """Return what differs between two files, line by line: {kind, text}, kind one of same, gone, new."""
    kinds = {"-": "gone", "+": "new", " ": "same"}
    compared = difflib.ndiff(before.split("\n"), after.split("\n"))
    return [{"kind": kinds[one[0]], "text": one[2:]} for one in compared if one[0] in kinds]
