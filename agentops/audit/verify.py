"""Walk the hash chains and name the first event that is not what was written.

Detects altered, missing, reordered and truncated events of a stream whose row is still there, columns that differ from
the text they were copied from, and long texts beside an event that are gone or not what it names. Not covered: a whole
stream that was removed together with its row, and a chain that somebody with full access rebuilt from some event to the
end; both need an anchor outside of this database.
"""

import gc
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby, islice
from multiprocessing import get_context
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections
from django.db.models import Count, Max, Min

from agentops.audit import rows
from agentops.audit.glance import proven
from agentops.audit.models import Event, RemovedSegment, Stream, genesis, link
from agentops.audit.removals import STREAM, Removal, Texts, newest_removals
from agentops.audit.services import columns
from agentops.payloads.services import damage
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id, tenant_scope
from agentops.wire import WireError
from agentops.wire.canonical import is_canonical

_decode = json.JSONDecoder(parse_float=Decimal).decode
_TOGETHER = 500
"""Streams that are read by one statement, of"""
_EVENTS = 5_000
"""so many events that they list together."""
_MOST = 10_000
"""Rows that are read at once; where there are more than are listed, every stream is read by itself."""
_SPAN = 2_000
"""Streams that one process takes at a time."""


class _Chain(NamedTuple):
    """What a stream says of itself: the number and the hash of its last event."""

    pk: int
    name: str
    seq: int
    head: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bad event of a stream. `reason` is missing, altered, reordered, column, payload, head or unlisted.

    `event_id` is the row's id, None when the row is not there. `detail` is a sentence.
    """

    stream: str
    seq: int
    event_id: int | None
    reason: str
    detail: str

    def __str__(self) -> str:
        row = f" (id {self.event_id})" if self.event_id else ""
        return f"{self.stream} event {self.seq}{row}: {self.reason}. {self.detail}"


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What one walk found: how many events are proven from `start` on, and the first bad one if any."""

    stream: str
    start: int
    events: int
    finding: Finding | None
    removed: RemovedSegment | None = None

    @property
    def intact(self) -> bool:
        """Say whether every event walked is what was written."""
        return self.finding is None


@dataclass(frozen=True, slots=True)
class TenantReport:
    """The walk over all streams of a tenant; one finding at most for each stream.

    `removed` counts the events that retention has removed under an event of its own: not there, and not missing.
    """

    streams: int
    events: int
    findings: tuple[Finding, ...]
    removed: int = 0


def verify_tenant() -> TenantReport:
    """Verify every stream of the open tenant scope, in constant memory."""
    return _verify_between(0, None)


def verify_tenants(tenants: Sequence[Tenant], *, processes: int) -> Iterator[tuple[Tenant, TenantReport]]:
    """Verify every stream of these tenants, in their order, in so many processes. For commands, outside of any scope.

    Each process takes the next few streams, whosever they are, until there are none, so all are busy to the end. Where
    there are few altogether, this process walks them alone.
    """
    there = [_streams(tenant) for tenant in tenants] if processes > 1 else []
    if sum(count for count, _, _ in there) <= _SPAN:
        for tenant in tenants:
            with tenant_scope(tenant):
                yield tenant, verify_tenant()
        return
    spans = [_spans(tenant.pk, *found) for tenant, found in zip(tenants, there, strict=True)]
    # The children open connections of their own.
    connections.close_all()
    # Before the fork: what is there is left alone by the collections of the children, and stays shared with them.
    gc.collect()
    gc.freeze()
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("fork"), initializer=gc.disable) as pool:
            reports = pool.map(_verify_span, [one for more in spans for one in more])
            for tenant, more in zip(tenants, spans, strict=True):
                yield tenant, _sum(islice(reports, len(more)))
    finally:
        gc.unfreeze()


