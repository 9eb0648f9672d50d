"""From the path to the tenant: everything below `/t/<slug>/` runs inside that tenant's scope, or not at all."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import get_script_prefix, set_script_prefix
from django.utils.http import url_has_allowed_host_and_scheme

from agentops.factors import has_factor
from agentops.proving import authenticated_at
from agentops.tenancy.access import Actor
from agentops.tenancy.links import PATH, tenant_urlconf
from agentops.tenancy.models import SLUG_PATTERN, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.selectors import membership_of

_SLUG = re.compile(SLUG_PATTERN)
_TENANT_PATH = re.compile(rf"{PATH}(?P<slug>[^/]+)(?P<rest>/.*)", re.DOTALL)


class TenantMiddleware:
    """Open the tenant named in the path for the signed-in member, for the time of the view.

    Sets `request.tenant` and `request.actor`, resolves the rest of the path with `agentops.tenant_urls` and moves
    `/t/<slug>/` into the script prefix, so that `reverse()`, the templates and the admin make addresses of the same
    tenant. Anonymous people go to the sign-in page whatever the slug is; for members of other tenants the tenant does
    not exist (404).

    It is synchronous on purpose: under ASGI Django runs it in the request's own thread, which is also the thread (and
    the database connection) of every ORM call below it, so the scope and the session setting are in one place. A
    response that streams after the view has returned is outside of the scope and uses `scope.run_in_tenant`.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer one request."""
        path = _TENANT_PATH.fullmatch(request.path_info)
        if path is None:
            return self.get_response(request)
        if not request.user.is_authenticated:
            return _to_sign_in(request, path["slug"])
        member = membership_of(request.user, path["slug"]) if _SLUG.match(path["slug"]) else None
        if member is None:
            raise Http404
        if settings.REQUIRE_SECOND_FACTOR and not has_factor(request):
            messages.warning(request, "Here everybody signs in with a second factor. Set one up, then go on.")
            return redirect("mfa_index")
        tenant, roles = member
        request.actor = Actor.user(request.user, roles, authenticated_at(request))  # type: ignore[attr-defined]
        return self._inside(request, tenant, path["rest"])

    def _inside(self, request: HttpRequest, tenant: Tenant, rest: str) -> HttpResponseBase:
        outer = get_script_prefix()
        request.tenant = tenant  # type: ignore[attr-defined]
        request.urlconf = tenant_urlconf()
        request.path_info = rest
        set_script_prefix(f"{outer}{PATH[1:]}{tenant.slug}/")
        try:
            with tenant_scope(tenant):
                response = self.get_response(request)
        finally:
            set_script_prefix(outer)
        # One tenant's page must not come back from a cache for the next person at this screen.
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


def _to_sign_in(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Send somebody to the sign-in page, which leads back to a page: what only takes forms is none.

    A form that comes when its session has run out is lost; its person is told so.
    """
    if request.method in ("GET", "HEAD"):
        return redirect_to_login(request.get_full_path(), str(settings.LOGIN_URL))
    sent_from = request.headers.get("Referer", "")
    ours = url_has_allowed_host_and_scheme(sent_from, {request.get_host()}, require_https=request.is_secure())
    page = urlsplit(sent_from)
    back = urlunsplit(("", "", page.path, page.query, "")) if ours and _TENANT_PATH.fullmatch(page.path) else ""
    if "HX-Request" not in request.headers:
        messages.error(request, "You were signed out before this was sent. Nothing of it was recorded.")
    return redirect_to_login(back or f"{get_script_prefix()}{PATH[1:]}{slug}/", str(settings.LOGIN_URL))
