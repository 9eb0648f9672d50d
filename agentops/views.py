"""Pages of no tenant: the health check, and what Prometheus reads."""

import logging

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agentops.metrics import exposition
from agentops.worker.embedded import worker_state

log = logging.getLogger(__name__)


@require_safe
@never_cache
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when requests and runs are served, 503 when the database or this process's worker is gone.

    `worker` is running, stopped, or elsewhere (Celery processes of their own, which this one cannot see).
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        database = "ok"
    except DatabaseError:
        log.exception("health check: no database")
        database = "unreachable"
    worker = worker_state()
    healthy = database == "ok" and worker != "stopped"
    return JsonResponse(
        {"status": "ok" if healthy else "failing", "database": database, "worker": worker},
        status=200 if healthy else 503,
    )


_PROXIES_SAY = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_HOST")
"""Headers by which proxies tell that they are one; one that tells nothing has to be counted in the settings."""


@require_safe
@never_cache
@login_not_required
def prometheus(request: HttpRequest) -> HttpResponse:
    """Answer with the figures of every tenant; 404 to whoever may not ask, so that nobody learns that it is there.

    Without METRICS_TOKEN only this machine may ask, in production only where METRICS_LOCAL says so, and not through a
    proxy: then everybody would come from here.
    """
    address = request.META.get("REMOTE_ADDR", "")
    proxied = settings.ALLAUTH_TRUSTED_PROXY_COUNT or any(name in request.META for name in _PROXIES_SAY)
    if not exposition.allowed("" if proxied else address, request.META.get("HTTP_AUTHORIZATION", "")):
        raise Http404
    return HttpResponse(exposition.text(), content_type=exposition.CONTENT_TYPE)
