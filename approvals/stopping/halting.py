"""Stop the line, and let it go on: seniors and admins, with a reason for both.

`stop` is one row and takes effect with its commit. Runs are not touched by it: each one that wants to do something is
paused by the stop when it wants it. `lift` ends the stop with its commit as well; after it the deadlines it held are
moved and the runs it paused are queued again, in batches that begin at once and that the sweeper finishes after any
crash (`settle_lifted`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F, Q

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.engine.events import RunPaused, RunResumed
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.halts import covering
from agentops.halts.covering import Stop, first, open_stops, unsettled_stops
from agentops.halts.models import Halt, Scope
from agentops.runs.models import Run, TaskType, ToolCall
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import SYSTEM, Actor, can
from agentops.tenancy.models import Membership, ServiceToken
from agentops.tenancy.people import called
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.parse import clean_text
from approvals.models import Grant, Proposal, Status
from approvals.proposals.freezing import catch_up, end_of_pause, reach, usable, work_of
from approvals.proposals.locking import lock_run
from approvals.proposals.opening import person_of
from approvals.queue.selectors import Count, counted
from tools.models import AllowlistEntry, AllowlistState
from tools.registry import registry

logger = logging.getLogger(__name__)

MAX_REASON: Final = 500
MAX_ID_DIGITS: Final = 18
BATCH: Final = 200

RIGHT: Final = "line.stop"
_OPEN: Final = tuple(state.value for state in RunState if not state.terminal)


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stopped:
    """The stop is in force."""

    halt_id: int


@dataclass(frozen=True, slots=True)
class AlreadyStopped:
    """The same thing is stopped: by whom, since when."""

    halt_id: int
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Lifted:
    """The stop is over; what it held is being set going."""

    halt_id: int


@dataclass(frozen=True, slots=True)
class AlreadyLifted:
    """Somebody was first."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Invalid:
    """Nothing was done; `field` is what or reason."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Seniors and admins stop the line."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such stop in this tenant."""


# --- what can be stopped --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """Something that can be stopped, and what people call it."""

    scope: Scope
    target: str
    label: str

    @property
    def value(self) -> str:
        """How a form names it: `tool:mail.send`, `agent:token:7`, `tenant:`."""
        return f"{self.scope.value}:{self.target}"


def targets() -> list[Target]:
    """Return what can be chosen in this tenant: everything, kinds of task, tools that write or read, agents.

    Of people those who belong to the tenant. Tasks of somebody who has left are still found by their name
    (`find_target`), and so is every run; to list those would be to read all runs.
    """
    kinds = TaskType.objects.order_by("name", "pk").values_list("pk", "name")
    people = User.objects.filter(pk__in=Membership.objects.values("user")).order_by("username")
    return [
        Target(Scope.TENANT, "", Scope.TENANT.label),
        *(Target(Scope.TASK_TYPE, str(pk), name) for pk, name in kinds),
        *(Target(Scope.TOOL, contract.name, contract.name) for contract in registry.contracts()),
        *(
            Target(Scope.AGENT, f"token:{pk}", f"token {name}")
            for pk, name in ServiceToken.objects.order_by("name", "pk").values_list("pk", "name")
        ),
        *(Target(Scope.AGENT, f"user:{one.pk}", f"tasks of {called(one)}") for one in people),
    ]


def find_target(value: str) -> Target | None:
    """Return what a form means by `scope:target`; None when there is no such thing in this tenant."""
    scope, _, target = value.partition(":")
    if scope == Scope.RUN:
        try:
            run = Run.objects.select_related("task_type").filter(pk=UUID(target)).first()
        except ValueError:
            return None
        return None if run is None else Target(Scope.RUN, str(run.pk), run.title or run.task_type.name)
    found = next((one for one in targets() if one.value == value), None)
    return _who_has_left(target) if found is None and scope == Scope.AGENT else found


