"""Rows of webhooks: where messages go, and the outbox."""

from datetime import datetime

from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel


class Kind(models.TextChoices):
    """What a message tells of, as its `type` says it."""

    AWAITING_APPROVAL = "run.awaiting_approval", "A run waits for an approval"
    AWAITING_RECONCILIATION = "run.awaiting_reconciliation", "A run waits for somebody to say what became of a call"
    SUCCEEDED = "run.succeeded", "A run succeeded"
    FAILED = "run.failed", "A run failed"
    CANCELLED = "run.cancelled", "A run was cancelled"
    ALARM = "alarm.raised", "An alarm was raised"


TEST = "webhook.test"
"""The type of a message that somebody sent to see it arrive."""


MOST_SECRETS = 4
"""How many secrets sign one message, however often somebody rotates them."""


class Endpoint(TenantModel):
    """An address that messages are posted to, signed as Standard Webhooks say.

    Of the record it hears what comes after the event `from_event`. After failures in a row nothing is tried before
    `resting_until`.
    """

    name = models.CharField(max_length=80)
    url = models.CharField(max_length=500, help_text="https:// and a public address; redirects are not followed.")
    kinds = models.JSONField(default=list)
    task_type = models.CharField(max_length=64, blank=True, help_text="The only kind of task it hears of, or empty.")
    enabled = models.BooleanField(default=True)
    disabled_why = models.CharField(max_length=200, blank=True)
    secret_version = models.PositiveIntegerField(default=1)
    former_version = models.PositiveIntegerField(default=0, help_text="The oldest that signs until `former_until`.")
    former_until = models.DateTimeField(null=True)
    from_event = models.BigIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    resting_until = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "name"), name="webhook_name_once"),)

    def __str__(self) -> str:
        return self.name

    @property
    def hears_runs(self) -> bool:
        """Whether the record is read for it."""
        return self.enabled and any(kind.startswith("run.") for kind in self.kinds)

    def versions(self, now: datetime) -> tuple[int, ...]:
        """Return the versions of the secret that sign at this moment, newest first."""
        overlap = self.former_until is not None and now < self.former_until
        oldest = max(self.former_version, self.secret_version - MOST_SECRETS + 1) if overlap else self.secret_version
        return tuple(range(self.secret_version, oldest - 1, -1))


class MessageState(models.TextChoices):
    """The life of a message."""

    WAITING = "waiting", "Waiting"
    SENT = "sent", "Sent"
    GIVEN_UP = "given_up", "Given up"


class Message(TenantModel):
    """One message to one endpoint. `name` is its `webhook-id`, the same in every try.

    `turn` changes whenever somebody takes it to send it, so that of two who tell what became of it the late one is
    known.
    """

    tenant = TenantForeignKey(db_index=False)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="messages", db_index=False)
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=32)
    at = models.DateTimeField(help_text="When what it tells of happened.")
    body = models.JSONField()
    state = models.CharField(max_length=8, choices=MessageState, default=MessageState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    turn = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    until = models.DateTimeField(help_text="When it is given up.")
    ended_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("endpoint", "name"), name="message_once"),
            models.CheckConstraint(condition=Q(state__in=MessageState.values), name="message_state_known"),
            models.CheckConstraint(
                condition=Q(state="waiting", ended_at__isnull=True) | ~Q(state="waiting") & Q(ended_at__isnull=False),
                name="message_end_says_when",
            ),
        )
        indexes = (
            models.Index(
                fields=("tenant", "endpoint", "next_at", "id"), condition=Q(state="waiting"), name="message_waiting"
            ),
            models.Index(fields=("tenant", "ended_at"), condition=Q(ended_at__isnull=False), name="message_ended"),
            models.Index(fields=("tenant", "endpoint", "-id"), name="message_newest"),
            models.Index(fields=("tenant", "name"), name="message_by_name"),
        )

    def __str__(self) -> str:
        return f"{self.name} to {self.endpoint_id}"
