"""The append-only record: events, hash-chained per stream."""

import hashlib

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


class Stream(TenantModel):
    """One chain of events: `run:<uuid>` for each run and `tenant` for everything else. Locked while appending."""

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
        # one more, of the kind each database has for rows that arrive in order (migration 0004).
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
