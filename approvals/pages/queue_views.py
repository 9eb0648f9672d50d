"""The queue: what waits, narrowed and in order; the next one to serve; views with a name; what open pages are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY
from django.http import Http404, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST, require_safe

from agentops import clock
from agentops.runs.pages import is_fragment, unstored
from agentops.tenancy.access import can, require
from agentops.tenancy.people import called
from agentops.tenancy.prepared import along
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.scope import give_back_connection
from approvals.cards import unknowns
from approvals.cards.card import Notice, card_of
from approvals.cards.readings import note_reading
from approvals.models import Status
from approvals.pages import unknown_views
from approvals.pages.forms import QueueFilter, SaveViewForm, ServeForm
from approvals.pages.proposal_pages import card_answer, fetch
from approvals.pages.views import filters_of_the_page
from approvals.proposals import names
from approvals.queue import claims, figures, live, saved_views, selectors
from approvals.queue.filters import BadFilter, Filters, Problem, parse
from approvals.queue.rows import rows
from approvals.queue.saved_views import View
from approvals.queue.selectors import Overview, QueuePage
from tools.registry import registry

MOST_ROWS: Final = 100

FRAGMENTS: Final = {"queue-pane": "approvals/_pane.html", "more": "approvals/_more.html"}
"""Target of an htmx request -> what it gets; every other target gets the list."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the address asks for, once it is read."""

    form: QueueFilter
    filters: Filters
    problems: tuple[Problem, ...] = ()


@require_safe
@require("queue.view")
def queue(request: TenantRequest) -> HttpResponse:
    """List what waits, most urgent first, with one proposal open beside it.

    `?q=` is the filter line (`queue.filters`), `?open=<id>` chooses the proposal, the first by default. For htmx
    the answer is the list; with `HX-Target: card` the card, `queue-pane` the list with its head, `more` the next page
    to append. Context of `approvals/queue.html` and its fragments: documented there. A line that cannot be read is a
    400 that names each mistake, without rows.
    """
    asked = _asked(request)
    if asked.problems or not asked.form.is_valid():
        return _bad(request, asked)
    form, filters = asked.form, asked.filters
    if is_fragment(request) and request.headers.get("HX-Target") == "card":
        if form.opened_call is not None:
            return unknown_views.card(request, form.opened_call)
        return card_answer(request, fetch(form.opened), status=200)
    now, after = timezone.now(), form.cleaned_data["after"]
    with along(saved_views.asked_for(request.actor), live.asked_for()):
        page = selectors.queue_page(filters, now=now, after=after)
        context = _context(request, page, filters, now, first=after is None)
    if is_fragment(request):
        fragment = FRAGMENTS.get(request.headers.get("HX-Target", ""), "approvals/_list.html")
        return unstored(render(request, fragment, context))
    _open_one(request, context, page, form)
    return unstored(render(request, "approvals/queue.html", context))


def _asked(request: TenantRequest) -> _Asked:
    form = QueueFilter(request.GET)
    if not form.is_valid():
        return _Asked(form, Filters(me=request.actor.user_id))
    try:
        return _Asked(form, parse(form.cleaned_data["q"], request.actor.user_id))
    except BadFilter as bad:
        return _Asked(form, Filters(me=request.actor.user_id), bad.problems)


def _bad(request: TenantRequest, asked: _Asked) -> HttpResponse:
    problems = asked.problems or tuple(
        Problem(0, str(request.GET.get(field, ""))[:40], "value", str(errors[0]))
        for field, errors in asked.form.errors.items()
    )
    if "application/json" in request.headers.get("Accept", ""):
        told = [{"at": one.at, "text": one.text, "code": one.code, "message": one.message} for one in problems]
        return unstored(JsonResponse({"errors": told}, status=400))
    nothing = QueuePage((), None)
    context = _context(request, nothing, Filters(me=request.actor.user_id), timezone.now(), first=False)
    context |= {"q": str(request.GET.get("q", ""))[:2_000], "problems": problems}
    if not is_fragment(request):
        return unstored(render(request, "approvals/queue.html", context, status=400))
    # The rows that are there stay, and the address too: only what is wrong is said.
    response = render(request, "approvals/_problems.html", context, status=400)
    for name, value in (("HX-Retarget", "#problems"), ("HX-Reswap", "outerHTML"), ("HX-Push-Url", "false")):
        response.headers[name] = value
    return unstored(response)


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
        shown = fetch(chosen)
        if form.opened is not None:
            note_reading(shown, request.actor, clock.now())
        context["selected"] = card_of(shown, request.actor, chosen=form.opened is not None)
        _mark(context["items"], chosen)


