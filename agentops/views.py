"""Pages of no tenant: the list of tenants to enter, and the health check."""

import logging

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

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
