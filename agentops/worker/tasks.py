"""The Celery tasks: take the doorbell and pass it on to the thread that drives this process's runs."""

import os
import socket
from typing import Final

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown

from agentops.worker import conductor, sweeping
from agentops.worker.driver import Driver

STOP_WITHIN_S: Final = 20.0
"""Seconds in which effects under way are still recorded when a worker is told to stop."""


def worker_name() -> str:
    """Name this process, as leases and events carry it."""
    return f"{socket.gethostname()[:24]}:{os.getpid()}"


@shared_task(name="agentops.worker.tasks.drive", ignore_result=True)  # type: ignore[untyped-decorator]
def drive(tenant_id: int, run_id: str) -> None:
    """Say that a run is due; a ring for one that is not does nothing."""
    conductor.conductor(lambda: Driver(worker_name())).ring(tenant_id)


@shared_task(name="agentops.worker.tasks.sweep", ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Have due runs rung for and overdue proposals expired, beside whatever else this worker does."""
    sweeping.begin()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _leave(**_: object) -> None:
    """Give back what this process drives, before it ends."""
    sweeping.stop()
    conductor.stop(STOP_WITHIN_S)