def verify_stream(stream: Stream | str, *, start: int = 1, stop: int | None = None) -> StreamReport:
    """Verify one stream of the open tenant scope; raise `Stream.DoesNotExist` for an unknown name.

    With `start` and `stop` only that range of sequence numbers (both included) is walked; the hash of the event
    before `start` is then taken as it stands. Events appended while this runs are walked or left out, never reported.
    """
    found = Stream.objects.get(name=stream) if isinstance(stream, str) else stream
    row = _Chain(found.pk, found.name, found.seq, found.head)
    walk = _Walk(row, _slug(), newest_removals([row.pk]).get(row.pk), Texts())
    # A row may hold several events: a walk begins and ends at the rows that hold the first and the last one.
    here = Event.objects.filter(stream_id=row.pk)
    earlier = here.filter(seq__lt=start).order_by("-seq").values_list("seq", "hash")
    before = earlier.first() if start > 1 else None
    if before is not None and before[0] > walk.seq:
        walk.seq, walk.hash = before[0], _stored(before[1])
        here = here.filter(seq__gt=walk.seq)
    if stop and stop <= walk.seq and walk.removed is not None:
        here = here.filter(seq__lte=walk.seq)
    elif stop:
        last = here.filter(seq__gte=stop).order_by("seq").values_list("seq", flat=True).first()
        here = here.filter(seq__lte=last) if last is not None else here
    finding = walk.run(rows.pages(here), stop)
    if finding and _removed_since(walk):
        return verify_stream(Stream.objects.get(pk=row.pk), start=start, stop=stop)
    return StreamReport(row.name, start, walk.proven, finding, walk.removed)


def _removed_since(walk: "_Walk") -> bool:
    """Say whether retention has been at the stream since the walk began: the rows are not what it looked for then."""
    newest = newest_removals([walk.row.pk]).get(walk.row.pk)
    return newest is not None and newest.segment != walk.removed


# --- many streams -----------------------------------------------------------------------------------------------------


def _streams(tenant: Tenant) -> tuple[int, int, int]:
    """Return how many streams a tenant has, and the first and the last id. One query."""
    with tenant_scope(tenant):
        found = Stream.objects.aggregate(count=Count("pk"), first=Min("pk"), last=Max("pk"))
    return found["count"], found["first"] or 0, found["last"] or 0


