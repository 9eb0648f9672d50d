"""The audit list and the page of one event."""

import json
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from agentops.audit import exports, selectors, verification
from agentops.audit.forms import AuditFilter
from agentops.audit.models import Event, EventTerm, Export
from agentops.audit.services import Recorded, record_in_tenant_stream
from agentops.audit.verify import verify_stream
from agentops.tenancy.access import can, require
from agentops.tenancy.requests import TenantRequest
from agentops.wire import JSONObject
from agentops.wire.canonical import digest

# Up to here a page walks the whole chain; longer streams are checked around the event, and the page says so.
WHOLE_CHAIN = 1_000
AROUND = 100
EXPORT: Final = "audit.export"
SEARCH_AGAIN_S: Final = 600

QUESTIONS: Final = (
    ("Who approved what", "terms=decision%3Aapprove"),
    ("Changed, then approved", "terms=decision%3Aedit"),
    ("Rejected", "terms=decision%3Areject"),
    ("Approved what they had asked for", "terms=is%3Aself"),
    ("Critical decisions", "type=proposal.decided&terms=band%3Acritical"),
    ("From untrusted text, and approved", "terms=decision%3Aapprove+taint%3Ayes"),
    ("Effects without a permission", "terms=is%3Aorphan"),
    ("Changed settings", "type=admin.changed"),
    ("Changed and proposed policies", "type=policy."),
    ("Changed and proposed allowlist rules", "type=allowlist."),
    ("Trusted calls", "type=trust."),
    ("Hosts that tools may reach", "type=host."),
    ("Legal holds", "type=hold."),
    ("How long records are kept, and what was removed", "type=retention."),
    ("Who belongs here", "type=member."),
    ("Who searched and exported", "type=audit."),
)
"""What auditors ask first: words, and the filters that answer."""


@require_safe
@vary_on_headers("HX-Request", "HX-Target")
@require("audit.view")
def audit_list(request: TenantRequest) -> HttpResponse:
    """List events, newest first, 50 a page; `HX-Request` gets the rows only, unless it is for how the record stands.

    Context of `audit/list.html` and `audit/_rows.html`: `filter` (AuditFilter, bound, with the errors), `filters`
    (what was typed, by field name, and `active`: whether any is set), `events` (selectors.Row: id, seq, stream, type,
    at, actor_kind, actor, subject, run, tool, fact, also, url), `next_url` and `previous_url` (older and newer events
    under the same filters; empty at the ends), and outside of fragments `standing` (verification.Standing), `orphans`
    (effects without a permission, 1,000 means more),
    `questions` [(words, query)], `can_export`. A bad filter value shows its error and no rows, with status 400. What
    somebody looks for is on record, once in ten minutes.
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
    if form.is_valid() and typed:
        _remember_search(request, typed)
    fragment = bool(request.headers.get("HX-Request")) and request.headers.get("HX-Target") != "standing"
    if not fragment:
        context |= {
            "standing": verification.standing(),
            "orphans": EventTerm.objects.filter(term="is:orphan").values("pk")[: verification.COUNTED].count(),
            "questions": QUESTIONS,
            "can_export": can(request.actor, EXPORT),
        }
    template = "audit/_rows.html" if fragment else "audit/list.html"
    return render(request, template, context, status=200 if form.is_valid() else 400)


@require_safe
@require("audit.view")
def audit_event(request: TenantRequest, pk: int) -> HttpResponse:
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


@require_POST
@require("audit.view")
def verify(request: TenantRequest) -> HttpResponse:
    """Begin to walk every chain; the audit page says how it stands."""
    if verification.begin(now=timezone.now(), actor=request.actor):
        messages.success(request, "Every chain is walked now. This page says what was found.")
    else:
        messages.info(request, "The chains are being walked already.")
    return redirect("audit")


@require_safe
@require(EXPORT)
def export_list(request: TenantRequest) -> HttpResponse:
    """List what was exported in the last seven days; see `_exports` for the context."""
    return _exports(request)


@require_POST
@require(EXPORT)
def export(request: TenantRequest) -> HttpResponse:
    """Ask for a file of what the posted filters show. 400 with the reason if they cannot be read, 429 for too many."""
    form = AuditFilter(request.POST)
    kind = request.POST.get("format", "")
    if not form.is_valid() or kind not in Export.Format.values:
        return _exports(request, 400, filter=form, bad_format=kind not in Export.Format.values)
    typed = {name: text for name in form.fields if name != "before" and (text := request.POST.get(name))}
    try:
        exports.ask(typed, kind, person=cast(User, request.user), actor=request.actor, now=timezone.now())
    except exports.TooMany:
        messages.error(request, f"{exports.AT_ONCE} of your exports are under way. Wait for one of them.")
        return _exports(request, 429, filter=form)
    messages.success(request, "The file is being written. It is listed here when it is ready.")
    return redirect("audit_exports")


@require_POST
@require(EXPORT)
def export_file(request: TenantRequest, pk: int) -> HttpResponseBase:
    """Give the file of an export, 409 before it is ready. It is a POST, because fetching is on record."""
    row = get_object_or_404(Export, pk=pk, expires_at__gt=timezone.now())
    if row.ended_at is None:
        messages.error(request, "This file is still being written.")
        return _exports(request, 409)
    kind = "text/csv; charset=utf-8" if row.format == Export.Format.CSV else "application/jsonl; charset=utf-8"
    response = HttpResponse(b"".join(exports.fetch(row, actor=request.actor)), content_type=kind)
    name = f"audit-{request.tenant.slug}-{row.pk}-{row.requested_at:%Y%m%d}.{row.format}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _remember_search(request: TenantRequest, typed: Mapping[str, str]) -> None:
    """Put on record what somebody looks for, unless the same is there since less than ten minutes."""
    told: JSONObject = {"filters": dict(typed)}
    key = f"audit-searched:{request.tenant.pk}:{request.user.pk}:{digest(told)}"
    if cache.add(key, 1, SEARCH_AGAIN_S):
        with transaction.atomic():
            record_in_tenant_stream("audit.searched", told, subject=("audit", "search"), actor=request.actor)


def _indented(event: Recorded) -> str:
    return json.dumps(event.data, indent=2, ensure_ascii=False, sort_keys=True)


def _list_url(typed: Mapping[str, str], **position: int | None) -> str:
    """Return the address of the list from an event id on, or an empty text without one."""
    if not any(position.values()):
        return ""
    return f"{reverse('audit')}?{urlencode({**typed, **position})}"


def _exports(request: TenantRequest, status: int = 200, **more: Any) -> HttpResponse:
    """Context of `audit/exports.html`: `exports` (Export rows), `under_way` (one is still being written), `filter`,
    `bad_format`."""
    rows = exports.listed()
    page = {"exports": rows, "under_way": any(row.ended_at is None for row in rows), "filter": AuditFilter(), **more}
    return render(request, "audit/exports.html", page, status=status)
