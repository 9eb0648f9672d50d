"""Read new events of the open tenant scope and keep the cells, the facts and the drift charts right.

Nothing is added up event by event. A run with new events is read as a whole; what it contributed up to the event it was
counted to is taken out of the cells and what it contributes now is put in. So it does not matter in which order, how
often or how late events are read, and a crash at any moment loses nothing: position, facts, cells and charts are
written by one transaction, which does nothing if another reader was faster.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F

from agentops.audit.models import Event
from agentops.audit.selectors import recorded
from agentops.audit.tail import oldest_writer
from agentops.metrics import aside, watch
from agentops.metrics.cells import EPOCH, CellKey, Cells, cells_of, difference
from agentops.metrics.definitions import VERSION
from agentops.metrics.models import Change, Reader, Rollup, RunFact
from agentops.metrics.reading import Counted, read_run
from agentops.metrics.statistics import added
from agentops.metrics.ticks import TYPES, tick_of
from agentops.metrics.traces import emit
from agentops.runs.recording import load, load_many
from agentops.tenancy.scope import current_tenant_id

logger = logging.getLogger(__name__)

EVENTS: Final = 2_000
"""Rows of the record looked at in one turn."""
RUNS: Final = 50
"""Runs counted in one turn."""
SETTLED_AFTER: Final = timedelta(seconds=30)
"""Rows with a lower number may still appear beside a row younger than this, so they are looked at again."""
CONTRACT: Final = "contract"
TOOL: Final = "tool"
"""Kinds of changes: another version of a tool's contract, and the first version of a tool, which is no change."""
SWEEP_S: Final = 0.5
"""Seconds of one sweep after which no further turn begins."""


@dataclass(slots=True)
class Turn:
    """What one turn found. `dirty` runs have events that are not counted; `position` is where the next turn begins."""

    position: int
    dirty: list[UUID] = field(default_factory=list)
    rules: list[Change] = field(default_factory=list)
    rows: int = 0
    behind_since: datetime | None = None


def sweep(now: datetime) -> int:
    """Count what is new until nothing is, or `SWEEP_S` are over; return how many runs were counted."""
    began, counted = monotonic(), 0
    while True:
        done = roll_up(now)
        counted += done
        if done < RUNS or monotonic() - began > SWEEP_S:
            return counted


def roll_up(now: datetime, *, runs: int = RUNS) -> int:
    """Count up to `runs` runs with new events; return how many. 0 also when another reader was faster.

    Where a newer release counts by newer definitions already, nothing is done.
    """
    reader = Reader.objects.first() or _first_reader()
    if reader.version > VERSION:
        return 0
    if reader.version != VERSION:
        start_again()
        reader = Reader.objects.get()
    known: dict[UUID, RunFact] = {}
    turn = _look(reader, now, runs, known)
    if not turn.dirty and turn.position == reader.position and turn.behind_since == reader.behind_since:
        return 0
    counted = [one for one in _read(turn.dirty, known) if one is not None]
    charts = watch.charts_after(counted, known)
    with transaction.atomic():
        mine = Reader.objects.filter(pk=reader.pk, turn=reader.turn)
        if not mine.update(
            turn=F("turn") + 1, position=turn.position, read_at=now, behind_since=turn.behind_since, version=VERSION
        ):
            return 0
        _write(counted, known, charts, turn.rules, now)
    emit((one.run_id, one.events) for one in counted if one.state.state.terminal and not _ended(known.get(one.run_id)))
    return len(turn.dirty)


def _write(
    counted: Sequence[Counted],
    known: Mapping[UUID, RunFact],
    charts: watch.Charts,
    rules: Sequence[Change],
    now: datetime,
) -> None:
    _write_cells(counted)
    _write_facts(counted, known, charts)
    _write_changes(counted, known, rules)
    watch.write(charts, now)


def set_aside(run_ids: Sequence[UUID], now: datetime) -> None:
    """Keep what runs contribute before their records are removed, in the transaction that removes them.

    They are counted to their end first. Raises `NewerDefinitions` where only a newer release can count them.
    """
    reader = Reader.objects.select_for_update().first()
    if reader is None:
        _first_reader()
        reader = Reader.objects.select_for_update().get()
    if reader.version > VERSION:
        raise NewerDefinitions(f"Cells are counted by version {reader.version}; this release knows {VERSION}.")
    if reader.version != VERSION:
        start_again()
    # Whoever is counting now is late.
    Reader.objects.filter(pk=reader.pk).update(turn=F("turn") + 1)
    known = {fact.run_id: fact for fact in RunFact.objects.filter(run_id__in=run_ids)}
    fresh = [run_id for run_id in run_ids if run_id not in known or not known[run_id].aside]
    counted = [one for one in _read(fresh, known) if one is not None]
    _write(counted, known, watch.charts_after(counted, known), (), now)
    aside.add([one.after for one in counted])
    RunFact.objects.filter(run_id__in=[one.run_id for one in counted]).update(aside=VERSION)