def _spans(tenant_id: int, count: int, first: int, last: int) -> list[tuple[int, int, int | None]]:
    """Cut a tenant's streams into spans: (tenant, first id, end), the end not included, None for open."""
    number = max(-(-count // _SPAN), 1)
    width = -(-(last + 1 - first) // number)
    cuts = [first + width * n for n in range(1, number)]
    return [(tenant_id, *span) for span in zip([0, *cuts], [*cuts, None], strict=True)]


def _verify_span(span: tuple[int, int, int | None]) -> TenantReport:
    tenant_id, first, end = span
    with tenant_scope(tenant_id):
        report = _verify_between(first, end)
    # The walk makes no rings, so there is little to find, and looking for it all the time would take a tenth of it.
    gc.collect()
    return report


def _verify_between(first: int, end: int | None) -> TenantReport:
    slug, reports = _slug(), []
    while batch := _together(first, end, _TOGETHER, _EVENTS):
        reports.append(_walk_all(batch, slug))
        first = batch[-1].pk + 1
    return _sum(reports)


def _sum(reports: Iterable[TenantReport]) -> TenantReport:
    streams, events, removed = 0, 0, 0
    findings: list[Finding] = []
    for one in reports:
        streams, events, removed = streams + one.streams, events + one.events, removed + one.removed
        findings += one.findings
    return TenantReport(streams, events, tuple(findings), removed)


def verify_some(first: int, streams: int, *, longest: int) -> tuple[TenantReport, int]:
    """Verify up to `streams` streams of the open tenant scope from row id `first` on, and return where to go on.

    It stops where these list more than `longest` events together, or more than one statement reads, but not before the
    first.
    """
    batch = _together(first, None, streams, min(longest, _EVENTS))
    return _walk_all(batch, _slug()), batch[-1].pk + 1 if batch else first


def _together(first: int, end: int | None, streams: int, events: int) -> list[_Chain]:
    """Return the next streams, as many as list so many events together, or one that alone lists more."""
    found = Stream.objects.filter(pk__gte=first).order_by("pk")
    batch: list[_Chain] = []
    for read in (found if end is None else found.filter(pk__lt=end)).values_list(*_Chain._fields)[:streams]:
        row = _Chain._make(read)
        events -= row.seq
        if batch and events < 0:
            break
        batch.append(row)
    return batch


def _walk_all(batch: list[_Chain], slug: str) -> TenantReport:
    removals = newest_removals([row.pk for row in batch])
    texts = Texts()
    events, removed, findings = 0, 0, []
    for stream, here in _rows_of(batch):
        walk = _Walk(stream, slug, removals.get(stream.pk), texts)
        finding = walk.run(here)
        proven, gone = walk.proven, walk.removed
        if finding and newest_removals([stream.pk]):
            # The rows were read before what is left of them: retention may have come in between.
            again = verify_stream(Stream.objects.get(pk=stream.pk))
            finding, proven, gone = again.finding, again.events, again.removed
        if finding:
            findings.append(finding)
        events += proven
        removed += gone.upto if gone is not None else 0
    return TenantReport(len(batch), events, tuple(findings), removed)


def _rows_of(batch: list[_Chain]) -> Iterator[tuple[_Chain, Iterator[rows.Raw]]]:
    """Yield streams with their rows, which have to be read before the next: of many streams by one statement."""
    if sum(row.seq for row in batch) <= _MOST // 2:
        read = rows.read(rows.of_streams([row.pk for row in batch])[: _MOST + 1])
        if len(read) <= _MOST:
            groups = {pk: list(more) for pk, more in groupby(read, itemgetter(rows.STREAM))}
            yield from ((row, iter(groups.get(row.pk, ()))) for row in batch)
            return
    yield from ((row, rows.pages(Event.objects.filter(stream_id=row.pk))) for row in batch)


def _slug() -> str:
    return Tenant.objects.values_list("slug", flat=True).get(pk=current_tenant_id())


# --- one stream -------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """What is read of a row that is looked at thoroughly."""

    pk: int
    stream_id: int
    seq: int
    type: str
    at: datetime
    actor_kind: str
    actor_id: str
    run_id: UUID | None
    subject_kind: str
    subject_id: str
    tool: str
    body: str
    hash: bytes


_COLUMNS = tuple(name for name in _Row._fields if name not in {"pk", "stream_id", "body", "hash"})


class _Walk:
    """A walk along one stream from event `seq` and its hash on: its beginning, or what retention has left of it."""

    def __init__(self, row: _Chain, slug: str, removal: Removal | None, texts: Texts) -> None:
        self.row = row
        self.slug = slug
        self.texts = texts
        self.proven = 0
        self.seq = 0
        self.hash = genesis(slug, row.name)
        self.removal = removal
        self.removed = removal.segment if removal is not None else None
        if self.removed is not None:
            self.seq, self.hash = self.removed.upto, _stored(self.removed.hash)

    def run(self, found: Iterator[rows.Raw], stop: int | None = None) -> Finding | None:
        # The stream was read before the events, so every event it lists is visible here.
        listed = min(self.row.seq, stop or self.row.seq)
        if self.row.seq == 0 and _stored(self.row.head) != self.hash:
            return self._finding(0, None, "head", "The stream is empty, but its head is not its beginning.")
        if self.removal is not None and (finding := self._removed(self.removal)):
            return finding
        slug, name = self.slug, self.row.name
        for raw in found:
            before = self.seq
            if proven(raw, slug, name, before, self.hash):
                self.seq, self.hash = raw[rows.SEQ], raw[rows.HASH]
            elif finding := self._thoroughly(raw):
                return finding
            if self.seq == self.row.seq and self.hash != _stored(self.row.head):
                return self._finding(
                    self.seq, raw[rows.PK], "head", "The stream's head is not the hash of its last event."
                )
            self.proven += self.seq - before
        if self.seq < listed:
            return self._finding(
                self.seq + 1, None, "missing", f"The stream lists {self.row.seq} events, the rows end at {self.seq}."
            )
        return self._unlisted()

    def _removed(self, removal: Removal) -> Finding | None:
        """Compare what was removed with the chained event that tells of it, and with the head of the stream."""
        removed = removal.segment
        if not removal.told or self.row.name == STREAM:
            return self._finding(
                1, None, "missing", f"The events up to {removed.upto} are gone, and no event of the record tells of it."
            )
        if removed.upto == self.row.seq and self.hash != _stored(self.row.head):
            return self._finding(self.seq, None, "head", "The stream's head is not the hash of its last event.")
        return None

    def _thoroughly(self, raw: rows.Raw) -> Finding | None:
        """Look at a row that was not proven at a glance, for what is wrong with it."""
        pk, seq = raw[rows.PK], raw[rows.SEQ]
        if rows.moment(raw[rows.AT]) is None:
            return self._finding(seq, pk, "column", "The row and its text differ in: at.")
        found = Event.objects.filter(pk=pk).values_list(*_Row._fields).first()
        if found is None:
            return self._finding(self.seq + 1, None, "missing", f"Event {seq} was removed while it was looked at.")
        row = _Row._make(found)
        if self.removed is not None and row.seq <= self.removed.upto:
            return self._finding(row.seq, row.pk, "unlisted", "Retention has removed this event, but a row is here.")
        envelope = _parse(row.body)
        expected, first = self.seq + 1, row.seq - _held(envelope) + 1
        linked = link(self.hash, row.body) == _stored(row.hash)
        if first != expected and not linked and envelope is not None:
            return self._finding(expected, None, "missing", f"The next row is event {first}.")
        if not linked:
            return self._broken(row, envelope)
        if difference := "seq" if first != expected else self._difference(row, envelope):
            return self._finding(expected, row.pk, "column", f"The row and its text differ in: {difference}.")
        if lost := damage(row.body, lambda removed: self.texts.tells(removed, row.at)):
            return self._finding(expected, row.pk, "payload", lost)
        self.seq, self.hash = row.seq, _stored(row.hash)
        return None

    def _broken(self, row: _Row, envelope: dict[str, Any] | None) -> Finding:
        seq = envelope.get("seq") if envelope else None
        if isinstance(seq, int) and seq != row.seq:
            return self._finding(row.seq, row.pk, "reordered", f"The text here was written as event {seq}.")
        return self._finding(
            row.seq, row.pk, "altered", "Text, hash or the event before are not what was written together."
        )

    def _difference(self, row: _Row, envelope: dict[str, Any] | None) -> str:
        """Return the names of columns that are not what the text says, or an empty text."""
        if envelope is None:
            return "body"
        try:
            copies = columns(envelope) | {"seq": envelope["seq"]}
            strange = [
                name for name, value in (("tenant", self.slug), ("stream", self.row.name)) if envelope[name] != value
            ]
            exact = is_canonical(envelope, row.body)
        except (KeyError, TypeError, ValueError, WireError):
            return "body"
        names = [name for name in _COLUMNS if copies[name] != getattr(row, name)]
        return ", ".join([*([] if exact else ["body"]), *names, *strange])

    def _unlisted(self) -> Finding | None:
        """Look for rows beyond what the stream lists by now."""
        if self.seq <= self.row.seq:
            return None
        listed = Stream.objects.values_list("seq", flat=True).get(pk=self.row.pk)
        if self.seq <= listed:
            return None
        extra = Event.objects.filter(stream_id=self.row.pk, seq=listed + 1).values_list("pk", flat=True).first()
        return self._finding(listed + 1, extra, "unlisted", f"The stream lists only {listed} events.")

    def _finding(self, seq: int, event_id: int | None, reason: str, detail: str) -> Finding:
        return Finding(self.row.name, seq, event_id, reason, detail)


def _stored(digest: object) -> bytes:
    """Return a hash as it is stored; nothing where something else is, which SQLite would let stand there."""
    return bytes(digest) if isinstance(digest, bytes | memoryview) else b""


def _held(envelope: dict[str, Any] | None) -> int:
    """Return how many events a row holds."""
    packed = envelope.get("events") if envelope else None
    return len(packed) if isinstance(packed, list) and packed else 1


def _parse(body: str) -> dict[str, Any] | None:
    try:
        value = _decode(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
