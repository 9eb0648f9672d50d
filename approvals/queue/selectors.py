"""Read proposals for people: the queue by keyset with capped counts, one proposal with what its card shows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Protocol, assert_never
from uuid import UUID

from django.db.models import BooleanField, F, Func, IntegerField, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Cast

from agentops.audit.models import Event
from agentops.engine.transitions import CallState
from agentops.runs.models import TaskType, ToolCall
from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.prepared import Query
from agentops.tenancy.scope import OpenTenant
from approvals.models import Decision, Proposal, ProposalTerm, Status
from approvals.proposals.names import introduce
from approvals.queue import term_index
from approvals.queue.filters import (
    Amount,
    Assigned,
    Bands,
    Filters,
    Found,
    Held,
    InStatus,
    OfTaskType,
    Older,
    Pattern,
    Taint,
    Term,
    Tool,
)

PAGE = 50
COUNTED = 1_000
"""Nothing is counted beyond this: an exact count of a long queue costs more than the page."""

SEARCHED = 10_000
"""So many of the newest are searched of what is no longer waiting."""

SOON = timedelta(hours=1)
TODAY = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the queue as it was ordered at the moment `at`: just behind this proposal."""

    at: datetime
    proposal_id: UUID

    def __str__(self) -> str:
        return f"{self.at.isoformat()}~{self.proposal_id}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read what `str` wrote; raises ValueError."""
        moment, _, proposal_id = text.partition("~")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError("a place needs an aware moment")
        if not 1970 < at.year < 9999:
            raise ValueError("a place lies within the calendar, with room on both sides")
        return cls(at, UUID(proposal_id))


class QueueRow(NamedTuple):
    """What a row of the queue shows of one proposal, and of its run what a stop asks about.

    `sentence` and `consequence` are JSON as the database keeps it: what is made of them is remembered by their text.
    """

    pk: UUID
    run_id: UUID
    task_type_id: int
    tool: str
    sentence: str
    consequence: str
    risk_band: str
    risk_score: int
    band_rank: int
    tainted: bool
    status: str
    created_at: datetime
    decide_by: datetime
    decided_at: datetime | None
    decided_by_id: int | None
    leased_by_id: int | None
    leased_until: datetime | None
    assigned_to_id: int | None
    held_until: datetime | None
    thawed_to: datetime | None
    paused_at: datetime | None
    requested_by_id: int | None
    requested_by_token: str
    version: int
    digest: str
    needs_role: str


