"""Drives claimed runs of one tenant, several at a time: advance each to its next commit, then commit them together.

The one interpreter of what sessions need. Nothing here waits for a person: a run lets its worker go and its row
remains. Where a tool or a model may take long the caller says so (`Slow`), and the run is set aside meanwhile.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, assert_never
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError
from psycopg import InterfaceError as DatabaseInterfaceError
from psycopg import OperationalError as DatabaseOperationalError

from agentops.engine.folding import fold
from agentops.logs import about_run
from agentops.runs import lease as leases
from agentops.runs.commit import RUN_COLUMNS, Head, commit
from agentops.runs.models import Run
from agentops.runs.points import reached
from agentops.runs.recording import Lease, LeaseLost, agrees, load_many
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.worker import mishap
from agentops.worker.backoff import backoff
from agentops.worker.calls import Tools
from agentops.worker.means import Means
from agentops.worker.needs import Ask, Commit, Enquire, Invoke, Need, Steps
from agentops.worker.session import Session
from agentops.worker.snapshot import Snapshot
from tools import executor

logger = logging.getLogger(__name__)

MOST_TOGETHER: Final = 64
"""Runs of one tenant that are committed in one transaction at most."""


class Slow(Protocol):
    """Does what a session needs somewhere else: return a future, or None to have it done at once."""

    def __call__(self, need: Ask | Enquire | Invoke, /) -> "Future[Any] | None": ...


def at_once(need: Ask | Enquire | Invoke) -> "Future[Any] | None":
    """Have everything done in the thread that drives."""
    return None


@dataclass(frozen=True)
class Driver(Means):
    """Drives runs one at a time, for whoever waits for that."""

    def drive(self, tenant: Tenant | int, run_id: UUID) -> bool:
        """Take one run as far as it goes without a person; False if it was not this worker's to take."""
        with tenant_scope(tenant):
            claimed = leases.claim(run_id, owner=self.owner, now=self.now())
            if claimed is None:
                return False
            crew = Crew(self)
            crew.take([claimed])
            while crew.busy:
                crew.round()
        return True


@dataclass(eq=False)
class Active:
    """A session under way: what it waits for, or what it is to be told next."""

    session: Session
    steps: Steps
    answer: Any = None
    error: BaseException | None = None
    parked: "Future[Any] | None" = None
    again: Commit | None = None
    """A commit that the database did not take because the connection broke."""


class ConnectionBroken(Exception):
    """The database went away in the middle of a commit; the sessions still hold what they want committed."""


