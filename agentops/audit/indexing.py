"""Keep terms and hours of events up to date, behind those who write. Nothing here is part of the record."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from agentops.audit import tail
from agentops.audit.models import Event, EventTerm, Hour, hour_of
from agentops.audit.selectors import together
from agentops.audit.services import Recorded
from agentops.audit.terms import terms_of

READER: Final = "terms"
BATCH: Final = 1_000


def index_new(limit: int = BATCH) -> int:
    """Index the next events of the open tenant scope; return how many rows were read. Safe to repeat and to race."""
    return tail.follow(READER, _index, limit=limit)


def _index(rows: list[Event]) -> None:
    events: list[Recorded] = []
    owners: list[int] = []
    for row in rows:
        held = together(row)  # nothing of a text that somebody made unreadable; verifying says so
        events += held
        owners += [row.pk] * len(held)
    wanted = {(term, pk) for terms, pk in zip(terms_of(events), owners, strict=True) for term in terms}
    EventTerm.objects.bulk_create(
        [EventTerm(term=term, event_id=pk) for term, pk in sorted(wanted)], batch_size=2_000, ignore_conflicts=True
    )
    _add_hours(rows)


def _add_hours(rows: Sequence[Event]) -> None:
    # Readers of the terms take turns, so nobody else writes here.
    spans: dict[datetime, tuple[int, int]] = {}
    for row in rows:
        first, last = spans.get(start := hour_of(row.at), (row.pk, row.pk))
        spans[start] = min(first, row.pk), max(last, row.pk)
    for one in Hour.objects.filter(start__in=spans):
        first, last = spans[one.start]
        spans[one.start] = min(first, one.first), max(last, one.last)
    Hour.objects.bulk_create(
        [Hour(start=start, first=first, last=last) for start, (first, last) in sorted(spans.items())],
        update_conflicts=True,
        unique_fields=["tenant", "start"],
        update_fields=["first", "last"],
    )
