"""The one thread of a process that drives runs: it takes turns between tenants and holds any number that wait.

A ring only says that a tenant has work. The thread claims what is due, as much as it has room for, drives it a round at
a time, and sets runs aside while a model thinks or a slow tool works. Leases of what it holds are renewed by a
heartbeat. It sleeps when there is nothing to do; nothing here polls an idle system.
"""

import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, connection

from agentops.engine.transitions import CallState
from agentops.runs import lease as leases
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import give_back_connection, tenant_scope
from agentops.worker import model_loop
from agentops.worker.driver import ConnectionBroken, Crew, Driver, perform
from agentops.worker.needs import Ask, Enquire, Invoke
from agentops.worker.pace import Pace
from agentops.worker.snapshot import Snapshot

logger = logging.getLogger(__name__)

AT_WORK: Final = 48
"""Runs of all tenants that are driven at the same time; those that wait for a model or a slow tool are not counted."""

SET_ASIDE: Final = 1_000
"""Runs that wait for a model or a slow tool in one process at most."""

SLOW_TOOLS: Final = 8
"""Threads for tools that take longer than an instant."""

LOOK_ROUND_S: Final = 1.0
"""How often a busy worker looks for due runs of tenants whose rings may still be queued behind those of others."""

ROUNDS: Final = 20
"""Rounds that a tenant has in a row while nobody else wants anything."""

BEAT_SOON_S: Final = 0.1

PATIENCE: Final = 0.7
"""The share of the time to stop in which runs under way are still driven."""

BREATHE_S: Final = 0.5
"""Pause after the database could not be reached."""

HEARTBEAT: Final = leases.LEASE / 3