class NewerDefinitions(Exception):
    """The cells were counted by the definitions of a newer release."""


def start_again() -> None:
    """Forget everything that was added up but what cannot be counted any more; the next turns count the record anew.

    What runs contributed whose records were removed stays as it was counted, by whatever definitions. Charts and alarms
    stay.
    """
    with transaction.atomic():
        reader = Reader.objects.select_for_update().first() or _first_reader()
        Rollup.objects.all().delete()
        aside.put_back()
        RunFact.objects.filter(aside=0).update(seq=0)
        Reader.objects.filter(pk=reader.pk).update(position=0, turn=F("turn") + 1, version=VERSION)


def _first_reader() -> Reader:
    Reader.objects.bulk_create([Reader(version=VERSION)], ignore_conflicts=True)
    return Reader.objects.get()


def _look(reader: Reader, now: datetime, limit: int, known: dict[UUID, RunFact]) -> Turn:
    """Find the runs with events that are not counted, oldest first; fill `known` with the facts of runs looked at."""
    turn = Turn(position=reader.position)
    rows = list(
        Event.objects.filter(pk__gt=reader.position)
        .order_by("pk")
        .values_list("pk", "run_id", "seq", "at", "type")[:EVENTS]
    )
    if not rows:
        return turn
    turn.rows = len(rows)
    known |= {fact.run_id: fact for fact in RunFact.objects.filter(run_id__in={row[1] for row in rows if row[1]})}
    settled, all_settled = _settled_before(now), True
    dirty: dict[UUID, None] = {}
    told: list[int] = []
    for pk, run_id, seq, at, kind in rows:
        if run_id is not None and run_id not in dirty and (run_id not in known or known[run_id].seq < seq):
            if len(dirty) == limit:
                turn.behind_since = at
                break
            dirty[run_id] = None
        if run_id is None and kind in TYPES:
            told.append(pk)
        all_settled = all_settled and at < settled
        if all_settled:
            turn.position = pk
    turn.dirty = list(dirty)
    turn.rules = _rules(told)
    return turn


def _rules(events: Sequence[int]) -> list[Change]:
    """Return the changes that these events tell of."""
    found: list[Change] = []
    for row in Event.objects.filter(pk__in=events).order_by("pk") if events else ():
        if tick := tick_of(row.type, row.subject_kind, recorded(row).data):
            kind, label = tick
            found.append(Change(at=row.at, kind=kind, label=label[:160], event_id=row.pk))
    return found


def _settled_before(now: datetime) -> datetime:
    """Return the moment before which no row can appear any more with a number below those that are there.

    A number is taken inside the transaction that writes the row, so none is older than the oldest of those under way.
    """
    oldest = oldest_writer()
    return min(now, oldest or now) - SETTLED_AFTER


def _read(run_ids: Sequence[UUID], known: Mapping[UUID, RunFact]) -> Iterable[Counted | None]:
    if not run_ids:
        return
    try:
        found = {run_id: one.events for run_id, one in load_many(run_ids).items()}
    except Exception:
        logger.exception("tenant %s: a record cannot be read; its runs are read one by one", current_tenant_id())
        found = {}
    for run_id in run_ids:
        try:
            fact = known.get(run_id)
            yield read_run(run_id, found.get(run_id) or load(run_id), fact.seq if fact else 0)
        except Exception:
            # Its chain says what is wrong with it (`audit_verify`); everything else goes on being counted.
            logger.exception("run %s cannot be counted", run_id)


def _write_cells(counted: Iterable[Counted]) -> None:
    wanted: Cells = {}
    for one in counted:
        for key, counts in difference(cells_of(one.after), cells_of(one.before)).items():
            wanted[key] = added((wanted.get(key, {}), counts))
    if not wanted:
        return
    rows = Rollup.objects.filter(start__in={key.start for key in wanted}, kind__in={key.kind for key in wanted})
    there = {
        CellKey(row.grain, row.start, row.task_type, row.kind, row.key): row.counts
        for row in rows.filter(task_type__in={key.task_type for key in wanted})
    }
    Rollup.objects.bulk_create(
        [
            Rollup(
                grain=key.grain,
                start=key.start,
                task_type=key.task_type,
                kind=key.kind,
                key=key.key,
                counts=added((there.get(key, {}), counts)),
            )
            for key, counts in sorted(wanted.items())
        ],
        update_conflicts=True,
        unique_fields=["tenant", "grain", "kind", "start", "task_type", "key"],
        update_fields=["counts"],
    )


