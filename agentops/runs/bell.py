"""The short way of a ring where the broker is Redis: a list of tenants that have work, which every worker waits at.

A message for Celery passes through its machinery on both sides, which costs milliseconds of a processor and of
somebody's time; what a ring says is one number. Each is heard by one worker. One that nobody hears is lost without
harm, like a message: the sweeper rings through Celery.
"""

import logging
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from django.conf import settings

logger = logging.getLogger(__name__)

MOST: Final = 10_000
"""Rings that are kept while no worker listens."""

MAX_ID: Final = 2**63 - 1
"""The highest number that a tenant can have; a database that is asked for a higher one refuses for ever."""

WAIT_S: Final = 5
PAUSE_S: Final = 0.5
"""Between two attempts to reach a broker that is away."""

PATIENCE_S: Final = 2.0


def exists() -> bool:
    """Whether the broker of this installation is one that has the short way."""
    return str(settings.BROKER_URL).startswith(("redis://", "rediss://"))


def key_of(queue: str) -> str:
    """Name the list beside a queue."""
    return f"{queue}.bell"


def ring(tenant_id: int) -> bool:
    """Say that a tenant has work; False where that has to be said the long way."""
    if not exists():
        return False
    key = key_of(settings.BROKER_QUEUE)
    try:
        with _client(settings.BROKER_URL, PATIENCE_S).pipeline(transaction=False) as pipe:
            pipe.rpush(key, tenant_id)
            pipe.ltrim(key, -MOST, -1)
            pipe.execute()
    except Exception:  # noqa: BLE001 - whatever a broker client raises, there is another way
        return False
    return True


@cache
def _client(url: str, patience_s: float) -> Any:
    import redis

    return redis.Redis.from_url(url, socket_connect_timeout=PATIENCE_S, socket_timeout=patience_s)


class Listener:
    """Hears rings in a thread of its own and passes them on."""

    def __init__(self, heard: Callable[[int], None]) -> None:
        self._heard = heard
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentops-bell", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Pass nothing on any more; what is heard while this takes effect is given back to the others."""
        self._stopping.set()

    def _run(self) -> None:
        key = key_of(settings.BROKER_QUEUE)
        reached = True
        while not self._stopping.is_set():
            try:
                found = _client(settings.BROKER_URL, WAIT_S + PATIENCE_S).blpop([key], timeout=WAIT_S)
                reached = True
            except Exception:  # noqa: BLE001 - as above; meanwhile rings come the long way, if any do
                if reached:
                    logger.warning("the broker cannot be reached; listening again as soon as it can")
                reached = False
                self._stopping.wait(PAUSE_S)
                continue
            if found is None:
                continue
            try:
                tenant_id = int(found[1])
            except ValueError:
                tenant_id = 0
            if not 0 < tenant_id <= MAX_ID:
                logger.warning("the bell was rung with what is no number of a tenant")
                continue
            if self._stopping.is_set():
                ring(tenant_id)
            else:
                self._heard(tenant_id)