def _mark(items: list[dict[str, Any]], chosen: UUID | str) -> None:
    for item in items:
        item["selected"] = item["id"] == chosen


def _context(
    request: TenantRequest, page: QueuePage, filters: Filters, now: datetime, *, first: bool
) -> dict[str, Any]:
    me = request.actor.user_id
    views = saved_views.views_of(request.actor)
    found = figures.recent_overview([view.filters for view in views], now=now)
    empty = not page.rows
    decision = selectors.last_decision() if empty and not filters.active else None
    return {
        "items": rows(page.rows, me=me, now=now),
        "unknowns": unknowns.waiting(filters) if first and found.calls else [],
        "selected": None,
        "unknown": None,
        "counts": {"pending": found.waiting.pending, "capped": found.waiting.capped, "text": str(found.waiting)},
        "oldest": found.oldest,
        "newest_id": max((one.pk for one in page.rows), default=""),
        "next_url": _address(filters.query, after=str(page.next)) if page.next else "",
        "q": filters.query,
        "filters": filters,
        "problems": (),
        "hides": _hides(filters, now) if empty and len(filters.terms) > 0 and first else None,
        "searched": selectors.SEARCHED if filters.status != Status.PENDING and len(filters.terms) > 1 else 0,
        "views": _views(views, found, filters),
        "may_share": can(request.actor, saved_views.SHARE),
        "may_serve": can(request.actor, claims.RIGHT),
        "saveable": filters.active and filters.query not in {view.query for view in views},
        "hints": _hints(),
        "last_decision": None if decision is None else {"at": decision.at, "by": called(decision.user)},
    }


def _address(query: str, **more: str) -> str:
    named = {"q": query, **more} if query else more
    return f"{reverse('queue')}?{urlencode(named)}" if named else reverse("queue")


def _views(views: Sequence[View], found: Overview, filters: Filters) -> list[dict[str, Any]]:
    return [
        {
            "id": view.id,
            "name": view.name,
            "query": view.query,
            "url": _address(view.query),
            "count": str(count),
            "none": not count.pending,
            "current": view.query == filters.query,
            "shared": view.shared,
            "removable": view.removable,
        }
        for view, count in zip(views, found.of, strict=True)
    ]


def _hides(filters: Filters, now: datetime) -> dict[str, Any] | None:
    """Name the term without which most would be found; None when dropping one alone finds nothing. One query."""
    without = [(term, filters.without(term)) for term in filters.terms]
    counts, _ = selectors.found_by([one for _, one in without], now=now)
    count, term, rest = max(
        ((count, term, rest) for count, (term, rest) in zip(counts, without, strict=True)),
        key=lambda one: one[0].pending,
    )
    return {"text": term.text, "count": str(count), "url": _address(rest.query)} if count.pending else None


def _hints() -> dict[str, list[str]]:
    """Return what the tenant's filters can name."""
    return {
        "tasks": [one.slug for one in names.task_types().values()],
        "tools": sorted({one.name for one in registry.contracts() if one.writes}),
    }


# --- rows that have changed -------------------------------------------------------------------------------------------


@require_safe
@require("queue.view")
def changed_rows(request: TenantRequest) -> HttpResponse:
    """Print some rows as they are now, also when they are no longer waiting: `?ids=` takes up to 100 with commas."""
    wanted = [text for text in request.GET.get("ids", "").split(",") if text]
    try:
        ids = [UUID(text) for text in wanted]
    except ValueError:
        return unstored(JsonResponse({"error": "ids are those of proposals"}, status=400))
    if len(ids) > MOST_ROWS:
        return unstored(JsonResponse({"error": f"at most {MOST_ROWS} ids"}, status=400))
    items = rows(selectors.rows_of(ids), me=request.actor.user_id, now=timezone.now())
    return unstored(render(request, "approvals/_rows.html", {"items": items}))


# --- serving ----------------------------------------------------------------------------------------------------------