class Crew:
    """The sessions of one tenant in one worker. Every method needs the tenant's scope open."""

    def __init__(self, driver: Means, slow: Slow = at_once, snapshot: Snapshot | None = None) -> None:
        self.driver = driver
        self.slow = slow
        self.snapshot = snapshot or Snapshot()
        self.active: list[Active] = []
        self._owed: list[tuple[Lease, datetime, str]] = []
        """Leases to be given back as soon as the database can be reached again."""

    @property
    def busy(self) -> bool:
        """Whether any run is under way."""
        return bool(self.active)

    @property
    def owes(self) -> bool:
        """Whether a lease could not be given back yet."""
        return bool(self._owed)

    @property
    def ready(self) -> bool:
        """Whether a round would get anywhere."""
        return any(one.parked is None or one.parked.done() for one in self.active)

    def take(self, claimed: Iterable[leases.Claimed]) -> None:
        """Begin with claimed runs. One query for the events of all whose history did not come with the claim."""
        taken = list(claimed)
        if not taken:
            return
        reached("claimed")
        missing = [run.pk for run, _, history in taken if history is None]
        loaded = load_many(missing) if missing else {}
        for run, lease, history in taken:
            try:
                stream_id, last, events = history or loaded[run.pk]
                state = fold(events)
                if not agrees(run, state):
                    # Somebody wrote to the run after its row was read; what was read later is never older.
                    run.refresh_from_db(fields=list(RUN_COLUMNS))
            except Exception as error:
                logger.exception("run %s cannot be read; it will be taken up again", run.pk)
                self._postpone(run, lease, error)
                continue
            head = Head(stream_id, state.seq, last)
            session = Session(self.driver, self.snapshot, run, lease, head, state)
            self.active.append(Active(session, session.steps()))

    def round(self) -> None:
        """Advance every session that can go on to its next commit, and commit what they have come to."""
        self._pay()
        writes: list[tuple[Active, Commit]] = []
        for one in list(self.active):
            if one.parked is not None:
                if not one.parked.done():
                    continue
                self._hear(one)
            need: Need | None = one.again
            one.again = None
            if need is None:
                need = self._advance(one)
            if isinstance(need, Commit):
                one.again = need  # until it is known what came of it
                writes.append((one, need))
        for start in range(0, len(writes), MOST_TOGETHER):
            self._commit(writes[start : start + MOST_TOGETHER])

    def _commit(self, writes: list[tuple[Active, Commit]]) -> None:
        try:
            results: list[Head | Exception] = commit([need.write for _, need in writes])
        except (OperationalError, InterfaceError, DatabaseOperationalError, DatabaseInterfaceError) as error:
            # Whether it was committed is not known. Offered again, it is either taken or found to be on record.
            raise ConnectionBroken from error
        except Exception as error:  # noqa: BLE001 - the session is told, and knows what that means for it
            if len(writes) > 1:
                # One run's trouble is not its neighbours': alone, each is told about itself.
                for write in writes:
                    self._commit([write])
                return
            results = [error]
        for (one, _), result in zip(writes, results, strict=True):
            one.again = None
            if isinstance(result, Exception):
                one.error = result
            else:
                one.answer = result

    def _advance(self, one: Active) -> Need | None:
        """Let a session go on until it needs a commit, is set aside (None), or is over (None)."""
        with about_run(one.session.run.pk):
            return self._go_on(one)

    def _go_on(self, one: Active) -> Need | None:
        while True:
            try:
                if one.error is not None:
                    error, one.error = one.error, None
                    need = one.steps.throw(error)
                else:
                    answer, one.answer = one.answer, None
                    need = one.steps.send(answer)
            except StopIteration:
                self.active.remove(one)
                return None
            except LeaseLost:
                logger.warning("run %s was taken over by another worker", one.session.run.pk)
                self.active.remove(one)
                return None
            except Exception as error:
                logger.exception("run %s stopped unexpectedly; it will be taken up again", one.session.run.pk)
                self.active.remove(one)
                self._postpone(one.session.run, one.session.lease, error)
                return None
            if isinstance(need, Commit):
                return need
            one.parked = self.slow(need)
            if one.parked is not None:
                return None
            self._perform(one, need)

    def _perform(self, one: Active, need: Ask | Enquire | Invoke) -> None:
        try:
            one.answer = perform(need, self.driver.tools)
        except Exception as error:  # noqa: BLE001 - the session says what it means for its run
            one.error = error

    def _hear(self, one: Active) -> None:
        assert one.parked is not None
        try:
            one.answer = one.parked.result()
        except Exception as error:  # noqa: BLE001 - as above
            one.error = error
        one.parked = None

    def renew(self) -> None:
        """Extend the leases of all runs under way that are still this worker's."""
        until = self.driver.now() + leases.LEASE
        short = [one for one in self.active if one.session.lease.until < until - leases.LEASE / 3]
        if not short:
            return
        held = leases.renew([one.session.lease for one in short], until)
        for one in short:
            if one.session.lease.run_id not in held:
                continue  # nothing starts in it after its end, and its next commit is refused
            one.session.lease = replace(one.session.lease, until=until)
            one.session.run.lease_until = until

    def drop(self, one: Active) -> None:
        """Give a run back as it is recorded; another worker may take it up at once."""
        self.active.remove(one)
        if one.parked is not None:
            one.parked.cancel()
        one.steps.close()
        leases.hand_back(one.session.lease)

    def abandon(self, error: Exception) -> None:
        """Give everything back after an error that nobody foresaw; effects under way are settled by whoever is next.

        What is inside a handler now is not given back: nobody may ask what became of it before its lease has ended.
        """
        for one in list(self.active):
            self.active.remove(one)
            if one.parked is None or one.parked.cancel() or one.parked.done():
                self._postpone(one.session.run, one.session.lease, error)

    def _postpone(self, run: Run, lease: Lease, error: Exception) -> None:
        told = mishap.told(error, worker=self.driver.owner, now=self.driver.now())
        self._owed.append((lease, self.driver.now() + backoff(run.attempts, None, self.driver.rng), told))
        self._pay()

    def _pay(self) -> None:
        """Give owed leases back; those that cannot be given back now are tried again, and end by themselves at last."""
        while self._owed:
            lease, until, told = self._owed[0]
            try:
                leases.postpone(lease, until, error=told)
            except DatabaseError:
                logger.warning("the lease of run %s cannot be given back yet", lease.run_id)
                return
            self._owed.pop(0)


def perform(need: Ask | Enquire | Invoke, tools: Tools = executor) -> Any:
    """Do what a session needs, here and now."""
    match need:
        case Ask(planner=planner, request=request):
            return planner.plan(request)
        case Enquire(answerer=answerer, request=question):
            return answerer.answer(question)
        case Invoke(request=request, permit=permit):
            return tools.execute(request, lambda _: permit)
        case _:
            assert_never(need)
