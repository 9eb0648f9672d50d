"""Threads that post messages, so that who answers slowly holds up neither the sweeper nor others.

They know no database: what they are given holds everything, and what became of it they tell whoever asks later.
"""

import http.client
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from agentops.webhooks.posting import Refused, Target, checked, post, resolve
from agentops.webhooks.signing import signature

THREADS: Final = 16
PER_TENANT: Final = 4
"""How many endpoints of one tenant are posted to at once in a process."""
ROUND_S: Final = 60.0
"""Seconds after which no further message of a round is begun."""

Post = Callable[[Target, bytes, dict[str, str]], int]
Check = Callable[[str], Target]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message as it is posted."""

    row: int
    turn: int
    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Round:
    """Messages to one endpoint, posted one after the other until one fails."""

    tenant: int
    endpoint: int
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    parcels: tuple[Parcel, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a message: the status it was answered with, 0 for none, and what went wrong, empty if nothing."""

    parcel: Parcel
    status: int
    problem: str


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a round; messages it says nothing of were not posted."""

    round: Round
    told: tuple[Told, ...]


def _checked(url: str) -> Target:
    return checked(url, lookup=resolve)


class Couriers:
    """Rounds under way in this process, at most one for each endpoint."""

    def __init__(self, *, send: Post = post, check: Check = _checked, threads: int = THREADS) -> None:
        self._send, self._check, self._threads = send, check, threads
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: dict[tuple[int, int], Future[Done]] = {}
        self._over = threading.Event()

    def room(self, tenant: int) -> int:
        """Return how many rounds of this tenant may begin."""
        with self._lock:
            own = sum(key[0] == tenant for key in self._under_way)
            return max(0, min(PER_TENANT - own, self._threads - len(self._under_way)))

    def busy(self, tenant: int) -> list[int]:
        """Return the endpoints of this tenant that are being posted to."""
        with self._lock:
            return [endpoint for owner, endpoint in self._under_way if owner == tenant]

    def begin(self, what: Round) -> None:
        """Begin a round."""
        with self._lock:
            if self._pool is None:
                self._over = threading.Event()
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="agentops-webhooks")
            self._under_way[what.tenant, what.endpoint] = self._pool.submit(self._go, what, self._over)

    def done(self, tenant: int) -> list[Done]:
        """Return the rounds of this tenant that have ended, once each."""
        with self._lock:
            ended = [key for key, one in self._under_way.items() if key[0] == tenant and one.done()]
            rounds = [self._under_way.pop(key) for key in ended]
        return [one.result() for one in rounds if not one.cancelled()]

    def wait(self) -> None:
        """Wait until every round under way has ended."""
        with self._lock:
            rounds = list(self._under_way.values())
        for one in rounds:
            one.exception()

    def stop(self) -> None:
        """Post nothing more than what is being posted; the rest is sent by whoever sweeps next."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._over.set()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _go(self, what: Round, over: threading.Event) -> Done:
        told: list[Told] = []
        until = time.monotonic() + ROUND_S
        for parcel in what.parcels:
            if over.is_set() or time.monotonic() > until:
                break
            told.append(self._deliver(what, parcel))
            if told[-1].problem:
                break
        return Done(what, tuple(told))

    def _deliver(self, what: Round, parcel: Parcel) -> Told:
        stamp = int(time.time())
        signed = " ".join(signature(secret, parcel.name, stamp, parcel.body) for secret in what.secrets)
        headers = {"webhook-id": parcel.name, "webhook-timestamp": str(stamp), "webhook-signature": signed}
        try:
            status = self._send(self._check(what.url), parcel.body, headers)
        except Refused as error:
            return Told(parcel, 0, str(error))
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Told(parcel, 0, type(error).__name__)
        return Told(parcel, status, "" if 200 <= status < 300 else f"It answered {status}.")


COURIERS: Final = Couriers()
