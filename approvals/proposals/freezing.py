"""Clocks that stand still: while a stop or a pause holds a call back, no deadline of it passes.

A deadline is not moved while the stop lasts; it is compared with the moment at which the clock was stopped. Once the
cause is gone, what was left is given back: the deadline moves by the time the clock stood still, and `thawed_to`
remembers up to when that has been done, so that stops which overlap count once and nothing is given back twice.

A stop that was lifted is worked off in batches (`stopping.halting`). Whoever needs a deadline earlier than that moves
the rows of that one run first (`catch_up`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q

from agentops.engine.transitions import CallState, RunState
from agentops.halts.covering import Stop, Work, fits, recent_stops, unsettled_stops
from agentops.halts.models import Scope
from agentops.runs.models import Run, ToolCall
from approvals.models import Grant, Proposal, Status

FINAL: Final = (RunState.SUCCEEDED.value, RunState.CANCELLED.value)
"""Runs that nobody takes up again: their permissions have ended for good."""

UNFINISHED: Final = (CallState.EXECUTING.value, CallState.RETRYING.value, CallState.UNKNOWN.value)

_RUN: Final = ("id", "task_type_id", "requested_by_id", "requested_by_token", "paused_at")


# --- what a stop covers, in Python and in SQL -----------------------------------------------------------------------


def work_of(run: Run, tool: str = "") -> Work:
    """Describe a run's work, or one of its calls, as stops see it."""
    return Work(run.pk, run.task_type_id, run.agent, tool)


def reach(scope: str, target: str, *, run: str = "run__", tool: str = "tool") -> Q:
    """Return the condition for rows that a stop covers; `run` is the way to their run, `tool` their tool's column."""
    match scope:
        case Scope.TENANT:
            return Q()
        case Scope.TASK_TYPE:
            return Q(**{f"{run}task_type_id": int(target)})
        case Scope.RUN:
            return Q(**{f"{run}pk": UUID(target)})
        case Scope.TOOL:
            return Q(**{tool: target})
        case Scope.AGENT if target.startswith("token:"):
            return Q(**{f"{run}requested_by_token": target.removeprefix("token:")})
        case Scope.AGENT:
            person = int(target.removeprefix("user:"))
            return Q(**{f"{run}requested_by_id": person, f"{run}requested_by_token": ""})
    raise ValueError(f"unknown scope {scope}")


# --- whether a clock stands -----------------------------------------------------------------------------------------


def still_since(
    stops: Iterable[Stop], run: Run, tool: str, *, born: datetime, thawed_to: datetime | None = None
) -> datetime | None:
    """Return the moment at which a clock of this run and tool stands still, or None while it runs. Pure.

    `born` is when the clock was started, `thawed_to` up to when it has been given its time back.
    """
    return stands_since(stops, work_of(run, tool), run.paused_at, born=born, thawed_to=thawed_to)


def stands_since(
    stops: Iterable[Stop], work: Work, paused_at: datetime | None, *, born: datetime, thawed_to: datetime | None = None
) -> datetime | None:
    """Return what `still_since` does, of work that is described already. Pure."""
    causes = [stop.started_at for stop in stops if fits(stop, work) and not _given_back(stop, thawed_to)]
    if paused_at is not None:
        causes.append(paused_at)
    if not causes:
        return None
    return max(min(causes), born, thawed_to or born)


def _given_back(stop: Stop, thawed_to: datetime | None) -> bool:
    return stop.lifted_at is not None and thawed_to is not None and thawed_to >= stop.lifted_at


def overdue(proposal: Proposal, now: datetime) -> bool:
    """Say whether a proposal's time to be decided is over, its clock standing still while it is stopped or paused.

    Must run inside `atomic` under the run's lock: time that is due to the proposal is given back first.
    """
    run = _run(proposal.run_id)
    stops = unsettled_stops()
    if catch_up(run, stops):
        proposal.refresh_from_db(fields=("decide_by", "execute_by", "thawed_to"))
    still = still_since(stops, run, proposal.tool, born=proposal.created_at, thawed_to=proposal.thawed_to)
    return proposal.decide_by <= (now if still is None else min(still, now))


def running(now: datetime) -> Q:
    """Return the condition for proposals whose clock runs, or stood still only after their time was over."""
    # A pause is a cause of its own, whatever the stops are.
    condition = ~Q(run__paused_at__isnull=False, decide_by__gt=F("run__paused_at"))
    for stop in unsettled_stops():
        held = reach(stop.scope, stop.target) & Q(decide_by__gt=stop.started_at)
        if stop.lifted_at is not None:
            held &= Q(thawed_to__isnull=True) | Q(thawed_to__lt=stop.lifted_at)
        condition &= ~held
    return condition & Q(decide_by__lte=now)


def going() -> Q:
    """Return the condition for proposals whose clock runs, and that have been given back all time it stood still."""
    condition = Q(run__paused_at__isnull=True)
    for stop in unsettled_stops():
        held = reach(stop.scope, stop.target)
        if stop.lifted_at is not None:
            held &= Q(created_at__lt=stop.lifted_at) & (Q(thawed_to__isnull=True) | Q(thawed_to__lt=stop.lifted_at))
        elif stop.scope == Scope.TENANT:
            return Q(pk__in=[])
        condition &= ~held
    return condition


