"""Reject several: narrow what waits as in the queue, choose, say why once, and read what became of each."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from agentops.runs.pages import unstored
from agentops.tenancy.access import require
from agentops.tenancy.people import called
from agentops.tenancy.requests import TenantRequest
from approvals.cards.card import Draft
from approvals.decisions import bulk
from approvals.decisions.bulk import Chosen, Unrecorded
from approvals.decisions.deciding import needs_note
from approvals.models import Proposal, RejectReason, RejectScope, Status, Verdict
from approvals.pages.answers import answer_to, headline
from approvals.pages.forms import ManyForm, QueueFilter
from approvals.proposals.names import task_types
from approvals.proposals.outcomes import Decided, Expired, Forbidden, Invalid, Leased, Lost, Outcome, Stale
from approvals.queue import selectors
from approvals.queue.filters import BadFilter, Filters, Problem, parse
from approvals.queue.rows import magnitude, rows
from approvals.queue.selectors import Place, QueueRow

_PART: Final = 6
"""So many values of one kind are offered to narrow the list by."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The part of the queue that is offered, as the address or the form says it."""

    filters: Filters
    after: Place | None
    problems: tuple[Problem, ...] = ()


@require_http_methods(["GET", "HEAD", "POST"])
@require("proposal.decide")
def reject_many(request: TenantRequest) -> HttpResponse:
    """Offer up to a hundred of what waits to be ticked, and reject what was, with one reason.

    `?q=` is the filter line of the queue, `?after=` continues the list, `?tick=all` ticks all that is shown. What was
    rejected is told one by one, above the next that the filter finds. 400 for a line that cannot be read, 422 when
    nothing was tried. Context of `approvals/rejected.html`: documented there.
    """
    posted = request.method == "POST"
    asked = _asked(request.POST if posted else request.GET, request.actor.user_id)
    if not posted:
        return _offer(request, asked, status=400 if asked.problems else 200)
    draft = _draft(request.POST)
    raw = [str(one) for one in request.POST.getlist("chosen")]
    form = ManyForm(request.POST)
    try:
        chosen = list(dict.fromkeys(map(Chosen.parse, raw)))
    except ValueError:
        return _offer(request, asked, draft, error="Choose again: a row of this list is damaged.", status=422)
    if error := _amiss(chosen, form):
        return _offer(request, asked, draft, chosen=chosen, error=error, status=422)
    said = form.cleaned_data
    told = bulk.reject_many(
        chosen=chosen,
        actor=request.actor,
        reason_code=said["reason_code"],
        note=said["note"],
        scope=said["scope"],
        retry=said["retry"] != "no",
    )
    found = Proposal.objects.in_bulk([one.proposal_id for one, _ in told])
    fates = [_fate(found.get(one.proposal_id), outcome, called(request.user)) for one, outcome in told]
    return _offer(request, asked, draft, fates=fates, status=200)


def _asked(sent: QueryDict, me: int | None) -> _Asked:
    form = QueueFilter(sent)
    everything = Filters(me=me)
    if not form.is_valid():
        wrong = [Problem(0, str(sent.get(name, ""))[:40], "value", str(why[0])) for name, why in form.errors.items()]
        return _Asked(everything, None, tuple(wrong))
    try:
        filters = parse(form.cleaned_data["q"], me)
    except BadFilter as bad:
        return _Asked(everything, None, bad.problems)
    if filters.status != Status.PENDING:
        closed = Problem(0, f"status:{filters.status}", "closed", "Only what waits can be rejected; take out status:.")
        return _Asked(everything, None, (closed,))
    return _Asked(filters, form.cleaned_data["after"])


def _draft(posted: QueryDict) -> Draft:
    typed = {name: str(posted.get(name, "")) for name in ("reason_code", "note", "scope", "retry")}
    return Draft(
        reason_code=typed["reason_code"][:40],
        scope=typed["scope"][:10],
        retry=typed["retry"][:10],
        note=typed["note"][:2000],
    )


def _amiss(chosen: Sequence[Chosen], form: ManyForm) -> str:
    """Return why nothing is tried, empty when it is."""
    if not chosen:
        return "Choose what to reject."
    if len(chosen) > bulk.MOST:
        return f"At most {bulk.MOST} at once."
    if not form.is_valid():
        return next(str(wrong[0]) for wrong in form.errors.values())
    if not form.cleaned_data["note"].strip():
        waiting = Proposal.objects.filter(pk__in=[one.proposal_id for one in chosen], status=Status.PENDING)
        rank = max(waiting.values_list("band_rank", flat=True), default=0)
        if needs_note(form.cleaned_data["reason_code"], rank):
            return "Say in a note why: this reason, or the risk of something that is ticked, needs one."
    return ""


# --- what is offered --------------------------------------------------------------------------------------------------


