"""The append-only record: events, hash-chained per stream."""

import hashlib
from datetime import UTC, datetime

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.audit.packing import PackedTextField
from agentops.tenancy.scope import TenantForeignKey, TenantModel


def genesis(tenant_slug: str, stream: str) -> bytes:
    """Return the 32 bytes that stand before the first event of a stream."""
    return hashlib.sha256(f"agentops\n{tenant_slug}\n{stream}".encode()).digest()


def link(previous: bytes, body: str) -> bytes:
    """Return the hash of one event: SHA-256 over the previous hash and the UTF-8 canonical text."""
    return hashlib.sha256(previous + body.encode("utf-8")).digest()


def hour_of(at: datetime) -> datetime:
    """Return the first moment (UTC) of the hour that a moment lies in."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class Stream(TenantModel):
    """One chain of events: `run:<uuid>` for each run and `tenant` for everything else. Locked while appending."""

    tenant = TenantForeignKey(db_index=False)
    name = models.CharField(max_length=64)
    seq = models.BigIntegerField(default=0)
    head = models.BinaryField(max_length=32)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="stream_name_once"),
            models.CheckConstraint(name="stream_seq_not_negative", condition=Q(seq__gte=0)),
        ]

    def __str__(self) -> str:
        return self.name


class Event(TenantModel):
    """One thing that happened. `body` is the record; the other columns are copies of parts of it, for searching.

    The columns `subject_*` and `tool` are empty and `run_id` is null where the body has none. Rows are never changed or
    deleted: triggers refuse it on both databases.
    """

    tenant = TenantForeignKey(db_index=False)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="events", db_index=False)
    seq = models.BigIntegerField()
    type = models.CharField(max_length=64)
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=64)
    run_id = models.UUIDField(null=True)
    subject_kind = models.CharField(max_length=32, blank=True)
    subject_id = models.CharField(max_length=64, blank=True)
    tool = models.CharField(max_length=128, blank=True)
    body = PackedTextField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stream", "seq"], name="event_seq_once"),
            models.CheckConstraint(name="event_seq_positive", condition=Q(seq__gte=1)),
        ]
        # Every index costs on every step of every run, so each is as narrow as what people look for. By time there is
        # none: `Hour` says between which ids to look. On PostgreSQL the first one is the primary key (migration 0013).
        indexes = [
            models.Index(fields=["tenant", "id"], name="event_by_id"),
            models.Index(fields=["tenant", "type", "id"], name="event_by_type"),
            models.Index(
                fields=["tenant", "actor_kind", "actor_id", "id"],
                name="event_by_actor",
                condition=~Q(actor_kind="worker"),
            ),
            models.Index(fields=["tenant", "tool", "id"], name="event_by_tool", condition=~Q(tool="")),
            models.Index(
                fields=["tenant", "subject_kind", "subject_id", "id"],
                name="event_by_subject",
                condition=~Q(subject_kind__in=["", "run", "call", "step"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.seq}"


class RemovedSegment(TenantModel):
    """The beginning of a stream that retention has removed, and the one thing that lets its rows be deleted.

    Everything up to event `upto` is gone; `hash` is that of this event, so that what follows still has something to
    follow. `event_id` is the event in the stream `retention` that says the same and is chained itself. Of one stream
    the newest counts. Rows are never changed or deleted.
    """

    tenant = TenantForeignKey(db_index=False)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    upto = models.BigIntegerField()
    events = models.BigIntegerField(help_text="How many were removed with this one.")
    hash = models.BinaryField(max_length=32)
    newest_at = models.DateTimeField(help_text="When the newest of them happened.")
    removed_at = models.DateTimeField()
    event_id = models.BigIntegerField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "stream", "upto"), name="removed_segment_once"),
            models.CheckConstraint(condition=Q(events__gt=0), name="removed_segment_not_empty"),
        )

    def __str__(self) -> str:
        return f"up to {self.upto}"

    @property
    def hash_hex(self) -> str:
        """The hash, as people read it."""
        return bytes(self.hash).hex()


class EventTerm(TenantModel):
    """What an event is found by beyond its columns (`audit.terms`): an index made afterwards, not part of the record.

    Losing rows here loses nothing: `audit.indexing` makes them again from the events.
    """

    tenant = TenantForeignKey(db_index=False)
    term = models.CharField(max_length=120)
    event = models.ForeignKey(
        Event, on_delete=models.CASCADE, related_name="terms", db_index=False, db_constraint=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "term", "event"], name="event_term_once"),
        ]

    def __str__(self) -> str:
        return self.term


class Hour(TenantModel):
    """Between which row ids the events of one hour (UTC) lie: made afterwards with the terms, for finding by time."""

    tenant = TenantForeignKey(db_index=False)
    start = models.DateTimeField()
    first = models.BigIntegerField()
    last = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "start"], name="hour_once")]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:00}"


class Tail(TenantModel):
    """How far one reader of all events has come (`audit.tail`)."""

    reader = models.CharField(max_length=20)
    position = models.BigIntegerField(default=0, help_text="Every event up to this row id was read.")
    horizon = models.BigIntegerField(default=0, help_text="The newest row id when it was last looked.")
    seen_at = models.DateTimeField(null=True, help_text="When that was, by the clock of the database.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "reader"], name="tail_one_per_reader")]

    def __str__(self) -> str:
        return f"{self.reader} at {self.position}"


class Verification(TenantModel):
    """One walk over every chain of the tenant, done in pieces (`audit.verification`)."""

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.CharField(max_length=150, blank=True, help_text="Empty for the daily walk.")
    upto = models.BigIntegerField(help_text="The newest row id when it began; what came later is pending.")
    stream_from = models.BigIntegerField(default=0, help_text="The stream that comes next, by row id.")
    seq_from = models.BigIntegerField(default=1, help_text="The event of that stream that comes next.")
    streams = models.BigIntegerField(default=0)
    events = models.BigIntegerField(default=0)
    removed = models.BigIntegerField(default=0, help_text="Events that retention had removed.")
    broken = models.BigIntegerField(default=0)
    findings = models.JSONField(default=list, help_text="The first bad event of each broken stream, 100 at most.")

    class Meta:
        indexes = [models.Index(fields=["tenant", "-id"], name="verification_newest")]
        constraints = [
            models.UniqueConstraint(fields=["tenant"], condition=Q(ended_at=None), name="verification_one_at_a_time")
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}"


class Export(TenantModel):
    """Events written into a file for somebody, in pieces (`audit.exports`)."""

    class Format(models.TextChoices):
        """What the file is."""

        JSONL = "jsonl", "JSONL: canonical events, one a line"
        CSV = "csv", "CSV: for spreadsheets"

    format = models.CharField(max_length=5, choices=Format)
    filters = models.JSONField(default=dict, help_text="What was typed into the filters.")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requested_at = models.DateTimeField()
    upto = models.BigIntegerField(help_text="The newest row id when it was asked for.")
    position = models.BigIntegerField(default=0, help_text="The row id that was written last.")
    rows = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0, help_text="Bytes, as they will be downloaded.")
    cut = models.BooleanField(default=False, help_text="There were more; another export goes on from `position`.")
    ended_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["tenant", "-id"], name="export_newest")]
        constraints = [
            models.CheckConstraint(condition=Q(format__in=["jsonl", "csv"]), name="export_format_known"),
        ]

    def __str__(self) -> str:
        return f"{self.format} of {self.requested_at:%Y-%m-%d %H:%M}"


class ExportPiece(TenantModel):
    """A part of an exported file, compressed."""

    tenant = TenantForeignKey(db_index=False)
    export = models.ForeignKey(Export, on_delete=models.CASCADE, related_name="pieces", db_index=False)
    number = models.PositiveIntegerField()
    body = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="export_piece_once")]

    def __str__(self) -> str:
        return f"piece {self.number}"
