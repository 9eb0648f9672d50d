"""Append to a stream, and read it back. An event is written in the transaction of the change it tells about."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from agentops.audit.models import Event, Stream, genesis, link
from agentops.tenancy.access import Actor
from agentops.tenancy.prepared import Query
from agentops.tenancy.scope import current_tenant_slug
from agentops.wire import JSON, JSONObject
from agentops.wire.canonical import canonical
from agentops.wire.parse import clean, clean_text

VERSION = 1
PACKED = 2
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
class Packed:
    """Several events that are written as one row, because they happened in one step of one thing.

    The row is found by its headline: type, subject and tool are those of `events[headline]`.
    """

    events: tuple[NewEvent, ...]
    headline: int = 0


@dataclass(frozen=True, slots=True)
class Sealed:
    """One row to be written: the number of its last event, its canonical text, its hash and its searchable columns."""

    seq: int
    body: str
    hash: bytes
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event as it stands in the stream. `actor` has kind, id, name and roles.

    `hash` is the 32-byte chain hash of the row that holds it.
    """

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
    events: Sequence[NewEvent | Packed],
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
    moment = at or timezone.now()
    who = actor_json(actor)
    sealed = seal(
        events, tenant=slug, stream=row.name, seq=row.seq, head=bytes(row.head), actor=who, run_id=run_id, at=moment
    )
    Event.objects.bulk_create(
        [Event(stream=row, seq=one.seq, body=one.body, hash=one.hash, **one.columns) for one in sealed]
    )
    Stream.objects.filter(pk=row.pk).update(seq=sealed[-1].seq, head=sealed[-1].hash)
    return [event for one in sealed for event in read(one.body, one.hash)]


def seal(
    events: Sequence[NewEvent | Packed],
    *,
    tenant: str,
    stream: str,
    seq: int,
    head: bytes,
    actor: JSONObject,
    run_id: UUID | None,
    at: datetime,
) -> list[Sealed]:
    """Write the rows that follow event `seq` and hash `head` of a stream, without storing them.

    `tenant` is the slug, `actor` what `actor_json` returns, `at` (aware) the moment of events that have none.
    """
    sealed: list[Sealed] = []
    moment = at.astimezone(UTC)
    for one in events:
        packed = one if isinstance(one, Packed) else Packed((one,))
        seq += len(packed.events)
        envelope = _envelope(packed, tenant=tenant, stream=stream, seq=seq, at=moment, actor=actor, run_id=run_id)
        body = canonical(envelope)
        head = link(head, body)
        sealed.append(Sealed(seq, body, head, columns(envelope)))
    return sealed


def lock(stream: str) -> None:
    """Lock a stream of the open tenant scope until the transaction ends: whoever else appends or locks waits.

    For what has to be looked at and then written by one at a time. Must run inside `atomic`.
    """
    _locked(stream, None)


def load(stream: str, after: int = 0) -> list[Recorded]:
    """Return the events of a stream of the open tenant scope with a sequence number above `after`, oldest first."""
    rows = _AFTER(stream, after)
    return [event for body, digest in rows for event in read(body, bytes(digest)) if event.seq > after]


_AFTER: Final = Query(
    lambda stream, after: (
        Event.objects.filter(stream__name=stream, seq__gt=after).order_by("seq").values_list("body", "hash")
    )
)


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


def read(body: str, digest: bytes) -> tuple[Recorded, ...]:
    """Parse one stored row; return its events, oldest first."""
    envelope = json.loads(body)
    subject, run = envelope["subject"], envelope["run"]
    headline = Recorded(
        seq=envelope["seq"],
        type=envelope["type"],
        at=datetime.fromisoformat(envelope["ts"]),
        actor=envelope["actor"],
        data=envelope.get("data", {}),
        subject=(subject["kind"], subject["id"]) if subject else None,
        hash=digest,
        tool=envelope["tool"],
        run_id=UUID(run) if run else None,
    )
    packed = envelope.get("events")
    if packed is None:
        return (headline,)
    first = headline.seq - len(packed) + 1
    return tuple(_unpacked(headline, first + index, member) for index, member in enumerate(packed))


def headline(body: str, digest: bytes) -> Recorded:
    """Return the event of a stored row that the row is found by."""
    events = read(body, digest)
    return events[json.loads(body)["headline"]] if len(events) > 1 else events[0]


def first_seq(seq: int, body: str) -> int:
    """Return the number of the first event of a row, from the number of its last one and its text."""
    try:
        packed = json.loads(body).get("events") or [None]
        return seq - len(packed) + 1
    except (ValueError, AttributeError, TypeError, RecursionError):
        return seq


def _unpacked(headline: Recorded, seq: int, member: dict[str, Any]) -> Recorded:
    subject = member.get("subject", headline.subject)
    return replace(
        headline,
        seq=seq,
        type=member["type"],
        at=datetime.fromisoformat(member["ts"]) if "ts" in member else headline.at,
        data=member["data"],
        subject=tuple(subject) if subject else None,
        tool=member.get("tool", headline.tool),
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
    packed: Packed, *, tenant: str, stream: str, seq: int, at: datetime, actor: JSONObject, run_id: UUID | None
) -> dict[str, Any]:
    event = packed.events[packed.headline]
    written = _written(event, at)
    envelope: dict[str, Any] = {
        "v": VERSION,
        "tenant": tenant,
        "stream": stream,
        "seq": seq,
        "ts": written["ts"],
        "type": written["type"],
        "actor": actor,
        "subject": {"kind": written["subject"][0], "id": written["subject"][1]} if written["subject"] else None,
        "run": str(run_id) if run_id else None,
        "tool": written["tool"],
    }
    if len(packed.events) == 1:
        return {**envelope, "data": written["data"]}
    members = [written if one is event else _written(one, at) for one in packed.events]
    # What an event shares with the headline is written once.
    shared = ("ts", "subject", "tool")
    lean = [{k: v for k, v in one.items() if k not in shared or v != written[k]} for one in members]
    return {**envelope, "v": PACKED, "headline": packed.headline, "events": lean}


def _written(event: NewEvent, at: datetime) -> dict[str, Any]:
    when = event.at.astimezone(UTC) if event.at else at
    return {
        "ts": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "type": _short(event.type, 64),
        "subject": [_short(event.subject[0], 32), _short(event.subject[1], 64)] if event.subject else None,
        "tool": _short(event.tool, 128),
        "data": clean(event.data),
    }


def _short(text: str, limit: int) -> str:
    """Keep names that came from outside (a model may call any tool) within their column, cut visibly."""
    cleaned = clean_text(text)
    return cleaned if len(cleaned) <= limit else f"{cleaned[: limit - 1]}…"