@dataclass(frozen=True, slots=True)
class QueuePage:
    """At most 50 rows in order; `next` is the place to continue from, None at the end."""

    rows: tuple[QueueRow, ...]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are; `capped` means at least this many."""

    pending: int
    capped: bool

    def __str__(self) -> str:
        return f"{self.pending:,}{'+' if self.capped else ''}"


@dataclass(frozen=True, slots=True)
class Overview:
    """The queue in figures: how much waits (of it `calls` unknown effects), since when, how much each filter finds.

    `newest` is the id of the newest event of the tenant at that moment, 0 when there is none.
    """

    waiting: Count
    calls: int
    oldest: datetime | None
    of: tuple[Count, ...]
    newest: int


_RUN = ("run__tenant", "run__task_type", "run__requested_by", "run__requested_by_token", "run__paused_at", "run__state")
_ROW = (
    *("pk", "run_id", "task_type_id", "tool", "sentence_text", "consequence_text", "risk_band", "risk_score"),
    *("band_rank", "tainted", "status", "created_at", "decide_by", "decided_at", "decided_by_id", "leased_by_id"),
    *("leased_until", "assigned_to_id", "held_until", "thawed_to"),
    *("run__paused_at", "run__requested_by_id", "run__requested_by_token", "version", "digest", "needs_role"),
)
"""The columns of `QueueRow`, in its order."""

_GLANCE = ("tenant", "tool", "contract_version", "arguments", "version", "digest")
_NAMED_ON_CARD = ("task_type", "run", "requested_by")
_CARD = (
    *(field.name for field in Proposal._meta.concrete_fields if field.name != "terms"),
    *("task_type__tenant", "task_type__name", "task_type__allow_self_approval", "task_type__execute_within_s", *_RUN),
    *("requested_by__username", "requested_by__first_name", "requested_by__last_name"),
)


def queue_page(filters: Filters, *, now: datetime, after: Place | None = None) -> QueuePage:
    """Return a page of the queue: what is due within the hour first, then within eight, then the rest.

    Within each of these the riskier comes first, then the older. Up to three queries (two more to continue), each an
    index range; nothing is counted and nothing skipped over. With `after` its moment decides what is due when, which
    keeps the order of one person's pages stable. What is no longer pending is listed by deadline, latest first; when it
    is narrowed further, the newest 10,000 are searched.
    """
    anchor = next((_Anchor(*one) for one in _ANCHOR(after.proposal_id)), None) if after is not None else None
    if after is not None and anchor is None:
        return QueuePage((), None)
    at = after.at if after is not None else now
    rows: list[QueueRow] = []
    for step, values in _steps(filters, at=at, anchor=anchor):
        rows.extend(QueueRow(*one) for one in _rows_of_step(filters, step, now, values)[: PAGE + 1 - len(rows)])
        if len(rows) > PAGE:
            break
    shown = tuple(rows[:PAGE])
    return QueuePage(shown, Place(at, shown[-1].pk) if len(rows) > PAGE else None)


def rows_of(ids: Sequence[UUID]) -> list[QueueRow]:
    """Return the rows of these proposals as they are now, whatever their status; in no order. One query."""
    return [QueueRow(*one) for one in _in_columns(Proposal.objects.filter(pk__in=ids))]


def next_after(proposal: Proposal, filters: Filters, *, now: datetime) -> Proposal | None:
    """Return the pending proposal that follows this one in the queue, or the first one; None when nothing waits.

    What somebody else has taken is passed over. It comes with everything its card names, like that of `find`. Two
    queries where much waits, up to eight where little does.
    """
    for anchor in (proposal, None):
        for step, values in _steps(filters, at=now, anchor=anchor):
            # Found without what its card names: to join that, all that wait would be read and sorted to show one.
            for (pk,) in _first_of_step(filters, step, now, values, proposal.pk):
                return find(pk)
    return None


def overview(filters: Sequence[Filters], *, now: datetime) -> Overview:
    """Count what waits, and what each of the filters finds, up to 1,000 each. One query."""
    ages, (proposals, calls, *of), newest = _figures(filters, now, whole=True)
    return Overview(
        _count(proposals + calls),
        calls,
        min((age for age in ages if age is not None), default=None),
        tuple(_count(number) for number in of),
        newest,
    )


def found_by(filters: Sequence[Filters], *, now: datetime) -> tuple[tuple[Count, ...], int]:
    """Count what each of the filters finds, as `overview` does; with the id of the newest event. One query."""
    _, of, newest = _figures(filters, now, whole=False)
    return tuple(_count(number) for number in of), newest


def counted(rows: Sequence[QuerySet[Any]]) -> tuple[Count, ...]:
    """Count the rows of each, up to 1,000. One query."""
    return tuple(_count(number) for number in _of_tenant([_CountedTo.of(one) for one in rows]).get())


_RANKS = range(4)


def _figures(
    filters: Sequence[Filters], now: datetime, *, whole: bool
) -> tuple[Sequence[datetime | None], Sequence[int], int]:
    """Return since when each band waits, the numbers, and the newest event. One query."""
    people = {one.me for one in filters if one.personal}
    if len(people) <= 1 and all(map(_is_common, filters)):
        shapes = [_shape(one) for one in filters]
        asked = _prepared_figures(tuple(shape for shape, _ in shapes), whole)
        [row] = asked(now, next(iter(people), None), *(value for _, named in shapes for value in named))
    else:
        row = _in_figures(filters, now, whole).get()
    ages = len(_RANKS) if whole else 0
    return row[:ages], row[ages:-1], row[-1] or 0


@lru_cache(50)
def _prepared_figures(shapes: tuple[tuple[Term, ...], ...], whole: bool) -> Query[tuple[Any, ...]]:
    def build(now: Any, me: Any, *values: Any) -> QuerySet[Tenant, tuple[Any, ...]]:
        left = list(values)
        return _in_figures([_filled(shape, me, left) for shape in shapes], now, whole)

    return Query(build)


def _in_figures(filters: Sequence[Filters], now: datetime, whole: bool) -> QuerySet[Tenant, tuple[Any, ...]]:
    waiting = Proposal.objects.filter(status=Status.PENDING)
    calls = ToolCall.objects.filter(unsettled=True, state=CallState.UNKNOWN.value, hook_asked=True)
    ages = [Subquery(waiting.filter(band_rank=r).order_by("created_at").values("created_at")[:1]) for r in _RANKS]
    event = Subquery(Event.objects.order_by("-pk").values("pk")[:1])
    counts = [
        _CountedTo.of(one) for one in (*((waiting, calls) if whole else ()), *(matching(f, now) for f in filters))
    ]
    return _of_tenant([*(ages if whole else ()), *counts, event])


def _of_tenant(subqueries: Sequence[Subquery]) -> QuerySet[Tenant, tuple[Any, ...]]:
    """Ask for the values of scalar subqueries in the open tenant: one row."""
    named = {f"n{i}": one for i, one in enumerate(subqueries)}
    return Tenant.objects.filter(pk=OpenTenant()).annotate(**named).values_list(*named)


class _CountedTo(Subquery):
    """How many rows a sliced query has."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    @classmethod
    def of(cls, rows: QuerySet[Any]) -> "_CountedTo":
        """Count one more than is told, so that more can be told from as many."""
        return cls(rows.order_by().values("pk")[: COUNTED + 1])


