"""Hold a request until its run has ended, within bounds: time, and how many wait at once in this process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection

from agentops.runs.models import Run
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0


class Seats:
    """How many requests may wait at once; the number is read when a seat is asked for."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken = 0

    @contextmanager
    def seat(self) -> Iterator[bool]:
        """Take a seat for the time of the block and say whether there was one."""
        with self._lock:
            free = self._taken < self._limit()
            self._taken += free
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._taken -= 1


SEATS: Final = Seats(lambda: int(settings.API_MAX_WAITERS))


def wait_until_ended(
    tenant: Tenant,
    run_id: UUID,
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Look at a run with growing pauses until it has ended or the seconds are over; return whether it has ended.

    Must be called outside of any tenant scope and transaction: each look opens and closes its own, and gives the
    database connection back before the pause.
    """
    until = clock() + seconds
    pause = FIRST_PAUSE_S
    while not _ended(tenant, run_id):
        left = until - clock()
        if left <= 0:
            return False
        sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE_S)
    return True


def _ended(tenant: Tenant, run_id: UUID) -> bool:
    try:
        with tenant_scope(tenant):
            return Run.objects.filter(pk=run_id, ended_at__isnull=False).exists()
    finally:
        if not connection.in_atomic_block:
            connection.close()
