"""Errors outside of every view: a problem document below `/api`, the site's page elsewhere.

Django asks for these by the names `handler400`, `handler404` and `handler500` in the root URLconf: for an address that
leads nowhere, a host that is not ours, a failure in the middleware.
"""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import requires_csrf_token

from agentops.gateway.problems import problem_page

_API: Final = ("/api", "/api/")


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400."""
    return problem_page("bad_request", request) if _of_api(request) else defaults.bad_request(request, exception)


@requires_csrf_token
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return problem_page("not_found", request) if _of_api(request) else defaults.page_not_found(request, exception)


@requires_csrf_token
def failed(request: HttpRequest) -> HttpResponse:
    """Answer 500."""
    return problem_page("internal", request) if _of_api(request) else defaults.server_error(request)


def _of_api(request: HttpRequest) -> bool:
    return request.path_info == _API[0] or request.path_info.startswith(_API[1])