def standing(proposals: Sequence[Proposal]) -> Mapping[UUID, datetime]:
    """Return since when the clocks of these proposals stand still, without those that run.

    No query for proposals that were read together with their runs, else one; one more for stops now and then.
    """
    runs = {one.run_id: one.run for one in proposals if Proposal.run.is_cached(one)}
    if unread := {one.run_id for one in proposals} - runs.keys():
        runs |= {run.pk: run for run in Run.objects.filter(pk__in=unread).only(*_RUN)}
    stops = recent_stops()
    found: dict[UUID, datetime] = {}
    for one in proposals:
        if one.status != Status.PENDING or (run := runs.get(one.run_id)) is None:
            continue
        still = still_since(stops, run, one.tool, born=one.created_at, thawed_to=one.thawed_to)
        if still is not None and still < one.decide_by:
            found[one.pk] = still
    return found


def usable() -> Q:
    """Return the condition for grants that may still be used, or used again when their call is repeated."""
    repeated = ToolCall.objects.filter(run=OuterRef("run"), call_id=OuterRef("call_id"), state__in=UNFINISHED)
    return (Q(consumed_at__isnull=True) | Exists(repeated)) & ~Q(run__state__in=FINAL)


def _run(run_id: UUID) -> Run:
    return Run.objects.only(*_RUN).get(pk=run_id)


# --- giving time back -----------------------------------------------------------------------------------------------


def catch_up(run: Run | UUID, stops: Sequence[Stop] | None = None) -> int:
    """Give the rows of one run the time back that lifted stops still owe them; return how many deadlines moved.

    Must run inside `atomic`, under the run's lock. The stop that was lifted first comes first, so that each stretch of
    time is counted once.
    """
    known = unsettled_stops() if stops is None else stops
    owing = sorted((stop for stop in known if stop.lifted_at is not None), key=lambda stop: (stop.lifted_at, stop.id))
    if not owing:
        return 0
    found = run if isinstance(run, Run) else _run(run)
    return sum(_thaw(found, known, lifted) for lifted in owing if fits_some_tool(lifted, found))


def fits_some_tool(stop: Stop, run: Run) -> bool:
    """Whether a stop may concern a run at all: one of a tool may concern any."""
    return stop.scope == Scope.TOOL or fits(stop, work_of(run))


def end_of_pause(run: Run, *, until: datetime) -> int:
    """Give the rows of a run the time of its pause back; return how many deadlines moved.

    Must run inside `atomic`, under the run's lock and before the pause is taken from the run's row.
    """
    stops = unsettled_stops()
    moved = catch_up(run, stops)
    return moved + _move(run, stops, until, None)


def _thaw(run: Run, stops: Sequence[Stop], lifted: Stop) -> int:
    assert lifted.lifted_at is not None
    return _move(run, stops, lifted.lifted_at, lifted)


def _move(run: Run, stops: Sequence[Stop], until: datetime, lifted: Stop | None) -> int:
    """Move what `lifted` covers, or everything of a run, by the time its clock stood still before `until`."""
    moved = 0
    open_ones = Proposal.objects.filter(run_id=run.pk, status=Status.PENDING)
    for proposal in open_ones.only(*_TIMES, "run_id", "tool"):
        if lifted is not None and not fits(lifted, work_of(run, proposal.tool)):
            continue
        born, thawed = proposal.created_at, proposal.thawed_to
        still = still_since(stops, run, proposal.tool, born=born, thawed_to=thawed)
        if still is None or (thawed is not None and thawed >= until):
            continue
        changes: dict[str, object] = {"thawed_to": until}
        if still < until and proposal.decide_by > still:
            moved += 1
            by = until - still
            changes |= {"decide_by": proposal.decide_by + by, "execute_by": proposal.execute_by + by}
            if proposal.remind_at is not None and proposal.remind_at > still:
                changes["remind_at"] = proposal.remind_at + by
        Proposal.objects.filter(pk=proposal.pk, status=Status.PENDING).update(**changes)
    for grant in Grant.objects.filter(usable(), run_id=run.pk):
        if lifted is not None and not fits(lifted, work_of(run, grant.tool)):
            continue
        still = still_since(stops, run, grant.tool, born=grant.created_at, thawed_to=grant.thawed_to)
        if still is None or (grant.thawed_to is not None and grant.thawed_to >= until):
            continue
        changes = {"thawed_to": until}
        if still < until and grant.expires_at > still:
            moved += 1
            changes["expires_at"] = grant.expires_at + (until - still)
            if grant.proposal_id is not None:
                Proposal.objects.filter(pk=grant.proposal_id).update(execute_by=changes["expires_at"])
        Grant.objects.filter(pk=grant.pk).update(**changes)
    return moved


_TIMES: Final = ("created_at", "thawed_to", "decide_by", "execute_by", "remind_at")
