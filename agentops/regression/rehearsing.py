"""Run suites that people ask for from the site: the row is the truth, some worker takes it up, anybody may stop it.

A tenant's rehearsals are bounded: one of a suite at a time, three at once, so many trials a day. Nothing of it asks a
model (cases carry what models answered), and each trial runs in an isolated tenant that is never committed.
"""

import logging
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum

from agentops import clock
from agentops.audit.services import TENANT_STREAM, lock, record_in_tenant_stream
from agentops.regression.cases import BadCases
from agentops.regression.models import UNDER_WAY, Case, Rehearsal, RehearsalState
from agentops.regression.planning import planned_of_tenant
from agentops.regression.services import baseline_of, outcomes_of, record_suite_run
from agentops.regression.suites import Planned, Shown, run_suite
from agentops.tenancy.access import SYSTEM, Actor, demand
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id, give_back_connection, tenant_scope
from agentops.wire.parse import JSONObject, clean_text

logger = logging.getLogger(__name__)

MOST_REPEAT: Final = 10
AT_ONCE: Final = 3
TRIALS: Final = 1_000
"""Of one rehearsal."""
TRIALS_A_DAY: Final = 5_000
LEASE: Final = timedelta(minutes=2)
"""A trial takes a second; a worker that has not come back by then is gone."""
ATTEMPTS: Final = 3
RELEASE: Final = "local"


@dataclass(frozen=True, slots=True)
class Asked:
    """It waits for a worker."""

    rehearsal: Rehearsal


@dataclass(frozen=True, slots=True)
class NotAsked:
    """Nothing was begun. Codes: no_suite, under_way, at_once, trials, day."""

    code: str
    message: str


class Stopped(Exception):
    """Somebody has stopped this rehearsal, or another worker has it."""


def release_of_now() -> str:
    """Return the name of the release that runs here."""
    return os.environ.get("AGENTOPS_RELEASE", RELEASE)[:120]


def ask(*, suite: str, release: str, repeat: int, actor: Actor, now: datetime | None = None) -> Asked | NotAsked:
    """Note that a suite is to be run. Raises PermissionDenied, and ValueError for a repeat out of bounds."""
    demand(actor, "regression.manage")
    if not 1 <= repeat <= MOST_REPEAT:
        raise ValueError(f"a rehearsal repeats each case 1 to {MOST_REPEAT} times")
    moment = now or clock.now()
    assert actor.user_id is not None
    with transaction.atomic():
        # One asks after the other, so that nobody counts what somebody else is about to add. Who stops a suite holds
        # its row and waits for this lock: nothing here may wait for that row, as a second one of the suite would.
        lock(TENANT_STREAM)
        cases = Case.objects.filter(suite=suite, retired_at__isnull=True).count()
        if (refused := _refused(suite, cases, cases * repeat, moment)) is not None:
            return refused
        row = Rehearsal.objects.create(
            suite=suite,
            release=clean_text(release.strip())[:120] or release_of_now(),
            repeat=repeat,
            asked_by_id=actor.user_id,
            asked_at=moment,
            trials=cases * repeat,
        )
        data: JSONObject = {"release": row.release, "repeat": repeat, "trials": row.trials}
        record_in_tenant_stream("suite.asked", data, subject=("suite", suite), actor=actor)
    return Asked(row)


def _refused(suite: str, cases: int, trials: int, now: datetime) -> NotAsked | None:
    if not cases:
        return NotAsked("no_suite", "This suite has no case.")
    if trials > TRIALS:
        return NotAsked("trials", f"{trials:,} trials are more than one run may have ({TRIALS:,}).")
    day = Rehearsal.objects.filter(asked_at__gt=now - timedelta(days=1)).aggregate(sum=Sum("trials"))["sum"] or 0
    if day + trials > TRIALS_A_DAY:
        return NotAsked("day", f"{day:,} of {TRIALS_A_DAY:,} trials a day are used; this would be {trials:,} more.")
    if Rehearsal.objects.filter(state__in=UNDER_WAY).count() >= AT_ONCE:
        return NotAsked("at_once", f"{AT_ONCE} suites are under way already.")
    if Rehearsal.objects.filter(suite=suite, state__in=UNDER_WAY).exists():
        return NotAsked("under_way", "This suite is under way already.")
    return None


def stop(*, rehearsal_id: UUID, actor: Actor, now: datetime | None = None) -> bool:
    """Stop a rehearsal that has not ended; return whether it had not. Raises PermissionDenied."""
    demand(actor, "regression.manage")
    with transaction.atomic():
        row = Rehearsal.objects.select_for_update().filter(pk=rehearsal_id, state__in=UNDER_WAY).first()
        if row is None:
            return False
        row.state, row.ended_at, row.fence = RehearsalState.CANCELLED, now or clock.now(), row.fence + 1
        row.save(update_fields=["state", "ended_at", "fence"])
        data: JSONObject = {"release": row.release, "done": row.done, "trials": row.trials}
        record_in_tenant_stream("suite.stopped", data, subject=("suite", row.suite), actor=actor)
    return True


# --- the worker -------------------------------------------------------------------------------------------------------


