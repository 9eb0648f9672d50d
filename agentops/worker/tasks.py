"""The Celery tasks: take the doorbell and pass it on to the thread that drives this process's runs."""

import os
import socket
from typing import Final

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_ready, worker_shutdown

from agentops.runs import bell
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
    _heard(tenant_id)


def _heard(tenant_id: int) -> None:
    conductor.conductor(lambda: Driver(worker_name())).ring(tenant_id)


_listener: Final = bell.Listener(_heard)


@worker_ready.connect  # type: ignore[untyped-decorator]
def _listen(**_: object) -> None:
    """Hear the rings that take the short way as well."""
    if bell.exists():
        _listener.start()


@shared_task(name="agentops.worker.tasks.sweep", ignore_result=True)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Have due runs rung for and overdue proposals expired, beside whatever else this worker does."""
    sweeping.begin()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _leave(**_: object) -> None:
    """Give back what this process drives, before it ends."""
    _listener.stop()
    sweeping.stop()
    conductor.stop(STOP_WITHIN_S)