def _count(found: int) -> Count:
    return Count(min(found, COUNTED), found > COUNTED)


def find(proposal_id: UUID) -> Proposal | None:
    """Return a proposal of the open tenant with everything its card names. One query; now and then one for names."""
    found = next(iter(_FOR_A_CARD(proposal_id)), None)
    return introduce(found) if found is not None else None


def glance(proposal_id: UUID) -> Proposal | None:
    """Return a proposal with what an edit of it begins with: its contract, arguments, version and digest. One query.

    Everything else of it costs a query when it is asked for: `find` is for showing it.
    """
    return next(iter(_AT_A_GLANCE(proposal_id)), None)


def decision_on(proposal: Proposal) -> Decision | None:
    """Return the final decision on a proposal."""
    return next(iter(_FINAL(proposal.pk)), None)


def last_decision() -> Decision | None:
    """Return the newest decision of the tenant."""
    counted = Decision.objects.filter(final=True, undone_at__isnull=True)
    return counted.select_related("user").order_by("-id").first()


_FOR_A_CARD: Final = Query(lambda pk: Proposal.objects.filter(pk=pk).select_related(*_NAMED_ON_CARD).only(*_CARD))
_AT_A_GLANCE: Final = Query(lambda pk: Proposal.objects.filter(pk=pk).only(*_GLANCE))
_FINAL: Final = Query(
    lambda proposal: Decision.objects.filter(proposal_id=proposal, final=True, undone_at__isnull=True).select_related(
        "user"
    )[:1]
)


# --- order ----------------------------------------------------------------------------------------------------------