@require_POST
@require("proposal.decide")
def serve(request: TenantRequest) -> HttpResponse:
    """Serve the most urgent proposal that this person can decide, with a lease of two minutes.

    200 with its card (htmx) or a redirect to it; 422 with the card that was served last and is not finished; 400 for a
    filter that cannot be read. When there is nothing to serve, says so.
    """
    form = ServeForm(request.POST)
    try:
        if "q" in request.POST:
            filters = parse(str(request.POST["q"]), request.actor.user_id)
        else:
            filters = filters_of_the_page(request) or Filters(me=request.actor.user_id)
    except BadFilter as bad:
        return _not_served(request, bad.problems[0].message, status=400)
    if not form.is_valid():
        return _not_served(request, str(next(iter(form.errors.values()))[0]), status=422)
    said = form.cleaned_data
    if filters.status != Status.PENDING:
        filters = Filters(me=request.actor.user_id)
    outcome = claims.serve_next(
        actor=request.actor, filters=filters, skip_reason=said["skip_reason"], note=said["note"]
    )
    match outcome:
        case claims.Done(proposal_id=pk):
            if not is_fragment(request):
                return unstored(redirect(_address(filters.query, open=str(pk))))
            return card_answer(request, fetch(pk), Notice("info", "Served to you for two minutes."), status=200)
        case claims.Unfinished(proposal_id=pk):
            notice = Notice("error", "This one is still yours.", "Decide it, or say below why you give it back.")
            return card_answer(request, fetch(pk), notice, status=422)
        case claims.Nothing():
            return _not_served(request, "Nothing waits that is yours to decide.", status=200)
        case claims.Refused(message=message):
            return _not_served(request, message, status=422)
        case claims.MayNot(message=message):
            return _not_served(request, message, status=403)


def _not_served(request: TenantRequest, message: str, *, status: int) -> HttpResponse:
    if is_fragment(request):
        return unstored(render(request, "approvals/_no_card.html", {"message": message}, status=status))
    if status == 200:
        messages.info(request, message)
    else:
        messages.error(request, message)
    return unstored(redirect("queue"))


# --- views with a name ------------------------------------------------------------------------------------------------


@require_POST
@require("queue.view")
def save_view(request: TenantRequest) -> HttpResponse:
    """Keep the filter under a name and go back to it; what is wrong with it is said there."""
    form = SaveViewForm(request.POST)
    query = str(request.POST.get("q", ""))
    if not form.is_valid():
        messages.error(request, "The view was not saved: its name cannot be read.")
        return unstored(redirect(_address(query[:400])))
    said = form.cleaned_data
    outcome = saved_views.save(actor=request.actor, name=said["name"], query=said["q"], shared=said["shared"])
    match outcome:
        case saved_views.Saved():
            messages.success(request, "The view is saved.")
        case saved_views.Refused(message=message):
            messages.error(request, f"The view was not saved. {message}")
    return unstored(redirect(_address(query[:400])))


@require_POST
@require("queue.view")
def remove_view(request: TenantRequest, pk: int) -> HttpResponse:
    """Remove a view of one's own, or one of the tenant's."""
    if not saved_views.remove(view_id=pk, actor=request.actor):
        raise Http404
    messages.success(request, "The view is removed.")
    return unstored(redirect("queue"))


# --- what open pages are told -----------------------------------------------------------------------------------------


@require_safe
@require("queue.view")
def newer(request: TenantRequest) -> HttpResponse:
    """Say what has happened since an event id, for pages without an event stream.

    JSON {"newest": id, "events": [{"event": "proposal"|"run", "id", "seq", "type"}], "more": bool}; without `since`
    only the newest id. 304 when `If-None-Match` names the newest. For htmx: the list.
    """
    if is_fragment(request):
        return queue(request)
    since = request.GET.get("since", "")
    if since and not (since.isdecimal() and len(since) <= 18):
        return unstored(JsonResponse({"error": "since must be an event id"}, status=400))
    found = live.signals_after(int(since), live.MOST_AT_ONCE + 1) if since else []
    told = found[: live.MOST_AT_ONCE]
    newest = told[-1].seq if len(found) > len(told) else live.newest()
    tag = f'"{newest}"'
    if request.headers.get("If-None-Match") == tag:
        return unstored(HttpResponse(status=304, headers={"ETag": tag}))
    body = {"newest": newest, "events": [one.to_json() for one in told], "more": len(found) > len(told)}
    answer = JsonResponse(body)
    answer.headers["ETag"] = tag
    return unstored(answer)


@require_GET
@require("queue.view")
async def live_events(request: TenantRequest) -> HttpResponseBase:
    """Stream server-sent events about `?topics=`: `queue`, `proposal:<id>`, with commas; see `live.stream`.

    The browser resumes with `Last-Event-ID`.
    """
    topics = live.read_topics(request.GET.get("topics", "queue"))
    if topics is None:
        return JsonResponse({"error": "topics are queue and proposal:<id>"}, status=400)
    kept = request.session
    vouched = str(kept.get(HASH_SESSION_KEY, ""))
    watcher = live.Watcher(request.tenant.pk, request.actor.user_id or 0, kept.session_key or "", vouched)
    last = request.headers.get("Last-Event-ID", "")
    # Django would keep the connection of the request's thread until the stream has ended.
    await sync_to_async(give_back_connection)()
    return StreamingHttpResponse(
        live.stream(watcher, int(last) if last.isdecimal() and len(last) <= 18 else None, topics=topics),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"},
    )
