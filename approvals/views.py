"""The queue, the page of one proposal, the decision, and what tells open pages that something happened."""

import logging
from datetime import datetime
from typing import Any, TypedDict
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.db import DatabaseError
from django.http import Http404, HttpResponse, HttpResponseBase, JsonResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST, require_safe

from agentops.accounts import authenticated_at
from agentops.runs.pages import answer, is_fragment, unstored
from agentops.tenancy.access import Actor, can, require
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.scope import give_back_connection
from agentops.wire.money import format_money
from approvals import freezing, live, selectors, services, unknown_views, unknowns
from approvals.answers import Answer, answer_to, headline, incomplete, unrecorded
from approvals.bar import undo_url as bar_undo
from approvals.card import Draft, Notice, card_of
from approvals.forms import BANDS, TAINTED, DecisionForm, QueueFilter, brought, read_edit, typed_values
from approvals.friction import Evidence, shown_again
from approvals.intents import sign_intent
from approvals.models import Proposal, Status
from approvals.outcomes import StepUpNeeded
from approvals.selectors import Count, Filters, QueuePage
from approvals.sight import Sight
from tools.registry import registry

logger = logging.getLogger(__name__)

# --- the queue ------------------------------------------------------------------------------------------------------


@require_safe
@require("queue.view")
def queue(request: TenantRequest) -> HttpResponse:
    """List what waits, most urgent first, with one proposal open beside it.

    `?open=<id>` chooses which one, the first by default. For htmx the answer is the list, or with `HX-Target: card` the
    card. Context of `approvals/queue.html` and its fragments: documented there; besides, `tainted` and `statuses` are
    choices of the filter. A bad filter is a 400 without rows.
    """
    form = QueueFilter(request.GET)
    if not form.is_valid():
        nothing = _queue_context(QueuePage((), None), Filters())
        return answer(request, "approvals/queue.html", "approvals/_list.html", nothing, status=400)
    filters = form.filters
    if is_fragment(request) and request.headers.get("HX-Target") == "card":
        if form.opened_call is not None:
            return unknown_views.card(request, form.opened_call)
        return _card_fragment(request, fetch(form.opened))
    page = selectors.queue_page(filters, now=timezone.now(), after=form.cleaned_data["after"])
    context = _queue_context(page, filters, first=form.cleaned_data["after"] is None)
    if not is_fragment(request):
        _open_one(request, context, page, form)
    return answer(request, "approvals/queue.html", "approvals/_list.html", context)


def _open_one(request: TenantRequest, context: dict[str, Any], page: QueuePage, form: QueueFilter) -> None:
    """Put one card beside the list: what the address asks for, else the most urgent that this person can answer."""
    first = context["unknowns"][0]["id"] if context["unknowns"] and can(request.actor, unknowns.RIGHT) else ""
    call = form.opened_call
    if call is None and form.opened is None and first:
        call = int(first.removeprefix(unknowns.PREFIX))
    if call is not None:
        row = unknowns.find(call)
        context["unknown"] = unknowns.item_of(row, request.actor) if row is not None else None
        if context["unknown"] is None:
            raise Http404
        _mark(context["unknowns"], f"{unknowns.PREFIX}{call}")
        return
    chosen = form.opened or (page.rows[0].pk if page.rows else None)
    if chosen is not None:
        context["selected"] = card_of(fetch(chosen), request.actor, chosen=form.opened is not None)
        _mark(context["items"], chosen)


@require_safe
@require("queue.view")
def newer(request: TenantRequest) -> HttpResponse:
    """Say what has happened since an event id, for pages without an event stream.

    JSON {"newest": id, "events": [{"event": "proposal"|"run", "id", "seq", "type"}], "more": bool}; without `since`
    only the newest id. For htmx: the list.
    """
    if is_fragment(request):
        return queue(request)
    since = request.GET.get("since", "")
    if since and not (since.isdecimal() and len(since) <= 18):
        return unstored(JsonResponse({"error": "since must be an event id"}, status=400))
    found = live.signals_after(int(since), live.MOST_AT_ONCE + 1) if since else []
    told = found[: live.MOST_AT_ONCE]
    body = {
        "newest": told[-1].seq if len(found) > len(told) else live.newest(),
        "events": [one.to_json() for one in told],
        "more": len(found) > len(told),
    }
    return unstored(JsonResponse(body))


@require_GET
@require("queue.view")
async def live_events(request: TenantRequest) -> HttpResponseBase:
    """Stream server-sent events; see `live.stream`. The browser resumes with `Last-Event-ID`."""
    topics = request.GET.get("topics", "queue").split(",")
    if set(topics) - {"queue"}:
        return JsonResponse({"error": "the only topic is queue"}, status=400)
    watcher = live.Watcher(request.tenant.pk, request.actor.user_id or 0, request.session.session_key or "")
    last = request.headers.get("Last-Event-ID", "")
    # Django would keep the connection of the request's thread until the stream has ended.
    await sync_to_async(give_back_connection)()
    return StreamingHttpResponse(
        live.stream(watcher, int(last) if last.isdecimal() and len(last) <= 18 else None),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"},
    )