def _who_has_left(agent: str) -> Target | None:
    """Return a person who does not belong to the tenant any more and has runs in it. One look into an index."""
    kind, _, pk = agent.partition(":")
    if kind != "user" or not pk.isascii() or not pk.isdecimal() or len(pk) > MAX_ID_DIGITS:
        return None
    runs = Run.objects.filter(requested_by=int(pk), requested_by_token="")
    named = list(runs.order_by().values_list("requested_by__username", flat=True)[:1])
    return Target(Scope.AGENT, agent, f"tasks of {named[0]}") if named else None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a stop would hold: runs by state, proposals that wait, effects that are under way and would still end.

    Nothing is counted beyond a thousand: the page is needed most when there is most.
    """

    runs: tuple[tuple[str, Count], ...]
    proposals: Count
    under_way: Count

    @property
    def in_all(self) -> Count:
        """How many runs."""
        counts = [count for _, count in self.runs]
        return Count(sum(one.pending for one in counts), any(one.capped for one in counts))


def preview(target: Target) -> Preview:
    """Count what a stop would hold now. For a tool, the runs are those whose kind of task may use it. One query."""
    runs = Run.objects.filter(state__in=_OPEN)
    if target.scope is Scope.TOOL:
        allowed = AllowlistEntry.objects.filter(tool=target.target).exclude(state=AllowlistState.DENIED)
        runs = runs.filter(task_type__in=allowed.values("task_type"))
    else:
        runs = runs.filter(reach(target.scope, target.target, run=""))
    covered = reach(target.scope, target.target)
    waiting = Proposal.objects.filter(covered, status=Status.PENDING)
    # Calls are not found by their state: they are those of runs that a worker has, and those that were left alone.
    executing = ToolCall.objects.filter(covered, state=CallState.EXECUTING.value)
    of_workers = executing.filter(unsettled=False, run__claimable=True, run__state=RunState.RUNNING.value)
    counts = [*(runs.filter(state=state) for state in _OPEN), waiting, of_workers, executing.filter(unsettled=True)]
    *found, proposals, at_work, alone = counted(counts)
    by_state = zip(_OPEN, found, strict=True)
    under_way = Count(at_work.pending + alone.pending, at_work.capped or alone.capped)
    return Preview(tuple((state, count) for state, count in by_state if count.pending), proposals, under_way)


# --- stopping and lifting -------------------------------------------------------------------------------------------


def stop(
    *, target: Target, reason: str, actor: Actor, now: datetime | None = None
) -> Stopped | AlreadyStopped | Invalid | Forbidden:
    """Stop something: from the commit on, nothing new starts in what it covers, and no deadline passes there.

    Waits for transactions that are just consuming a grant, and comes after them. Writes the event `halt.started`.
    """
    if (refused := _refusal(actor, reason)) is not None:
        return refused
    with transaction.atomic():
        covering.close_line()
        # Read under the lock: its moment is not before that of a call that was let through.
        moment = now or clock.now()
        same = Halt.objects.select_related("started_by").filter(
            scope=target.scope, target=target.target, lifted_at__isnull=True
        )
        if (there := same.first()) is not None:
            return AlreadyStopped(there.pk, called(there.started_by), there.started_at)
        halt = Halt.objects.create(
            scope=target.scope,
            target=target.target,
            label=clean_text(target.label)[:200],
            reason=clean_text(reason.strip()),
            started_at=moment,
            started_by_id=person_of(actor),
        )
        record_in_tenant_stream(
            "halt.started",
            {"scope": halt.scope, "target": halt.target, "label": halt.label, "reason": halt.reason},
            subject=("halt", str(halt.pk)),
            actor=actor,
        )
        _forget()
    return Stopped(halt.pk)


def lift(
    *, halt_id: int, reason: str, actor: Actor, now: datetime | None = None
) -> Lifted | AlreadyLifted | Invalid | Forbidden | NotFound:
    """End a stop, with a reason. Writes `halt.lifted`, and begins to set going what the stop held."""
    moment = now or clock.now()
    if (refused := _refusal(actor, reason)) is not None:
        return refused
    with transaction.atomic():
        said = clean_text(reason.strip())
        changed = Halt.objects.filter(pk=halt_id, lifted_at__isnull=True).update(
            lifted_at=moment, lifted_by=actor.user_id, lift_reason=said
        )
        halt = Halt.objects.select_related("lifted_by").filter(pk=halt_id).first()
        if halt is None:
            return NotFound()
        if not changed:
            assert halt.lifted_by is not None
            assert halt.lifted_at is not None
            return AlreadyLifted(called(halt.lifted_by), halt.lifted_at)
        record_in_tenant_stream(
            "halt.lifted",
            {"scope": halt.scope, "target": halt.target, "label": halt.label, "reason": said},
            subject=("halt", str(halt.pk)),
            actor=actor,
        )
        _forget()
    if not connection.in_atomic_block:
        settle_lifted(moment)
    return Lifted(halt_id)


def _refusal(actor: Actor, reason: str) -> Invalid | Forbidden | None:
    if actor.kind != "user" or actor.user_id is None or not can(actor, RIGHT):
        return Forbidden()
    if not reason.strip():
        return Invalid("reason", "Say why: the next person has only this to go by.")
    if len(reason) > MAX_REASON:
        return Invalid("reason", f"Keep the reason within {MAX_REASON} characters.")
    return None


def _forget() -> None:
    """Let this process ask again, now and once the change is there for everybody."""
    tenant_id = current_tenant_id()
    covering.forget(tenant_id)
    transaction.on_commit(lambda: covering.forget(tenant_id))


# --- setting going again --------------------------------------------------------------------------------------------


def settle_lifted(now: datetime, limit: int = BATCH) -> int:
    """Give back the time that lifted stops have taken and queue the runs they paused; return how many rows it touched.

    At most `limit` runs per stop and kind of work, a transaction each; what is left comes with the next sweep. Safe to
    run anywhere at any time. A run that another stop covers is held by that one from now on.
    """
    done = 0
    for lifted in unsettled_stops():
        if lifted.lifted_at is None:
            continue
        owed, paused = _owed(lifted, limit), _paused(lifted, limit)
        moved = sum(_each(owed, catch_up))
        resumed = sum(_each(paused, partial(_let_go, lifted=lifted, now=now)))
        Halt.objects.filter(pk=lifted.id).update(moved=F("moved") + moved, resumed=F("resumed") + resumed)
        done += len(owed) + len(paused)
        if not _owed(lifted, 1) and not _paused(lifted, 1):
            _settled(lifted, now)
    return done


def _each(run_ids: list[UUID], work: Callable[[UUID], int]) -> list[int]:
    """Do something to each run under its lock, a transaction each; one that fails does not hold up the rest."""
    done = []
    for run_id in run_ids:
        try:
            with transaction.atomic():
                lock_run(run_id)
                done.append(work(run_id))
        except Exception:
            logger.exception("run %s could not be set going again", run_id)
    return done


def _owed(lifted: Stop, limit: int) -> list[UUID]:
    """Return runs with a deadline that this stop held and that has not been moved yet."""
    not_yet = Q(thawed_to__isnull=True) | Q(thawed_to__lt=lifted.lifted_at)
    covered = reach(lifted.scope, lifted.target) & not_yet & Q(created_at__lt=lifted.lifted_at)
    waiting = Proposal.objects.filter(covered, status=Status.PENDING, decide_by__gt=lifted.started_at)
    unused = Grant.objects.filter(covered, usable(), expires_at__gt=lifted.started_at)
    found = dict.fromkeys(waiting.order_by("pk").values_list("run_id", flat=True)[:limit])
    found |= dict.fromkeys(unused.order_by("pk").values_list("run_id", flat=True)[:limit])
    return list(found)[:limit]


def _paused(lifted: Stop, limit: int) -> list[UUID]:
    return list(Run.objects.filter(halt_id=lifted.id).order_by("pk").values_list("pk", flat=True)[:limit])


def _let_go(run_id: UUID, *, lifted: Stop, now: datetime) -> int:
    """Queue a run that this stop paused, unless another one covers it; return whether it goes on."""
    run, state = Run.objects.get(pk=run_id), state_of(run_id)
    halt = str(lifted.id)
    if state.paused_by_halt != halt:
        return 0
    other = first(open_stops(), work_of(run))
    if other is not None:
        event: RunPaused | RunResumed = RunPaused("halt", other.reason, str(other.id))
    else:
        if not state.paused_by:
            end_of_pause(run, until=now)
        event = RunResumed("halt", "", halt)
    try:
        record_outside(run_id, [event], actor=SYSTEM, now=now)
    except IllegalTransition:
        return 0  # it has ended meanwhile
    return int(other is None)


def _settled(lifted: Stop, now: datetime) -> None:
    with transaction.atomic():
        if not Halt.objects.filter(pk=lifted.id, settled_at__isnull=True).update(settled_at=now):
            return
        counts = Halt.objects.values("moved", "resumed").get(pk=lifted.id)
        assert lifted.lifted_at is not None
        record_in_tenant_stream(
            "halt.settled",
            {
                "label": lifted.label,
                "stopped_s": int((lifted.lifted_at - lifted.started_at).total_seconds()),
                "deadlines_moved": counts["moved"],
                "runs_resumed": counts["resumed"],
            },
            subject=("halt", str(lifted.id)),
            actor=SYSTEM,
        )
        _forget()
