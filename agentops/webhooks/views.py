"""The pages on which admins say where messages go, and see what became of them."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agentops.runs.pages import unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from agentops.webhooks import services
from agentops.webhooks.forms import EndpointForm, form_of
from agentops.webhooks.models import Endpoint, Kind, Message, MessageState
from agentops.webhooks.signing import secret_of

SHOWN = 50


@require_safe
@require(services.RIGHT)
def webhooks(request: TenantRequest) -> HttpResponse:
    """List the endpoints, and what was sent last; see `_list`."""
    return _list(request)


@require_POST
@require(services.RIGHT)
def add(request: TenantRequest) -> HttpResponse:
    """Register an endpoint and show its secret, this once. 422 with what was typed and what is wrong with it."""
    form = EndpointForm(request.POST)
    outcome = services.register(form.wanted(), actor=request.actor) if form.is_valid() else None
    if isinstance(outcome, Endpoint):
        return _page(request, outcome, secret=True, status=201)
    return _list(request, form=_with(form, outcome), status=422)


@require_safe
@require(services.RIGHT)
def webhook(request: TenantRequest, pk: int) -> HttpResponse:
    """Show one endpoint; see `_page`."""
    return _page(request, get_object_or_404(Endpoint, pk=pk))


@require_POST
@require(services.RIGHT)
def change(request: TenantRequest, pk: int) -> HttpResponse:
    """Change an endpoint. 422 with what was typed and what is wrong with it."""
    endpoint = get_object_or_404(Endpoint, pk=pk)
    form = EndpointForm(request.POST, initial={"task_type": endpoint.task_type})
    outcome = services.change(pk, form.wanted(), actor=request.actor) if form.is_valid() else services.Invalid({})
    match outcome:
        case Endpoint():
            messages.success(request, "Saved.")
            return unstored(redirect("webhook", pk=pk))
        case services.Invalid():
            return _page(request, endpoint, form=_with(form, outcome), status=422)
        case None:
            raise Http404


@require_POST
@require(services.RIGHT)
def switch(request: TenantRequest, pk: int) -> HttpResponse:
    """Enable or disable an endpoint."""
    enabled = request.POST.get("enabled") == "yes"
    return _done(request, services.switch(pk, enabled, actor=request.actor), "Enabled." if enabled else "Disabled.")


@require_POST
@require(services.RIGHT)
def rotate(request: TenantRequest, pk: int) -> HttpResponse:
    """Sign with a new secret, which is shown this once."""
    endpoint = services.rotate(pk, actor=request.actor, now=timezone.now())
    if endpoint is None:
        raise Http404
    return _page(request, endpoint, secret=True)


@require_POST
@require(services.RIGHT)
def test(request: TenantRequest, pk: int) -> HttpResponse:
    """Send a message that says nothing. 409 while the endpoint is disabled."""
    endpoint = get_object_or_404(Endpoint, pk=pk)
    if services.send_test(pk, actor=request.actor, now=timezone.now()) is None:
        return _page(request, endpoint, wrong="It is disabled. Enable it first.", status=409)
    messages.success(request, "A test is on its way. Look at this page again in a few seconds.")
    return unstored(redirect("webhook", pk=pk))


@require_POST
@require(services.RIGHT)
def remove(request: TenantRequest, pk: int) -> HttpResponse:
    """Remove an endpoint with everything that waits for it."""
    if not services.remove(pk, actor=request.actor):
        raise Http404
    messages.success(request, "Removed, with everything that waited for it.")
    return unstored(redirect("webhooks"))


def _done(request: TenantRequest, endpoint: Endpoint | None, done: str) -> HttpResponse:
    if endpoint is None:
        raise Http404
    messages.success(request, done)
    return unstored(redirect("webhook", pk=endpoint.pk))


def _with(form: EndpointForm, outcome: object) -> EndpointForm:
    if isinstance(outcome, services.Invalid):
        for name, why in outcome.problems.items():
            form.add_error(name or None, why)
    return form


def _list(request: TenantRequest, *, form: EndpointForm | None = None, status: int = 200) -> HttpResponse:
    """Answer with the list.

    Context of `webhooks/list.html`: `endpoints` [{row, kinds [words], waiting, given_up}], `form` EndpointForm,
    `adding` whether it is open, `deliveries` as `_deliveries`, `audit_url`.
    """
    rows = list(Endpoint.objects.order_by("name"))
    context: dict[str, Any] = {
        "endpoints": [{"row": row, "kinds": _words(row)} for row in rows],
        "form": form or EndpointForm(),
        "adding": form is not None or not rows,
        "deliveries": _deliveries({}),
        "audit_url": f"{reverse('audit')}?type=webhook.",
    }
    return unstored(render(request, "webhooks/list.html", context, status=status))


def _page(
    request: TenantRequest,
    endpoint: Endpoint,
    *,
    form: EndpointForm | None = None,
    secret: bool = False,
    wrong: str = "",
    status: int = 200,
) -> HttpResponse:
    """Answer with the page of an endpoint.

    Context of `webhooks/endpoint.html`: `endpoint` Endpoint, `kinds` in words, `form`, `changing` whether it is open,
    `secret` the signing secret or empty, `overlap` whether the former one signs as well, `resting`, `wrong`,
    `deliveries` as `_deliveries`.
    """
    now = timezone.now()
    context = {
        "endpoint": endpoint,
        "kinds": _words(endpoint),
        "form": form or form_of(endpoint),
        "changing": form is not None,
        "secret": secret_of(endpoint.pk, endpoint.tenant_id, endpoint.secret_version) if secret else "",
        "overlap": len(endpoint.versions(now)) > 1,
        "resting": endpoint.resting_until is not None and endpoint.resting_until > now,
        "wrong": wrong,
        "deliveries": _deliveries({"endpoint": endpoint}),
    }
    return unstored(render(request, "webhooks/endpoint.html", context, status=status))


def _words(endpoint: Endpoint) -> list[str]:
    return [str(kind.label) for kind in Kind if kind.value in endpoint.kinds]


def _deliveries(only: Mapping[str, object]) -> list[dict[str, Any]]:
    """Return the newest messages: {row, waits, sent} each."""
    rows = Message.objects.filter(**only).select_related("endpoint").order_by("-id")[:SHOWN]
    return [
        {"row": row, "waits": row.state == MessageState.WAITING, "sent": row.state == MessageState.SENT} for row in rows
    ]
