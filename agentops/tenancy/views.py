"""The page outside of every tenant: which tenants am I in?"""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agentops.tenancy.links import tenant_url
from agentops.tenancy.selectors import tenants_of


@require_safe
@never_cache
@login_required
def tenant_list(request: HttpRequest) -> HttpResponse:
    """Show the signed-in person's tenants.

    Context: `tenants`, a list of {"tenant": Tenant, "roles": [Role] (use `role.label`), "url": path of its start page},
    ordered by name; empty for a person without membership.
    """
    assert request.user.is_authenticated
    tenants = [
        {"tenant": tenant, "roles": roles, "url": tenant_url(tenant.slug)} for tenant, roles in tenants_of(request.user)
    ]
    return render(request, "tenancy/list.html", {"tenants": tenants})
