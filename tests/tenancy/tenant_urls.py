"""A tenant's addresses, for the tests of the tenant border: the same probe as a sync, an async and a streaming view."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import include, path, reverse

from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.requests import TenantRequest
from agentops.tenancy.scope import current_tenant_id, run_in_tenant


def seen(request: TenantRequest, here: str) -> dict[str, Any]:
    """Return everything by which a view can tell where it is."""
    session = ""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("select current_setting('app.tenant', true)")
            session = cursor.fetchone()[0]
    return {
        "slug": request.tenant.slug,
        "scope": current_tenant_id(),
        "session": session,
        "people": sorted(Membership.objects.values_list("user__username", flat=True)),
        "actor": request.actor.name,
        "roles": sorted(request.actor.roles),
        "url": here,
        "path": request.path,
        "path_info": request.path_info,
    }


def probe(request: TenantRequest) -> HttpResponse:
    """Look around in a sync view."""
    return JsonResponse(seen(request, reverse("probe")))


async def async_probe(request: TenantRequest) -> HttpResponse:
    """Look around in an async view, letting other requests in between."""
    await asyncio.sleep(0)
    first = await sync_to_async(seen)(request, reverse("async_probe"))
    await asyncio.sleep(0.02)
    second = await sync_to_async(seen)(request, reverse("async_probe"))
    return JsonResponse(first if first == second else {"before": first, "after": second})


def people() -> str:
    """Return the members of the open tenant."""
    return ",".join(sorted(Membership.objects.values_list("user__username", flat=True)))


async def stream(request: TenantRequest) -> HttpResponseBase:
    """Stream after the view has returned, with the scope opened for each question."""
    tenant: Tenant = request.tenant

    async def lines() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.01)
            yield (await run_in_tenant(tenant, people)).encode() + b"\n"

    return StreamingHttpResponse(lines(), content_type="text/event-stream")


def fails(request: HttpRequest) -> HttpResponse:
    """Fail inside the scope."""
    raise RuntimeError("the view failed")


urlpatterns = [
    path("probe", probe, name="probe"),
    path("async-probe", async_probe, name="async_probe"),
    path("stream", stream, name="stream"),
    path("fails", fails, name="fails"),
    path("", include("agentops.audit.urls")),
    path("admin/", admin.site.urls),
]