class Conductor:
    """Drives runs of all tenants in a thread of its own. `ring` may be called from any thread."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._bell = threading.Condition()
        self._rung: dict[int, None] = {}
        self._crews: dict[int, Crew] = {}
        self._snapshots: dict[int, Snapshot] = {}
        self._pace = Pace()
        self._tools = ThreadPoolExecutor(SLOW_TOOLS, thread_name_prefix="agentops-tool")
        self._stopping = False
        self._stop_at = 0.0
        self._woken = False
        self._beat_at = time.monotonic()
        self._looked_at = 0.0
        self._thread = threading.Thread(target=self._run, name="agentops-conductor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def ring(self, tenant_id: int) -> None:
        """Say that a tenant has a run that is due."""
        with self._bell:
            self._rung[tenant_id] = None
            self._bell.notify()

    def stop(self, within_s: float) -> bool:
        """Take up nothing more, finish what is under way, and give all leases back; return whether it ended.

        What has not come to a natural stop after most of `within_s` seconds is given back as it is recorded, effects
        whose outcome is not on record yet apart. What is left at the end is found by the leases' end, as after a crash.
        """
        with self._bell:
            self._stopping = True
            self._stop_at = time.monotonic() + within_s * PATIENCE
            self._bell.notify()
        self._thread.join(within_s)
        self._tools.shutdown(wait=False, cancel_futures=True)
        return not self._thread.is_alive()

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        # What is there by now stays: looking for rubbish in it again and again would hold runs up.
        gc.freeze()
        try:
            while self._wait():
                self._turn()
        finally:
            give_back_connection()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when everything is given back after `stop`."""
        with self._bell:
            while True:
                if self._stopping and not self._crews:
                    return False
                waiting = any(crew.ready or crew.owes for crew in self._crews.values())
                if self._impatient or self._woken or waiting or (self._claimable() and not self._stopping):
                    self._woken = False
                    return True
                # Asleep for as long as nothing is held; whoever holds runs looks after their leases.
                timeout = min(self._beat_in(), LOOK_ROUND_S) if self._crews else None
                if self._stopping:
                    timeout = max(0.05, min(LOOK_ROUND_S, self._stop_at - time.monotonic()))
                if not self._bell.wait(timeout):
                    return True

    @property
    def _impatient(self) -> bool:
        """Whether it is time to give back what has not come to a natural stop."""
        return self._stopping and time.monotonic() >= self._stop_at

    def _beat_in(self) -> float:
        return max(0.05, self._beat_at + HEARTBEAT.total_seconds() - time.monotonic())

    def _claimable(self) -> bool:
        return bool(self._rung) and self._room() > 0

    def _wake(self, _: "Future[Any]") -> None:
        with self._bell:
            self._woken = True
            self._bell.notify()

    def _turn(self) -> None:
        """Give every tenant that has work one round."""
        with self._bell:
            tenants = list(dict.fromkeys([*self._rung, *self._crews]))
        for tenant_id in tenants:
            self._guarded(tenant_id, partial(self._serve, tenant_id, len(tenants)))
        if time.monotonic() - self._beat_at > HEARTBEAT.total_seconds():
            self._heartbeat()
        if self._crews and not self._stopping and time.monotonic() - self._looked_at > LOOK_ROUND_S:
            self._look_round()

    def _guarded(self, tenant_id: int, work: Callable[[], None]) -> None:
        """Work in a tenant's scope; trouble of one tenant, or of the database, does not end the thread."""
        try:
            with tenant_scope(tenant_id):
                work()
        except (ConnectionBroken, InterfaceError, DatabaseError):
            logger.warning("the database cannot be used; trying again", exc_info=True)
            connection.close()
            time.sleep(BREATHE_S)
        except Exception as error:
            logger.exception("a round of tenant %s failed; what it held is taken up again", tenant_id)
            if (crew := self._crews.pop(tenant_id, None)) is not None:
                self._guarded(tenant_id, partial(crew.abandon, error))

    def _serve(self, tenant_id: int, tenants: int) -> None:
        crew = self._crews.get(tenant_id)
        if crew is None:
            snapshot = self._snapshots.setdefault(tenant_id, Snapshot())
            crew = self._crews[tenant_id] = Crew(self.driver, self._slow, snapshot)
        for _ in range(ROUNDS):
            if not self._stopping:
                self._take_up(tenant_id, crew, tenants)
            crew.round()
            if crew.owes or not crew.ready or self._wanted_elsewhere(tenant_id):
                break
        if self._impatient:
            self._let_go(crew)
        if crew.owes:
            # An error inside a session was the database's: start with a connection that works.
            raise ConnectionBroken
        if not crew.busy:
            self._crews.pop(tenant_id, None)

    def _wanted_elsewhere(self, tenant_id: int) -> bool:
        """Whether another tenant waits for its turn, or something else than rounds is due."""
        with self._bell:
            others = any(other != tenant_id for other in (*self._rung, *self._crews))
        return others or self._impatient or self._beat_in() <= BEAT_SOON_S

    def _room(self) -> int:
        """How many more runs could be taken up."""
        held = [one for crew in self._crews.values() for one in crew.active]
        aside = sum(one.parked is not None for one in held)
        return min(AT_WORK - (len(held) - aside), SET_ASIDE - aside)

    def _take_up(self, tenant_id: int, crew: Crew, tenants: int) -> None:
        """Take up due runs of a tenant that has rung: a fair share of what there is room for."""
        with self._bell:
            if tenant_id not in self._rung:
                return
        share = min(self._room(), max(1, AT_WORK // tenants))
        if share <= 0:
            return
        with self._bell:
            self._rung.pop(tenant_id, None)
        try:
            claimed = leases.claim_due(
                owner=self.driver.owner, now=self.driver.now(), limit=share, kinds=crew.snapshot.kinds()
            )
        except Exception:
            self.ring(tenant_id)
            raise
        if len(claimed) == share:
            self.ring(tenant_id)
        crew.take(claimed)

    def _look_round(self) -> None:
        """Find due runs of every tenant while busy: one tenant's rings may be queued behind thousands of another's."""
        self._looked_at = time.monotonic()
        try:
            tenants = list(Tenant.objects.values_list("pk", flat=True))
        except DatabaseError:
            connection.close()
            return
        for tenant_id in tenants:
            self._guarded(tenant_id, partial(self._look, tenant_id))

    def _look(self, tenant_id: int) -> None:
        if leases.any_due(self.driver.now()):
            self.ring(tenant_id)

    def _heartbeat(self) -> None:
        """Renew the leases of everything this process holds, tenant by tenant."""
        self._beat_at = time.monotonic()
        for tenant_id, crew in list(self._crews.items()):
            if crew.active:
                self._guarded(tenant_id, crew.renew)

    def _let_go(self, crew: Crew) -> None:
        """Give back what can be given back: everything but effects whose outcome is not on record yet."""
        for one in list(crew.active):
            effects = one.session.state.open_calls(CallState.EXECUTING)
            if not effects:
                crew.drop(one)

    # --- what may take long -----------------------------------------------------------------------------------------

    def _slow(self, need: Ask | Enquire | Invoke) -> "Future[Any] | None":
        """Have a model asked in the loop of models, and a slow tool called in a thread; all else is done at once."""
        future: Future[Any]
        if isinstance(need, Ask | Enquire):
            asking = need.later()
            if asking is None:
                return None
            future = model_loop.submit(asking)
        elif self._pace.quick(need.request.tool):
            return None
        else:
            future = self._tools.submit(self._call, need)
        future.add_done_callback(self._wake)
        return future

    def _call(self, need: Invoke) -> Any:
        began = time.monotonic()
        try:
            return perform(need, self.driver.tools)
        finally:
            self._pace.took(need.request.tool, time.monotonic() - began)
            if connection.errors_occurred:
                give_back_connection()


_of_process: tuple[int, Conductor] | None = None
_lock = threading.Lock()


def conductor(make: Callable[[], Driver]) -> Conductor:
    """Return the conductor of this process, started when it is first needed, hence after a fork."""
    global _of_process
    with _lock:
        if _of_process is None or _of_process[0] != os.getpid() or not _of_process[1].alive:
            one = Conductor(make())
            one.start()
            _of_process = (os.getpid(), one)
        return _of_process[1]


def stop(within_s: float) -> bool:
    """Stop the conductor of this process, if there is one; return whether everything was given back."""
    global _of_process
    with _lock:
        running, _of_process = _of_process, None
    if running is None or running[0] != os.getpid():
        return True
    return running[1].stop(within_s)


def _forked() -> None:
    """Another thread may have held the lock when this process was forked."""
    global _lock, _of_process
    _lock, _of_process = threading.Lock(), None


os.register_at_fork(after_in_child=_forked)