def _queue_context(page: QueuePage, filters: Filters, *, first: bool = False) -> dict[str, Any]:
    whole = first and not filters.active and page.next is None
    count = Count(len(page.rows), capped=False) if whole else selectors.count_pending()
    unanswered = unknowns.waiting(filters) if first else []
    more = len(unanswered) if first and not filters.active and len(unanswered) < unknowns.SHOWN else unknowns.count()
    still = freezing.standing(page.rows)
    decision = selectors.last_decision() if not page.rows and not filters.active else None
    kept = _query(filters)
    return {
        "items": [_row(one, still.get(one.pk)) for one in page.rows],
        "unknowns": unanswered,
        "selected": None,
        "unknown": None,
        "counts": {"pending": count.pending + more, "capped": count.capped},
        "oldest": min((one.created_at for one in page.rows), default=None) if whole else None,
        "newest_id": max((one.pk for one in page.rows), default=""),
        "next_url": f"{reverse('queue')}?{urlencode(kept | {'after': str(page.next)})}" if page.next else "",
        "filters": {
            "band": filters.band,
            "tool": filters.tool,
            "task_type": filters.task_type,
            "tainted": filters.tainted,
            "status": "" if filters.status == Status.PENDING else filters.status,
            "active": filters.active,
        },
        "bands": BANDS,
        "tainted": TAINTED,
        "statuses": [choice for choice in Status.choices if choice[0] != Status.PENDING],
        "task_types": selectors.task_type_choices(),
        "tools": [(one.name, one.name) for one in registry.contracts() if one.writes],
        "last_decision": None if decision is None else {"at": decision.at, "by": decision.user.get_username()},
    }


def _query(filters: Filters) -> dict[str, str]:
    named = {"band": filters.band, "tool": filters.tool, "task_type": filters.task_type, "tainted": filters.tainted}
    if filters.status != Status.PENDING:
        named["status"] = filters.status
    return {name: value for name, value in named.items() if value}


def _row(one: Proposal, still_since: datetime | None) -> dict[str, Any]:
    return {
        "id": one.pk,
        "band": one.risk_band,
        "score": one.risk_score,
        "sentence_parts": one.sentence,
        "magnitude": _magnitude(one.consequence),
        "tainted": one.tainted,
        "task_type": one.task_type.name,
        "age": one.created_at,
        "decide_by": one.decide_by,
        "still_since": still_since,
        "status": one.status,
        "url": reverse("proposal", args=[one.pk]),
        "selected": False,
    }


def _mark(items: list[dict[str, Any]], chosen: UUID | str) -> None:
    for item in items:
        item["selected"] = item["id"] == chosen


def _magnitude(consequence: Any) -> str:
    """Return the one number of a row: the money, or else how many things are touched."""
    match consequence:
        case {"money": {"minor": int(minor), "currency": str(currency)}}:
            try:
                return format_money(minor, currency)
            except ValueError:
                return f"{minor} {currency}"
        case {"blast": [{"kind": str(kind), "count": int(count)}, *_]}:
            return f"{count:,} {kind.removesuffix('s') if count == 1 else kind}"
        case _:
            return ""


# --- one proposal ---------------------------------------------------------------------------------------------------


