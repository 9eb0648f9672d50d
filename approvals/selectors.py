"""Read proposals for people: the queue by keyset with capped counts, one proposal with what its card shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, assert_never
from uuid import UUID

from django.db.models import IntegerField, Q, QuerySet, Subquery

from agentops.audit.models import Event
from agentops.engine.transitions import CallState
from agentops.runs.models import TaskType, ToolCall
from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.prepared import Query
from agentops.tenancy.scope import current_tenant_id
from approvals.filters import (
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
from approvals.models import Decision, Proposal, ProposalTerm, Status
from approvals.names import IN_A_ROW, introduce

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


@dataclass(frozen=True, slots=True)
class QueuePage:
    """At most 50 proposals in order; `next` is the place to continue from, None at the end."""

    rows: tuple[Proposal, ...]
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
    *("id", "tenant_id", "risk_band", "risk_score", "band_rank", "sentence", "consequence", "tainted", "status"),
    *("created_at", "decide_by", "decided_at", "tool", "task_type", "run_id", "thawed_to", *IN_A_ROW),
    *("leased_until", "held_until", *_RUN),
)
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
    anchor = Proposal.objects.filter(pk=after.proposal_id).first() if after is not None else None
    if after is not None and anchor is None:
        return QueuePage((), None)
    at = after.at if after is not None else now
    rows: list[Proposal] = []
    for part in in_order(filters, now=now, at=at, anchor=anchor):
        rows.extend(part[: PAGE + 1 - len(rows)])
        if len(rows) > PAGE:
            break
    shown = tuple(rows[:PAGE])
    return QueuePage(shown, Place(at, shown[-1].pk) if len(rows) > PAGE else None)


def rows_of(ids: Sequence[UUID]) -> list[Proposal]:
    """Return the rows of these proposals as they are now, whatever their status; in no order. One query."""
    return list(_rows().filter(pk__in=ids))


def next_after(proposal: Proposal, filters: Filters, *, now: datetime) -> Proposal | None:
    """Return the pending proposal that follows this one in the queue, or the first one; None when nothing waits.

    What somebody else has taken is passed over. It comes with everything its card names, like that of `find`. Two
    queries where much waits, up to eight where little does.
    """
    if not filters.active and filters.me is not None:
        place = (proposal.pk, proposal.band_rank, proposal.created_at)
        for query in _FOLLOWING[_bucket(proposal.decide_by, now)]:
            # Found without what its card names: to join that, all that wait would be read and sorted to show one.
            for (pk,) in query(filters.me, now, now + SOON, now + TODAY, *place):
                return find(pk)
        return None
    for anchor in (proposal, None):
        for part in in_order(filters, now=now, at=now, anchor=anchor):
            free = part.filter(free_for(filters.me, now)).exclude(pk=proposal.pk)
            for pk in free.values_list("pk", flat=True)[:1]:
                return find(pk)
    return None


def overview(filters: Sequence[Filters], *, now: datetime) -> Overview:
    """Count what waits, and what each of the filters finds, up to 1,000 each. One query."""
    waiting = Proposal.objects.filter(status=Status.PENDING)
    calls = ToolCall.objects.filter(state=CallState.UNKNOWN.value, hook_asked=True)
    ages = [Subquery(waiting.filter(band_rank=r).order_by("created_at").values("created_at")[:1]) for r in range(4)]
    event = Subquery(Event.objects.order_by("-pk").values("pk")[:1])
    numbered = (_CountedTo.of(one) for one in (waiting, calls, *(matching(one, now) for one in filters)))
    row = _of_tenant([*ages, *numbered, event])
    found, numbers = row[: len(ages)], row[len(ages) : -1]
    return Overview(
        _count(numbers[0] + numbers[1]),
        numbers[1],
        min((age for age in found if age is not None), default=None),
        tuple(_count(number) for number in numbers[2:]),
        row[-1] or 0,
    )


def counted(rows: Sequence[QuerySet[Any]]) -> tuple[Count, ...]:
    """Count the rows of each, up to 1,000. One query."""
    return tuple(_count(number) for number in _of_tenant([_CountedTo.of(one) for one in rows]))


def _of_tenant(subqueries: Sequence[Subquery]) -> tuple[Any, ...]:
    """Return the values of scalar subqueries in the open tenant. One query."""
    named = {f"n{i}": one for i, one in enumerate(subqueries)}
    row: tuple[Any, ...] = Tenant.objects.filter(pk=current_tenant_id()).annotate(**named).values_list(*named).get()
    return row


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


def in_order(
    filters: Filters, *, now: datetime, at: datetime, anchor: Proposal | None = None
) -> Iterator[QuerySet[Proposal]]:
    """Yield the parts of the queue in order, each without what is not behind the anchor.

    `at` is the moment that decides what is due within the hour, `now` what is held. The rows have what a row shows.
    """
    rows = _with_row(matching(filters, now))
    if filters.status != Status.PENDING:
        closed = rows.order_by("-decide_by", "-id")
        if anchor is not None:
            behind = Q(decide_by__lt=anchor.decide_by) | Q(decide_by=anchor.decide_by, id__lt=anchor.pk)
            closed = closed.filter(decide_by__lte=anchor.decide_by).filter(behind)
        yield closed
        return
    place = None
    if anchor is not None:
        place = _Behind(_bucket(anchor.decide_by, at), anchor.pk, anchor.band_rank, anchor.created_at)
    yield from _waiting(rows, at + SOON, at + TODAY, place)


@dataclass(frozen=True, slots=True)
class _Behind:
    """Where a list goes on: behind this proposal, which is due within `SOON` (0), within `TODAY` (1) or later (2)."""

    bucket: int
    id: Any
    band_rank: Any
    created_at: Any


def _bucket(decide_by: datetime, at: datetime) -> int:
    return 0 if decide_by < at + SOON else 1 if decide_by < at + TODAY else 2


def _waiting(rows: QuerySet[Proposal], soon: Any, today: Any, behind: _Behind | None) -> Iterator[QuerySet[Proposal]]:
    # A query for each: sorted by a computed urgency, thousands of urgent ones would all be read to show fifty.
    for bucket, (since, until) in enumerate(((None, soon), (soon, today), (today, None))):
        part = rows if since is None else rows.filter(decide_by__gte=since)
        part = part if until is None else part.filter(decide_by__lt=until)
        part = part.order_by("-band_rank", "created_at", "id")
        if behind is None or bucket > behind.bucket:
            yield part
        elif bucket == behind.bucket:
            # Two ranges instead of one with an "or", so that both begin behind the anchor.
            same = part.filter(band_rank=behind.band_rank, created_at__gte=behind.created_at)
            yield same.exclude(created_at=behind.created_at, id__lte=behind.id)
            if behind.band_rank != 0:
                yield part.filter(band_rank__lt=behind.band_rank)


def _following(bucket: int) -> "tuple[Query[tuple[UUID]], ...]":
    """Return the queries for what is behind a proposal that is due then, and then for all that waits, in order.

    Each takes whose queue it is, now, when `SOON` and `TODAY` end, and id, band and beginning of the proposal.
    """

    def build(me: Any, now: Any, soon: Any, today: Any, *place: Any) -> list[QuerySet[Proposal, tuple[UUID]]]:
        rows = matching(Filters(), now).filter(free_for(me, now)).exclude(pk=place[0])
        parts = (*_waiting(rows, soon, today, _Behind(bucket, *place)), *_waiting(rows, soon, today, None))
        return [part.values_list("pk")[:1] for part in parts]

    # Behind it are two parts of its own bucket and those after that; all that waits has three.
    count = 2 + (2 - bucket) + 3
    return tuple(Query(lambda *values, at=at: build(*values)[at], replan=True) for at in range(count))


_FOLLOWING: Final = tuple(map(_following, range(3)))


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
    for term in filters.terms:
        rows = _narrowed(rows, term, filters.me, now)
    return rows


def _rows() -> QuerySet[Proposal]:
    return _with_row(Proposal.objects.all())


def _with_row(rows: QuerySet[Proposal]) -> QuerySet[Proposal]:
    """Take along what a row shows and what a stop asks about its run; no name is worth a join (`approvals.names`)."""
    return rows.select_related("run").only(*_ROW)


def _narrowed(rows: QuerySet[Proposal], term: Term, me: int | None, now: datetime) -> QuerySet[Proposal]:
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
                rows = rows.filter(pk__in=_found_by(pattern).values("proposal"))
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


def _next_character(character: str) -> str:
    """Return the character behind this one in the order of bytes; there are none between U+D7FF and U+E000."""
    code = ord(character) + 1
    return chr(0xE000 if code == 0xD800 else min(code, 0x10FFFF))