def _offer(
    request: TenantRequest,
    asked: _Asked,
    draft: Draft | None = None,
    *,
    status: int,
    chosen: Sequence[Chosen] = (),
    error: str = "",
    fates: Sequence[Mapping[str, Any]] = (),
) -> HttpResponse:
    now, query = timezone.now(), asked.filters.query
    page, following = _page(asked, now) if not asked.problems else ((), None)
    ticked = [one for one in selectors.rows_of([one.proposal_id for one in chosen]) if one.status == Status.PENDING]
    # What was ticked stays on the page, wherever in the queue it stands by now.
    places = {one.proposal_id: place for place, one in enumerate(chosen)}
    ticked.sort(key=lambda one: places[one.pk])
    shown = [*ticked, *(one for one in page if one.pk not in places)]
    everything = request.GET.get("tick") == "all"
    ((count,), _) = selectors.found_by([asked.filters], now=now)
    values = {one.pk: str(Chosen(one.pk, one.version, one.digest)) for one in shown}
    wanted = set(map(str, chosen))
    context = {
        "offered": [
            {
                **item,
                "tool": one.tool,
                "parts": json.loads(one.sentence),
                "worth": magnitude(json.loads(one.consequence)),
                "value": values[one.pk],
                "ticked": everything or values[one.pk] in wanted,
                "changed": one.pk in places and values[one.pk] not in wanted,
            }
            for one, item in zip(shown, rows(shown, me=request.actor.user_id, now=now), strict=True)
        ],
        "lost": len(chosen) - len(ticked),
        "count": count,
        "narrower": _narrower(page, asked.filters) if len(page) > 1 else [],
        "all_url": _address(query, asked.after, tick="all"),
        "none_url": _address(query, asked.after),
        "next_url": _address(query, following) if following else "",
        "first_url": _address(query, None) if asked.after else "",
        "queue_url": f"{reverse('queue')}?{urlencode({'q': query})}" if query else reverse("queue"),
        "q": str((request.POST if request.method == "POST" else request.GET).get("q", ""))[:2_000],
        "after": str(asked.after or ""),
        "filters": asked.filters,
        "problems": asked.problems,
        "error": error,
        "fates": sorted(fates, key=lambda one: bool(one["done"])),
        "done": sum(bool(one["done"]) for one in fates),
        "others": Counter(str(one["title"]) for one in fates if not one["done"]).most_common(),
        "reasons": RejectReason.choices,
        "scopes": RejectScope.choices,
        "draft": draft or Draft(),
    }
    return unstored(render(request, "approvals/rejected.html", context, status=status))


def _page(asked: _Asked, now: datetime) -> tuple[tuple[QueueRow, ...], Place | None]:
    """Return as many as can be rejected at once, in the order of the queue, and where the list goes on."""
    found: tuple[QueueRow, ...] = ()
    place = asked.after
    while len(found) + selectors.PAGE <= bulk.MOST:
        page = selectors.queue_page(asked.filters, now=now, after=place)
        found, place = (*found, *page.rows), page.next
        if place is None:
            break
    return found, place


def _narrower(page: Iterable[QueueRow], filters: Filters) -> list[dict[str, Any]]:
    """Return by what else the list can be narrowed: the values that some of it has, with how many, the most first."""
    kinds = task_types()
    found: dict[str, Counter[str]] = {"tool": Counter(), "task": Counter(), "band": Counter(), "taint": Counter()}
    for one in page:
        found["tool"][one.tool] += 1
        if one.task_type_id in kinds:
            found["task"][kinds[one.task_type_id].slug] += 1
        found["band"][one.risk_band] += 1
        found["taint"]["yes" if one.tainted else "no"] += 1
    # A line has one term of a kind: the narrower takes the place of the wider.
    rest = {key: [term.text for term in filters.terms if not term.text.casefold().startswith(key)] for key in found}
    return [
        {"text": f"{key}:{value}", "count": count, "url": _address(" ".join([*rest[key], f"{key}:{value}"]), None)}
        for key, values in found.items()
        if len(values) > 1
        for value, count in values.most_common(_PART)
    ]


def _address(query: str, after: Place | None, **more: str) -> str:
    named = {"q": query, "after": str(after or ""), **more}
    line = urlencode({name: value for name, value in named.items() if value})
    return f"{reverse('reject_many')}?{line}" if line else reverse("reject_many")


# --- what became of each ----------------------------------------------------------------------------------------------


def _fate(proposal: Proposal | None, outcome: Outcome | Unrecorded | None, me: str) -> dict[str, Any]:
    if proposal is None or outcome is None:
        return _told(None, "No such proposal", "There is no such proposal.")
    match outcome:
        case Unrecorded():
            return _told(proposal, "Not recorded", "The record did not take it. It still waits; try again in a minute.")
        case Invalid(issues=issues):
            return _told(proposal, "Not taken", " ".join(issue.message for issue in issues))
        case Decided():
            return _told(proposal, "Rejected", headline(outcome, proposal.tool), done=True)
        case Lost(verdict=Status.WITHDRAWN.value) | Expired():
            title = "Too late"
        case Lost(by=by, verdict=Verdict.REJECT.value) if by == me:
            title = "Rejected by you before"
        case Lost():
            title = "Decided meanwhile"
        case Stale():
            title = "Changed since it was shown"
        case Leased():
            title = "Somebody else has it"
        case Forbidden():
            title = "Not yours to decide"
        case _:
            title = "Not rejected"
    notice = answer_to(outcome, proposal, Draft(), me).notice
    return _told(proposal, title, f"{notice.title} {notice.text}".strip())


def _told(proposal: Proposal | None, title: str, text: str, *, done: bool = False) -> dict[str, Any]:
    return {"proposal": proposal, "title": title, "text": text, "done": done}