class InQueue(Protocol):
    """What its place in the queue depends on."""

    @property
    def pk(self) -> UUID: ...
    @property
    def decide_by(self) -> datetime: ...
    @property
    def band_rank(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...


class _Anchor(NamedTuple):
    pk: UUID
    decide_by: datetime
    band_rank: int
    created_at: datetime


_ANCHOR = Query(
    lambda pk: Proposal.objects.filter(pk=pk).values_list("pk", "decide_by", "band_rank", "created_at"),
)


_Part = Literal["", "in the band", "below the band", "closed"]
_BEHIND: Final[tuple[_Part, ...]] = ("", "in the band", "below the band")


class _Step(NamedTuple):
    """A part of the queue: whether its deadlines have a beginning and an end, and what of it lies behind an anchor."""

    since: bool = False
    until: bool = False
    behind: _Part = ""


def in_order(
    filters: Filters, *, now: datetime, at: datetime, anchor: InQueue | None = None
) -> Iterator[QuerySet[Proposal]]:
    """Yield the parts of the queue in order, each without what is not behind the anchor.

    `at` is the moment that decides what is due within the hour, `now` what is held.
    """
    for step, values in _steps(filters, at=at, anchor=anchor):
        yield _of_step(matching(filters, now), filters, step, *values)


def _steps(filters: Filters, *, at: datetime, anchor: InQueue | None) -> Iterator[tuple[_Step, tuple[Any, ...]]]:
    """Yield the parts of the queue, each with the values that `_of_step` wants for it."""
    if filters.status != Status.PENDING:
        yield (_Step(), ()) if anchor is None else (_Step(behind="closed"), (anchor.decide_by, anchor.pk))
        return
    # A query for each: sorted by a computed urgency, thousands of urgent ones would all be read to show fifty.
    for since, until in ((None, at + SOON), (at + SOON, at + TODAY), (at + TODAY, None)):
        ends = tuple(end for end in (since, until) if end is not None)
        step = _Step(since is not None, until is not None)
        if anchor is None:
            yield step, ends
        elif until is None or anchor.decide_by < until:
            # Two ranges instead of one with an "or", so that both begin behind the anchor.
            yield step._replace(behind="in the band"), (*ends, anchor.band_rank, anchor.created_at, anchor.pk)
            if anchor.band_rank:
                yield step._replace(behind="below the band"), (*ends, anchor.band_rank)
            anchor = None


def _of_step(rows: QuerySet[Proposal], filters: Filters, step: _Step, *values: Any) -> QuerySet[Proposal]:
    """Return one part of what a filter finds, in order. It only hands the values on (`prepared.Query`)."""
    left = list(values)
    if filters.status != Status.PENDING:
        if step.behind:
            decide_by, pk = left
            behind = Q(decide_by__lt=decide_by) | Q(decide_by=decide_by, id__lt=pk)
            rows = rows.filter(decide_by__lte=decide_by).filter(behind)
        return rows.order_by("-decide_by", "-id")
    if step.since:
        rows = rows.filter(decide_by__gte=left.pop(0))
    if step.until:
        rows = rows.filter(decide_by__lt=left.pop(0))
    if step.behind == "in the band":
        rank, created_at, pk = left
        rows = rows.filter(band_rank=rank, created_at__gte=created_at).exclude(created_at=created_at, id__lte=pk)
    elif step.behind:
        rows = rows.filter(band_rank__lt=left[0])
    return rows.order_by(*_IN_ORDER)


_IN_ORDER: Final = ("-band_rank", "created_at", "id")


def _rows_of_step(filters: Filters, step: _Step, now: datetime, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Return one more than a page of a part of the queue, in the columns of `QueueRow`. One query."""
    if not _is_common(filters):
        return list(_in_columns(_of_step(matching(filters, now), filters, step, *values))[: PAGE + 1])
    shape, named = _shape(filters)
    return _prepared_step(shape, step)(now, filters.me, *named, *values)


@lru_cache(200)
def _prepared_step(shape: tuple[Term, ...], step: _Step) -> Query[tuple[Any, ...]]:
    def build(now: Any, me: Any, *values: Any) -> QuerySet[Proposal, tuple[Any, ...]]:
        left = list(values)
        filters = _filled(shape, me, left)
        # Found before anything is joined: the database takes a run of the same tenant for one in forty, and would sort
        # all that is due rather than follow the order of the queue until it has a page of them.
        found = _of_step(matching(filters, now), filters, step, *left).values("pk")[: PAGE + 1]
        return _in_columns(Proposal.objects.filter(pk__in=found)).order_by(*_IN_ORDER)

    # A plan that fits any two ends takes what lies between them for a handful, and sorts thousands.
    return Query(build, replan=step.since and step.until)


def _first_of_step(
    filters: Filters, step: _Step, now: datetime, values: tuple[Any, ...], but: UUID
) -> list[tuple[UUID]]:
    """Return the first of a part of the queue that nobody else has taken, unless it is `but`. One query."""
    if filters.active or filters.me is None:
        return list(_free_of_step(filters, step, now, filters.me, but, *values))
    return _FREE[step](now, filters.me, but, *values)


def _free_of_step(
    filters: Filters, step: _Step, now: Any, me: Any, but: Any, *values: Any
) -> QuerySet[Proposal, tuple[UUID]]:
    rows = matching(filters, now).filter(free_for(me, now)).exclude(pk=but)
    return _of_step(rows, filters, step, *values).values_list("pk")[:1]


def _free(step: _Step) -> Query[tuple[UUID]]:
    # What is free is found by partial indexes, which a plan for any person and any moment does not use.
    return Query(lambda *values: _free_of_step(Filters(), step, *values), replan=True)


_FREE: Final = {
    step: _free(step)
    for since, until in ((False, True), (True, True), (True, False))
    for step in (_Step(since, until, behind) for behind in _BEHIND)
}


def _in_columns(rows: QuerySet[Proposal]) -> QuerySet[Proposal, tuple[Any, ...]]:
    """Take what a row shows and what a stop asks about its run; no name is worth a join (`proposals.names`)."""
    texts = {"sentence_text": Cast("sentence", TextField()), "consequence_text": Cast("consequence", TextField())}
    return rows.annotate(**texts).values_list(*_ROW)


def free_for(person: int | None, now: datetime) -> Q:
    """Return the condition for what nobody else has taken at the moment."""
    free = Q(leased_until__isnull=True) | Q(leased_until__lte=now)
    return free if person is None else free | Q(leased_by=person)


def matching(filters: Filters, now: datetime) -> QuerySet[Proposal]:
    """Return the proposals that a filter finds, without any order."""
    rows = Proposal.objects.filter(status=filters.status)
    if filters.status != Status.PENDING:
        if len(filters.terms) == 1:
            return rows
        newest = rows.order_by("-decide_by", "-id").values("pk")[:SEARCHED]
        rows = rows.filter(pk__in=newest)
    elif not filters.held:
        rows = rows.filter(Q(held_until__isnull=True) | Q(held_until__lte=now))
    quick = any(isinstance(term, Found) for term in filters.terms) and term_index.whole()
    for term in filters.terms:
        rows = _narrowed(rows, term, filters.me, now, quick)
    return rows


# What is often asked for is compiled once for each shape: the same terms, whatever they name.

_NAMED: Final[Mapping[type[Any], str]] = {Tool: "name", OfTaskType: "slug", Assigned: "to"}
"""The field in which a term of a shape has a value that is filled in; the other terms are part of the shape."""


def _is_common(filters: Filters) -> bool:
    """Whether its shape is one of few, and any values of it are found in the same way."""
    return (filters.me is not None or not filters.personal) and all(
        isinstance(term, Bands | Taint | Held | Tool | OfTaskType | Assigned) for term in filters.terms
    )


def _shape(filters: Filters) -> tuple[tuple[Term, ...], list[str]]:
    """Return the terms without what they name, and that."""
    shape: list[Term] = []
    named: list[str] = []
    for term in filters.terms:
        hollow: dict[str, Any] = {"text": ""}
        field = _NAMED.get(type(term), "")
        if field and (value := getattr(term, field)):
            named.append(value)
            hollow[field] = _NAME
        shape.append(replace(term, **hollow))
    return tuple(shape), named


_NAME: Final = "?"


def _filled(shape: tuple[Term, ...], me: Any, left: list[Any]) -> Filters:
    """Return the filter of a shape with the first of these values, which are taken out."""
    return Filters(
        tuple(
            replace(term, **{field: left.pop(0)})
            if (field := _NAMED.get(type(term), "")) and getattr(term, field)
            else term
            for term in shape
        ),
        me,
    )


def _narrowed(rows: QuerySet[Proposal], term: Term, me: int | None, now: datetime, quick: bool) -> QuerySet[Proposal]:
    match term:
        case Bands(ranks=ranks):
            rows = rows.filter(band_rank__gte=min(ranks), band_rank__lte=max(ranks))
            missing = set(range(min(ranks), max(ranks))) - ranks
            return rows.exclude(band_rank__in=missing) if missing else rows
        case Tool(name=name):
            return rows.filter(tool=name)
        case OfTaskType(slug=slug):
            # Asked for by its id, which the index has, and not by way of a join, which would lose the order.
            return rows.filter(task_type=Subquery(TaskType.objects.filter(slug=slug).values("pk")[:1]))
        case Taint(tainted=tainted):
            return rows.filter(tainted=tainted)
        case Amount(comparison=comparison, e4=e4):
            return rows.filter(amount_e4__isnull=False, **{f"amount_e4__{comparison}": e4})
        case Assigned(to=None):
            return rows.filter(assigned_to=me) if me is not None else rows.none()
        case Assigned(to=""):
            return rows.filter(assigned_to__isnull=True)
        case Assigned(to=name):
            person = Membership.objects.filter(user__username=name).values("user")[:1]
            return rows.filter(assigned_to=Subquery(person))
        case Older(age=age):
            return rows.filter(created_at__lte=now - age)
        case Held():
            return rows.filter(held_until__gt=now)
        case Found(patterns=patterns):
            for pattern in patterns:
                by = Q(pk__in=_found_by(pattern).values("proposal")) if quick else Q(_carries(pattern))
                rows = rows.filter(by)
            return rows
        case InStatus():
            return rows
        case _:
            assert_never(term)


def _found_by(pattern: Pattern) -> QuerySet[ProposalTerm]:
    if not pattern.start:
        return ProposalTerm.objects.filter(term=pattern.term)
    # Every text with this beginning, as a range of an index that compares bytes.
    last = f"{pattern.term[:-1]}{_next_character(pattern.term[-1])}"
    return ProposalTerm.objects.filter(term__gte=pattern.term, term__lt=last)


def _carries(pattern: Pattern) -> Func:
    """Return the same as a condition on the proposal itself, for which every one that waits is looked at."""
    like = "$[*] ? (@ starts with $term)" if pattern.start else "$[*] ? (@ == $term)"
    path = Func(Value(like), template="%(expressions)s::jsonpath")
    named = Func(Value(json.dumps({"term": pattern.term})), template="%(expressions)s::jsonb")
    return Func(F("terms"), path, named, function="jsonb_path_exists", output_field=BooleanField())


def _next_character(character: str) -> str:
    """Return the character behind this one in the order of bytes; there are none between U+D7FF and U+E000."""
    code = ord(character) + 1
    return chr(0xE000 if code == 0xD800 else min(code, 0x10FFFF))
