"""Walk the hash chains and name the first event that is not what was written.

Detects altered, missing, reordered and truncated events of a stream whose row is still there, columns that differ from
the text they were copied from, and long texts beside an event that are gone or not what it names. Not covered: a whole
stream that was removed together with its row, and a chain that somebody with full access rebuilt from some event to the
end; both need an anchor outside of this database.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentops.audit.models import Event, Stream, genesis, link
from agentops.audit.services import columns, first_seq
from agentops.payloads.services import damage
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id
from agentops.wire import WireError
from agentops.wire.canonical import canonical

_CHUNK = 500


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

    @property
    def intact(self) -> bool:
        """Say whether every event walked is what was written."""
        return self.finding is None


@dataclass(frozen=True, slots=True)
class TenantReport:
    """The walk over all streams of a tenant; one finding at most for each stream."""

    streams: int
    events: int
    findings: tuple[Finding, ...]


def verify_tenant() -> TenantReport:
    """Verify every stream of the open tenant scope, one after the other, in constant memory."""
    streams = events = 0
    findings: list[Finding] = []
    for stream in Stream.objects.order_by("pk").iterator(_CHUNK):
        report = verify_stream(stream)
        streams += 1
        events += report.events
        if report.finding:
            findings.append(report.finding)
    return TenantReport(streams, events, tuple(findings))


def verify_stream(stream: Stream | str, *, start: int = 1, stop: int | None = None) -> StreamReport:
    """Verify one stream of the open tenant scope; raise `Stream.DoesNotExist` for an unknown name.

    With `start` and `stop` only that range of sequence numbers (both included) is walked; the hash of the event
    before `start` is then taken as it stands. Events appended while this runs are walked or left out, never reported.
    """
    row = Stream.objects.get(name=stream) if isinstance(stream, str) else stream
    slug = Tenant.objects.values_list("slug", flat=True).get(pk=current_tenant_id())
    walk = _Walk(row, slug, start, stop)
    finding = walk.run()
    return StreamReport(row.name, start, walk.proven, finding)


class _Walk:
    def __init__(self, row: Stream, slug: str, start: int, stop: int | None) -> None:
        self.row = row
        self.slug = slug
        self.start = start
        self.stop = stop
        self.proven = 0
        self.seq = start - 1
        self.hash = genesis(slug, row.name)

    def run(self) -> Finding | None:
        rows = Event.objects.filter(stream_id=self.row.pk)
        # A row may hold several events: a walk begins and ends at the rows that hold the first and the last one.
        self.seq = 0
        before = rows.filter(seq__lt=self.start).order_by("-seq").first() if self.start > 1 else None
        if before is not None:
            self.seq, self.hash = before.seq, bytes(before.hash)
        # The row was read before the events, so every event it lists is visible here.
        listed = min(self.row.seq, self.stop or self.row.seq)
        rows = rows.filter(seq__gt=self.seq)
        if self.stop:
            last = rows.filter(seq__gte=self.stop).order_by("seq").values_list("seq", flat=True).first()
            rows = rows.filter(seq__lte=last) if last is not None else rows
        if finding := self._events(rows.order_by("seq").iterator(_CHUNK)):
            return finding
        if self.seq < listed:
            return self._finding(
                self.seq + 1, None, "missing", f"The stream lists {self.row.seq} events, the rows end at {self.seq}."
            )
        return self._unlisted()

    def _events(self, events: Iterator[Event]) -> Finding | None:
        if self.row.seq == 0 and bytes(self.row.head) != self.hash:
            return self._finding(0, None, "head", "The stream is empty, but its head is not its beginning.")
        for event in events:
            if finding := self._event(event):
                return finding
            self.proven += event.seq - first_seq(event.seq, event.body) + 1
        return None

    def _event(self, event: Event) -> Finding | None:
        expected, first = self.seq + 1, first_seq(event.seq, event.body)
        linked = link(self.hash, event.body) == bytes(event.hash)
        if first != expected and not linked:
            return self._finding(expected, None, "missing", f"The next row is event {first}.")
        if not linked:
            return self._broken(event)
        if difference := "seq" if first != expected else self._difference(event):
            return self._finding(expected, event.pk, "column", f"The row and its text differ in: {difference}.")
        if lost := damage(event.body):
            return self._finding(expected, event.pk, "payload", lost)
        self.seq, self.hash = event.seq, bytes(event.hash)
        if self.seq == self.row.seq and self.hash != bytes(self.row.head):
            return self._finding(self.seq, event.pk, "head", "The stream's head is not the hash of its last event.")
        return None

    def _broken(self, event: Event) -> Finding:
        written = _parse(event.body)
        seq = written.get("seq") if written else None
        if isinstance(seq, int) and seq != event.seq:
            return self._finding(event.seq, event.pk, "reordered", f"The text here was written as event {seq}.")
        return self._finding(
            event.seq, event.pk, "altered", "Text, hash or the event before are not what was written together."
        )

    def _difference(self, event: Event) -> str:
        """Return the names of columns that are not what the text says, or an empty text."""
        envelope = _parse(event.body)
        if envelope is None:
            return "body"
        try:
            copies = columns(envelope) | {name: envelope[name] for name in ("tenant", "stream", "seq")}
            exact = canonical(envelope) == event.body
        except (KeyError, TypeError, ValueError, WireError):
            return "body"
        actual = {name: getattr(event, name) for name in copies if name not in {"tenant", "stream"}}
        actual |= {"tenant": self.slug, "stream": self.row.name}
        names = [name for name, value in copies.items() if actual[name] != value]
        return ", ".join(names if exact else ["body", *names])

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


def _parse(body: str) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
