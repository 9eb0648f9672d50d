"""A request inside a tenant, as views see it."""

from django.http import HttpRequest

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant


class TenantRequest(HttpRequest):
    """For annotations only: what `TenantMiddleware` adds to the request."""

    tenant: Tenant
    actor: Actor
