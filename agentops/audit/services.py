"""Append to a stream, and read it back. An event is written in the transaction of the change it tells about."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from agentops.audit.models import Event, Stream, genesis, link
from agentops.tenancy.access import Actor
from agentops.tenancy.scope import current_tenant_slug
from agentops.wire import JSON, JSONObject
from agentops.wire.canonical import canonical
from agentops.wire.parse import clean, clean_text

VERSION = 1
TENANT_STREAM = "tenant"


class StreamConflict(Exception):
    """Somebody else appended first: the stream is at `actual`, not at `expected`. Nothing was written."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"Stream {stream} is at event {actual}, not {expected}.")
        self.stream = stream
        self.expected = expected
        self.actual = actual


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One event to append. `subject` is (kind, id), like ("proposal", "0192..."); `tool` a contract name or empty.

    `at` (aware) is when it happened, where that was earlier than the append.
    """

    type: str
    data: JSONObject
    subject: tuple[str, str] | None = None
    tool: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event as it stands in the stream. `actor` has kind, id, name and roles; `hash` is the 32-byte chain hash."""

    seq: int
    type: str
    at: datetime
    actor: dict[str, Any]
    data: dict[str, Any]
    subject: tuple[str, str] | None
    hash: bytes
    tool: str = ""
    run_id: UUID | None = None


def append(
    stream: str,
    events: Sequence[NewEvent],
    *,
    actor: Actor,
    run_id: UUID | None = None,
    at: datetime | None = None,
    expected_seq: int | None = None,
) -> list[Recorded]:
    """Append events to one stream of the open tenant scope and return them as recorded.

    Must run inside `transaction.atomic()`, together with the change the events tell about: raises
    `TransactionManagementError` otherwise. The stream's row stays locked until that transaction ends, so sequence
    numbers have no gaps. `at` (aware) defaults to now and is kept in microseconds. `expected_seq` is the last event
    the caller has seen; when the stream has moved on, `StreamConflict` is raised before anything is written. Hostile
    text in names and data is replaced visibly (`wire.parse.clean`), never refused.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("Events are appended in the transaction of the change they tell about.")
    if not events:
        return []
    row, slug = _locked(stream, expected_seq)
    moment = (at or timezone.now()).astimezone(UTC)
    who = actor_json(actor)
    rows: list[Event] = []
    for seq, event in enumerate(events, start=row.seq + 1):
        when = event.at.astimezone(UTC) if event.at else moment
        envelope = _envelope(event, tenant=slug, stream=row.name, seq=seq, at=when, actor=who, run_id=run_id)
        body = canonical(envelope)
        row.head = link(bytes(row.head), body)
        rows.append(Event(stream=row, seq=seq, body=body, hash=row.head, **columns(envelope)))
    row.seq += len(rows)
    Event.objects.bulk_create(rows)
    Stream.objects.filter(pk=row.pk).update(seq=row.seq, head=row.head)
    return [read(written.body, bytes(written.hash)) for written in rows]


def load(stream: str, after: int = 0) -> list[Recorded]:
    """Return the events of a stream of the open tenant scope with a sequence number above `after`, oldest first."""
    rows = Event.objects.filter(stream__name=stream, seq__gt=after).order_by("seq").values_list("body", "hash")
    return [read(body, bytes(digest)) for body, digest in rows]


def record_in_tenant_stream(event: str, data: JSONObject, *, subject: tuple[str, str], actor: Actor) -> None:
    """Append one event to the stream of everything that is not part of a run (`tenancy.journal.Recorder`)."""
    append(TENANT_STREAM, [NewEvent(event, data, subject)], actor=actor)


def actor_json(actor: Actor) -> JSONObject:
    """Return the actor as it is written into an envelope."""
    return {
        "kind": actor.kind,
        "id": _short(actor.id, 64),
        "name": _short(actor.name, 150),
        "roles": list[JSON](sorted(actor.roles)),
    }


def columns(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return the column copies that belong to an envelope; the verifier compares them with the row."""
    subject = envelope["subject"] or {"kind": "", "id": ""}
    return {
        "type": envelope["type"],
        "at": datetime.fromisoformat(envelope["ts"]),
        "actor_kind": envelope["actor"]["kind"],
        "actor_id": envelope["actor"]["id"],
        "run_id": UUID(envelope["run"]) if envelope["run"] else None,
        "subject_kind": subject["kind"],
        "subject_id": subject["id"],
        "tool": envelope["tool"],
    }


def read(body: str, digest: bytes) -> Recorded:
    """Parse one stored envelope."""
    envelope = json.loads(body)
    subject, run = envelope["subject"], envelope["run"]
    return Recorded(
        seq=envelope["seq"],
        type=envelope["type"],
        at=datetime.fromisoformat(envelope["ts"]),
        actor=envelope["actor"],
        data=envelope["data"],
        subject=(subject["kind"], subject["id"]) if subject else None,
        hash=digest,
        tool=envelope["tool"],
        run_id=UUID(run) if run else None,
    )


def _locked(name: str, expected_seq: int | None) -> tuple[Stream, str]:
    slug = current_tenant_slug()
    row = Stream.objects.select_for_update().filter(name=name).first()
    if row is None and not expected_seq:
        # Two first writers may meet here; the second one's insert waits for the first and then does nothing.
        Stream.objects.bulk_create([Stream(name=name, head=genesis(slug, name))], ignore_conflicts=True)
        row = Stream.objects.select_for_update().get(name=name)
    actual = row.seq if row else 0
    if row is None or expected_seq not in (None, actual):
        raise StreamConflict(name, expected_seq or 0, actual)
    return row, slug


def _envelope(
    event: NewEvent, *, tenant: str, stream: str, seq: int, at: datetime, actor: JSONObject, run_id: UUID | None
) -> dict[str, Any]:
    subject = event.subject
    return {
        "v": VERSION,
        "tenant": tenant,
        "stream": stream,
        "seq": seq,
        "ts": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "type": _short(event.type, 64),
        "actor": actor,
        "subject": {"kind": _short(subject[0], 32), "id": _short(subject[1], 64)} if subject else None,
        "run": str(run_id) if run_id else None,
        "tool": _short(event.tool, 128),
        "data": clean(event.data),
    }


def _short(text: str, limit: int) -> str:
    """Keep names that came from outside (a model may call any tool) within their column, cut visibly."""
    cleaned = clean_text(text)
    return cleaned if len(cleaned) <= limit else f"{cleaned[: limit - 1]}…"
