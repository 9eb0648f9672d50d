"""Read proposals for people: the queue by keyset with capped counts, one proposal with what its card shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from agentops.runs.models import TaskType
from approvals.models import Decision, Proposal, Status

PAGE = 50
COUNTED = 1_000
"""Nothing is counted beyond this: an exact count of a long queue costs more than the page."""

SOON = timedelta(hours=1)
TODAY = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Filters:
    """What part of the queue is asked for; empty text means any. `tainted` is yes, no or empty."""

    band: str = ""
    tool: str = ""
    task_type: str = ""
    tainted: str = ""
    status: str = Status.PENDING.value

    @property
    def active(self) -> bool:
        """Whether anything but the whole waiting queue is asked for."""
        return self != Filters()


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
    """How many wait; `capped` means at least this many."""

    pending: int
    capped: bool


_ROW = (
    *("id", "tenant_id", "risk_band", "risk_score", "band_rank", "sentence", "consequence", "tainted", "status"),
    *("created_at", "decide_by", "decided_at", "tool", "task_type__name", "run_id", "thawed_to"),
)


def queue_page(filters: Filters, *, now: datetime, after: Place | None = None) -> QueuePage:
    """Return a page of the queue: what is due within the hour first, then within eight, then the rest.

    Within each of these the riskier comes first, then the older. Up to three queries (one more to continue), each an
    index range; nothing is counted and nothing skipped over. `now` is ignored with `after`, whose moment keeps the
    order of one person's pages stable. Proposals that are no longer pending are listed by deadline, latest first.
    """
    at = after.at if after is not None else now
    anchor = Proposal.objects.filter(pk=after.proposal_id).first() if after is not None else None
    if after is not None and anchor is None:
        return QueuePage((), None)
    rows: list[Proposal] = []
    for part in _parts(filters, at, anchor):
        rows.extend(part[: PAGE + 1 - len(rows)])
        if len(rows) > PAGE:
            break
    shown = tuple(rows[:PAGE])
    return QueuePage(shown, Place(at, shown[-1].pk) if len(rows) > PAGE else None)


def next_after(proposal: Proposal, filters: Filters, *, now: datetime) -> Proposal | None:
    """Return the pending proposal that follows this one in the queue, or the first one; None when nothing waits."""
    for anchor in (proposal, None):
        for part in _parts(filters, now, anchor):
            if (found := part.exclude(pk=proposal.pk).first()) is not None:
                return found
    return None


def count_pending() -> Count:
    """Count the proposals that wait, up to 1,000."""
    found = Proposal.objects.filter(status=Status.PENDING).order_by()[: COUNTED + 1].count()
    return Count(min(found, COUNTED), found > COUNTED)


def find(proposal_id: UUID) -> Proposal | None:
    """Return a proposal of the open tenant with everything its card names. One query."""
    related = ("task_type", "requested_by", "decided_by", "run", "tenant")
    return Proposal.objects.select_related(*related).filter(pk=proposal_id).first()


def decision_on(proposal: Proposal) -> Decision | None:
    """Return the final decision on a proposal."""
    counted = Decision.objects.filter(proposal_id=proposal.pk, final=True, undone_at__isnull=True)
    return counted.select_related("user").first()


def last_decision() -> Decision | None:
    """Return the newest decision of the tenant."""
    counted = Decision.objects.filter(final=True, undone_at__isnull=True)
    return counted.select_related("user").order_by("-id").first()


def task_type_choices() -> list[tuple[str, str]]:
    """Return (slug, name) of every task type, by name."""
    return list(TaskType.objects.order_by("name", "pk").values_list("slug", "name"))


# --- order ----------------------------------------------------------------------------------------------------------


def _parts(filters: Filters, at: datetime, anchor: Proposal | None) -> Iterator[QuerySet[Proposal]]:
    """Yield the parts of the queue in order, each without what is not behind the anchor."""
    rows = _matching(filters)
    if filters.status != Status.PENDING:
        closed = rows.order_by("-decide_by", "-id")
        if anchor is not None:
            behind = Q(decide_by__lt=anchor.decide_by) | Q(decide_by=anchor.decide_by, id__lt=anchor.pk)
            closed = closed.filter(decide_by__lte=anchor.decide_by).filter(behind)
        yield closed
        return
    # A query for each: sorted by a computed urgency, thousands of urgent ones would all be read to show fifty.
    for since, until in ((None, at + SOON), (at + SOON, at + TODAY), (at + TODAY, None)):
        part = rows if since is None else rows.filter(decide_by__gte=since)
        part = part if until is None else part.filter(decide_by__lt=until)
        if anchor is not None:
            if until is not None and anchor.decide_by >= until:
                continue
            part = part.filter(band_rank__lte=anchor.band_rank).filter(_behind(anchor))
            anchor = None
        yield part.order_by("-band_rank", "created_at", "id")


def _behind(anchor: Proposal) -> Q:
    return (
        Q(band_rank__lt=anchor.band_rank)
        | Q(band_rank=anchor.band_rank, created_at__gt=anchor.created_at)
        | Q(band_rank=anchor.band_rank, created_at=anchor.created_at, id__gt=anchor.pk)
    )


def _matching(filters: Filters) -> QuerySet[Proposal]:
    rows = Proposal.objects.select_related("task_type").only(*_ROW).filter(status=filters.status)
    if filters.band:
        rows = rows.filter(risk_band=filters.band)
    if filters.tool:
        rows = rows.filter(tool=filters.tool)
    if filters.task_type:
        rows = rows.filter(task_type__slug=filters.task_type)
    if filters.tainted:
        rows = rows.filter(tainted=filters.tainted == "yes")
    return rows
