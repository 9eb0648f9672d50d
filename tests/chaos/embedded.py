"""The embedded process of the chaos test: worker and sweeper as `manage.py demo` runs them, without the site.

`python -m tests.chaos.embedded`. Everybody is rung for twice and in any order, as a broker might.
"""

import os
import random
import signal
import time
from datetime import timedelta

import django

RING_EVERY_S = 1.0


def main() -> None:
    """Work until killed."""
    from django.db import connections
    from django.utils import timezone

    from agentops import clock
    from agentops.runs.dispatch import ring_now
    from agentops.runs.models import Run
    from agentops.tenancy.scope import tenant_scope
    from agentops.worker import sweeper
    from agentops.worker.embedded import EmbeddedWorker, Sweeper, note_path
    from tests.chaos import mayhem, workload  # noqa: F401 - what is imported first decides this process's fate

    clock.keep_note(note_path())
    cast = workload.find()
    sweeper.take_over()
    worker, sweeping = EmbeddedWorker(), Sweeper(sweeper.sweep)
    worker.start()
    sweeping.start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while worker.thread.is_alive() and sweeping.is_alive():
        with tenant_scope(cast.tenant):
            recent = timezone.now() - timedelta(hours=2)
            runs = list(
                Run.objects.filter(ended_at=None, created_at__gt=recent).order_by("?").values_list("pk", flat=True)[:10]
            )
        connections.close_all()
        for run_id in random.sample([*runs, *runs], 2 * len(runs)):
            ring_now(cast.tenant.pk, run_id)
        time.sleep(RING_EVERY_S)
    raise SystemExit("the worker stopped by itself")


if __name__ == "__main__":
    django.setup()
    main()