def take_up(now: datetime) -> bool:
    """Have this process run what the open tenant waits for, in a thread of its own; return whether it began."""
    if not _due(now).exists():
        return False
    return _thread.begin(current_tenant_id())


def work_off(tenant: Tenant, now: datetime | None = None) -> int:
    """Run the tenant's rehearsals that wait, one after the other; return how many. No tenant's scope may be open."""
    done = 0
    while (row := _claim(tenant, now or clock.now())) is not None:
        _run(tenant, row)
        done += 1
    return done


def _due(now: datetime) -> QuerySet[Rehearsal]:
    left = Q(state=RehearsalState.RUNNING, lease_until__lt=now)
    return Rehearsal.objects.filter(Q(state=RehearsalState.WAITING) | left)


def _claim(tenant: Tenant, now: datetime) -> Rehearsal | None:
    with tenant_scope(tenant):
        for row in _due(now).order_by("asked_at", "pk"):
            mine = _due(now).filter(pk=row.pk, fence=row.fence)
            if row.attempts >= ATTEMPTS:
                problem = f"{ATTEMPTS} workers began it, and none came back."
                mine.update(state=RehearsalState.FAILED, ended_at=now, problem=problem, fence=F("fence") + 1)
                continue
            taken = mine.update(
                state=RehearsalState.RUNNING,
                lease_until=now + LEASE,
                attempts=F("attempts") + 1,
                fence=F("fence") + 1,
                done=0,
            )
            if taken:
                row.refresh_from_db()
                return row
    return None


def _run(tenant: Tenant, row: Rehearsal) -> None:
    began = clock.now()

    def after_trial() -> None:
        with tenant_scope(tenant):
            still = Rehearsal.objects.filter(pk=row.pk, fence=row.fence, state=RehearsalState.RUNNING)
            if not still.update(done=F("done") + 1, lease_until=clock.now() + LEASE):
                raise Stopped

    try:
        with tenant_scope(tenant):
            planned = _planned(row.suite, began)
            baseline = baseline_of(row.suite, row.release)
            before = outcomes_of(baseline) if baseline is not None else None
        shown = run_suite(
            planned,
            repeat=row.repeat,
            baseline=baseline.release if baseline is not None else "",
            before=before,
            after_trial=after_trial,
        )
        with tenant_scope(tenant):
            _end(row, shown, began)
    except Stopped:
        logger.info("rehearsal %s was stopped", row.pk)
    except BadCases as error:
        _fail(tenant, row, str(error))
    except Exception as error:
        logger.exception("rehearsal %s could not be run", row.pk)
        _fail(tenant, row, f"{type(error).__name__}, see the worker's log")


def _planned(suite: str, now: datetime) -> Planned:
    plans = planned_of_tenant([], now=now, only=suite)
    if not plans:
        raise Stopped
    if len(plans) > 1:
        raise BadCases((), f"Suite {suite} has cases of {len(plans)} task types; run it from the command line.")
    return plans[0]


def _end(row: Rehearsal, shown: Shown, began: datetime) -> None:
    now = clock.now()
    with transaction.atomic():
        mine = Rehearsal.objects.select_for_update().filter(pk=row.pk, fence=row.fence, state=RehearsalState.RUNNING)
        if not mine.exists():
            raise Stopped
        kept = record_suite_run(
            shown=shown,
            release=row.release,
            baseline=baseline_of(row.suite, row.release) if shown.comparison is not None else None,
            actor=SYSTEM,
            started_at=began,
            now=now,
            asked_by=row.asked_by_id,
        )
        mine.update(state=RehearsalState.DONE, ended_at=now, suite_run=kept)


def _fail(tenant: Tenant, row: Rehearsal, problem: str) -> None:
    with tenant_scope(tenant), transaction.atomic():
        mine = Rehearsal.objects.filter(pk=row.pk, fence=row.fence, state=RehearsalState.RUNNING)
        if mine.update(state=RehearsalState.FAILED, ended_at=clock.now(), problem=clean_text(problem)[:300]):
            record_in_tenant_stream(
                "suite.not_run", {"problem": problem[:300]}, subject=("suite", row.suite), actor=SYSTEM
            )


class _Thread:
    """One thread of a process, in which suites are run; a trial holds no doorbell up."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None
        self.under_way: Future[None] | None = None

    def begin(self, tenant_id: int) -> bool:
        with self.lock:
            if self.under_way is not None and not self.under_way.done():
                return False
            if self.pool is None:
                self.pool = ThreadPoolExecutor(1, thread_name_prefix="agentops-rehearsals")
            self.under_way = self.pool.submit(_work, tenant_id)
            return True


def _work(tenant_id: int) -> None:
    try:
        work_off(Tenant.objects.get(pk=tenant_id))
    except Exception:
        logger.exception("the rehearsals of tenant %s stopped; the next sweep goes on", tenant_id)
    finally:
        give_back_connection()


_thread = _Thread()


def _forked() -> None:
    """The thread stayed with the parent."""
    global _thread
    _thread = _Thread()


os.register_at_fork(after_in_child=_forked)