@require_safe
@require("proposal.view")
def proposal(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Show one proposal: a page, or for htmx the card. Context: `card` (`card.card_of`)."""
    return card_answer(request, fetch(pk), status=200)


@require_POST
@require("proposal.view")
def decide(request: TenantRequest, pk: UUID) -> HttpResponse:
    """Take a person's verdict on the version and digest they saw.

    200 with the next card (htmx) or a redirect to the queue; 202 when others have to agree as well; 409 when somebody
    was first or the proposal has changed; 410 when it has expired or was withdrawn; 412 when what it would touch has
    changed; 422 when a gate of the band is not open or the verdict cannot be taken as it is; 428 when the person has to
    say who they are first; 403 when this person may not, with the rule; 503 when nothing can be recorded. All but the
    first show the proposal as it is now, with what was typed.
    """
    return take(request, pk, request.POST, authenticated_at(request))


def take(request: TenantRequest, pk: UUID, posted: QueryDict, proved_at: datetime | None) -> HttpResponse:
    """Take a verdict as it was posted by somebody who last proved at `proved_at` who they are."""
    found = fetch(pk)
    form = DecisionForm(posted)
    draft = _draft(posted)
    if not form.is_valid():
        wrong = {n: str(e[0]) for n, e in form.errors.items() if n == "note"}
        return _refuse(request, found, incomplete(draft, wrong), posted)
    try:
        outcome = _verdict(request, found, form.cleaned_data, draft, brought(posted, authenticated_at=proved_at))
    except DatabaseError:
        logger.exception("a verdict on proposal %s could not be recorded", pk)
        return _refuse(request, found, unrecorded(draft), posted)
    if isinstance(outcome, Answer):
        return _refuse(request, found, outcome, posted)
    now = fetch(pk)
    if isinstance(outcome, services.Decided):
        return _decided(request, now, headline(outcome, now.tool))
    told = answer_to(outcome, now, draft, request.actor.name)
    return _refuse(request, now, told, posted, intent=isinstance(outcome, StepUpNeeded))


def _draft(posted: QueryDict) -> Draft:
    said = brought(posted, authenticated_at=None)
    decision = str(posted.get("decision", ""))
    return Draft(
        reason_code=str(posted.get("reason_code", ""))[:40],
        note=str(posted.get("note", ""))[:20_000],
        values=typed_values({name: str(posted[name]) for name in posted}),
        open=decision if decision in ("edit", "reject") else "",
        answers=said.answers,
        facts=said.facts,
    )


def _verdict(
    request: TenantRequest, found: Proposal, said: dict[str, Any], draft: Draft, evidence: Evidence
) -> services.Outcome | Answer:
    seen = Seen(proposal_id=found.pk, actor=request.actor, version=said["version"], digest=said["args_digest"])
    match said["decision"]:
        case "approve":
            return services.approve(**seen, note=said["note"], evidence=evidence)
        case "edit":
            contract = registry.get(found.tool, found.contract_version)
            edit = read_edit(contract, found.argument_values, draft.values)
            if edit.errors and (found.version, found.digest) == (seen["version"], seen["digest"]):
                return incomplete(draft, dict(edit.errors))
            return services.edit_and_approve(**seen, arguments=edit.arguments, note=said["note"], evidence=evidence)
        case _:
            return services.reject(**seen, reason_code=said["reason_code"], note=said["note"])


class Seen(TypedDict):
    """Who answers which version of what."""

    proposal_id: UUID
    actor: Actor
    version: int
    digest: str


def _refuse(
    request: TenantRequest, found: Proposal, told: Answer, posted: QueryDict, *, intent: bool = False
) -> HttpResponse:
    """Show the card with what was typed; it stays the same card, so that its time to read goes on."""
    sight = shown_again(found, request.actor, str(posted.get("view_token", "")))
    waiting = sign_intent(request, found, posted) if intent else ""
    return card_answer(request, found, told.notice, told.draft, status=told.status, sight=sight, intent=waiting)


def _decided(request: TenantRequest, found: Proposal, title: str) -> HttpResponse:
    """Go on: to the queue without scripts, to the next card in the queue, or stay where there is no queue."""
    if not is_fragment(request):
        messages.success(request, title)
        return unstored(redirect("queue"))
    filters = _filters_of_the_page(request)
    following = selectors.next_after(found, filters, now=timezone.now()) if filters is not None else None
    if following is None:
        return card_answer(request, found, Notice("ok", title), status=200)
    decided_url = reverse("proposal", args=[found.pk])
    undo = bar_undo(found, request.actor)
    notice = Notice("ok", title, "This is the next one.", url=decided_url, link="See what was decided", undo_url=undo)
    return card_answer(request, fetch(following.pk), notice, status=200)


def _filters_of_the_page(request: TenantRequest) -> Filters | None:
    """Return the filters of the queue page that sent this request; None when it was another page."""
    address = urlsplit(request.headers.get("HX-Current-URL", ""))
    if address.path != reverse("queue"):
        return None
    form = QueueFilter({name: values[0] for name, values in parse_qs(address.query).items()})
    filters = form.filters if form.is_valid() else Filters()
    return filters if filters.status == Status.PENDING else Filters()


def fetch(pk: UUID | None) -> Proposal:
    """Return a proposal with everything its card names; 404 for an id of none in the tenant."""
    found = selectors.find(pk) if pk is not None else None
    if found is None:
        raise Http404
    return found


def _card_fragment(request: TenantRequest, found: Proposal) -> HttpResponse:
    return unstored(render(request, "approvals/_card.html", {"card": card_of(found, request.actor)}))


def card_answer(
    request: TenantRequest,
    found: Proposal,
    notice: Notice | None = None,
    draft: Draft | None = None,
    *,
    status: int,
    sight: Sight | None = None,
    intent: str = "",
) -> HttpResponse:
    """Render the card of what `fetch` returned; `intent` is a verdict that waits for a password."""
    card = card_of(found, request.actor, notice=notice, draft=draft, sight=sight)
    context = {"card": card | {"intent": intent}}
    return answer(request, "approvals/proposal.html", "approvals/_card.html", context, status=status)