def _ended(fact: RunFact | None) -> bool:
    return fact is not None and fact.ended_at is not None


def _write_facts(counted: Sequence[Counted], known: Mapping[UUID, RunFact], charts: watch.Charts) -> None:
    facts: list[RunFact] = []
    for one in counted:
        before = known.get(one.run_id)
        submitted = one.state.submitted
        fact = RunFact(
            run_id=one.run_id,
            seq=one.seq,
            task_type=submitted.task_type[:64] if submitted is not None else "",
            watched=one.run_id in charts.watched or (before is not None and before.watched),
            judged=charts.judged.get(one.run_id, before.judged if before is not None else 0),
        )
        if one.after is None:
            # Nothing counts it; it is not under way for the metrics either.
            fact.counted, fact.ended_at = False, EPOCH
        else:
            fact.tool_errors = sum(call.outcome != "ok" for call in one.after.calls)
            fact.overrides = sum(proposal.overridden for proposal in one.after.proposals)
        if one.after is not None and (run := one.after.run) is not None:
            fact.ended_at, fact.outcome, fact.counted = run.at, run.outcome, run.counted
            fact.checked, fact.code, fact.steps = run.checked, run.code[:40], run.steps
            fact.latency_ms, fact.human_ms = run.latency_ms, run.human_ms
            fact.cost_micros = run.model_micros + run.tool_micros
        facts.append(fact)
    columns = [
        *("seq", "task_type", "ended_at", "outcome", "counted", "checked", "code", "steps"),
        *("latency_ms", "human_ms", "cost_micros", "tool_errors", "overrides", "watched", "judged"),
    ]
    RunFact.objects.bulk_create(facts, update_conflicts=True, unique_fields=["tenant", "run_id"], update_fields=columns)


def _write_changes(counted: Iterable[Counted], known: Mapping[UUID, RunFact], rules: Sequence[Change]) -> None:
    first: dict[tuple[str, str, str], datetime] = {}
    for one in counted:
        if one.after is None or one.run_id in known:
            continue
        for kind, value in one.after.variants:
            key = (kind, one.after.task_type, value[:160])
            first[key] = min(first.get(key, one.after.submitted_at), one.after.submitted_at)
        for tool, version in one.after.contracts:
            key = (CONTRACT, "", f"{tool[:120]} {version[:30]}")
            first[key] = min(first.get(key, one.after.submitted_at), one.after.submitted_at)
    new: list[Change] = []
    if first:
        there = Change.objects.filter(event_id=0, label__in={label for _, _, label in first})
        for kind, task, label in there.values_list("kind", "task_type", "label"):
            first.pop((CONTRACT if kind == TOOL else kind, task, label), None)
        new = [Change(at=at, kind=kind, task_type=task, label=label) for (kind, task, label), at in first.items()]
        _tell_tools([one for one in new if one.kind == CONTRACT])
    if new or rules:
        Change.objects.bulk_create([*new, *_first_of_release(rules)], ignore_conflicts=True)


def _tell_tools(new: Sequence[Change]) -> None:
    """Mark those of new versions that are the first one of their tool: a tool that came is no contract that changed."""
    if not new:
        return
    seen = {label.rpartition(" ")[0] for label in Change.objects.filter(kind=TOOL).values_list("label", flat=True)}
    for one in sorted(new, key=lambda one: (one.at, one.label)):
        name = one.label.rpartition(" ")[0]
        if name not in seen:
            one.kind = TOOL
            seen.add(name)


def _first_of_release(rules: Sequence[Change]) -> list[Change]:
    """Leave out what tells again of a release that was seen before."""
    releases = {one.label for one in rules if one.kind == "release"}
    seen = set[str]()
    if releases:
        there = Change.objects.filter(kind="release", label__in=releases)
        # The same event is looked at again until it is settled.
        seen = set(there.values_list("label", flat=True))
    kept: list[Change] = []
    for one in rules:
        if one.kind != "release" or one.label not in seen:
            kept.append(one)
            seen |= {one.label} if one.kind == "release" else set()
    return kept
