"""The audit list and the page of one event."""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from agentops.audit import selectors
from agentops.audit.forms import AuditFilter
from agentops.audit.models import Event
from agentops.audit.services import Recorded
from agentops.audit.verify import verify_stream
from agentops.tenancy.access import require

# Up to here a page walks the whole chain; longer streams are checked around the event, and the page says so.
WHOLE_CHAIN = 1_000
AROUND = 100


@require_safe
@vary_on_headers("HX-Request")
@require("audit.view")
def audit_list(request: HttpRequest) -> HttpResponse:
    """List events, newest first, 50 a page; `HX-Request` gets the rows only.

    Context of `audit/list.html` and `audit/_rows.html`: `filter` (AuditFilter, bound, with the errors), `filters`
    (what was typed, by field name, and `active`: whether any is set), `events` (selectors.Row: id, seq, stream, type,
    at, actor_kind, actor, subject, run, tool, fact, also, url), `next_url` and `previous_url` (older and newer events
    under the same filters; empty at the ends). A bad filter value shows its error and no rows, with status 400.
    """
    form = AuditFilter(request.GET)
    page = selectors.Page((), None, None)
    if form.is_valid():
        values = form.cleaned_data
        page = selectors.audit_page(values, before=values["before"], after=values["after"])
    typed = {name: text for name in form.fields if name not in {"before", "after"} and (text := request.GET.get(name))}
    context = {
        "filter": form,
        "filters": {**typed, "active": bool(typed)},
        "events": page.rows,
        "next_url": _list_url(typed, before=page.older),
        "previous_url": _list_url(typed, after=page.newer),
    }
    template = "audit/_rows.html" if request.headers.get("HX-Request") else "audit/list.html"
    return render(request, template, context, status=200 if form.is_valid() else 400)


@require_safe
@require("audit.view")
def audit_event(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one event with its neighbours and whether its chain holds.

    Context of `audit/event.html`: `row` (Event), `event` (Recorded, the row's headline), `data` (its data, indented
    JSON text), `together` (pairs of Recorded and data, when the row holds several events; else empty), `texts`
    (selectors.Text: long texts kept beside them), `body` (the canonical text that was hashed), `hash` and `previous`
    (hex; `previous` is empty for the first event), `earlier` and `later` (up to five rows each, as in the list),
    `chain` (verify.StreamReport), `whole` (bool: the whole stream was walked, not only the surroundings).
    """
    row = get_object_or_404(Event.objects.select_related("stream"), pk=pk)
    earlier, later, previous = selectors.neighbours(row)
    whole = row.stream.seq <= WHOLE_CHAIN
    chain = (
        verify_stream(row.stream)
        if whole
        else verify_stream(row.stream, start=max(1, row.seq - AROUND), stop=row.seq + AROUND)
    )
    event, together = selectors.recorded(row), selectors.together(row)
    context = {
        "row": row,
        "event": event,
        "data": _indented(event),
        "together": [(one, _indented(one)) for one in together] if len(together) > 1 else [],
        "body": row.body,
        "texts": selectors.texts(together or [event]),
        "hash": bytes(row.hash).hex(),
        "previous": previous.hex(),
        "earlier": earlier,
        "later": later,
        "chain": chain,
        "whole": whole,
    }
    return render(request, "audit/event.html", context)


def _indented(event: Recorded) -> str:
    return json.dumps(event.data, indent=2, ensure_ascii=False, sort_keys=True)


def _list_url(typed: Mapping[str, str], **position: int | None) -> str:
    """Return the address of the list from an event id on, or an empty text without one."""
    if not any(position.values()):
        return ""
    return f"{reverse('audit')}?{urlencode({**typed, **position})}"
