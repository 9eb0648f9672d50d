"""The Celery tasks: take the doorbell, open nothing but the driver."""

import os
import socket
import threading
from uuid import UUID

from celery import shared_task

from agentops.worker.driver import Driver
from agentops.worker.sweeper import sweep as sweep_all


def worker_name() -> str:
    """Name this thread of this process, as leases and events carry it."""
    return f"{socket.gethostname()[:24]}:{os.getpid()}:{threading.get_ident() % 100_000}"


@shared_task(name="agentops.worker.tasks.drive", ignore_result=True)  # type: ignore[untyped-decorator]
def drive(tenant_id: int, run_id: str) -> None:
    """Drive one run as far as it goes; a ring for a run that is not due does nothing."""
    Driver(worker_name()).drive(tenant_id, UUID(run_id))


@shared_task(name="agentops.worker.tasks.sweep", ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Ring for due runs and expire overdue proposals."""
    sweep_all()
