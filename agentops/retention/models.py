"""Periods, holds, and how far the removal has come."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from agentops.changes.models import Change, ChangeStatus, one_in_force, one_waits, two_admins
from agentops.tenancy.scope import TenantForeignKey, TenantModel
from agentops.wire.ids import uuid7


class Periods(Change):
    """One version of a tenant's periods: `body` is days by class. One that shortens nothing needs one admin."""

    shortens = models.BooleanField()

    class Meta:
        constraints = (
            *two_admins("periods", alone=Q(shortens=False)),
            one_waits("periods"),
            one_in_force("periods"),
        )


class HoldKind(models.TextChoices):
    """What a legal hold covers."""

    RUN = "run", "One run"
    PROPOSAL = "proposal", "One proposal, with its run"
    PERSON = "person", "Everything a person did or decided"
    PERIOD = "period", "A span of time"
    TENANT = "tenant", "Everything"


class Hold(TenantModel):
    """A legal hold: what it covers is never removed until two admins have lifted it. Never deleted (`guards`)."""

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=10, choices=HoldKind)
    run_id = models.UUIDField(null=True, blank=True)
    proposal_id = models.UUIDField(null=True, blank=True)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True, help_text="Not included.")
    matter = models.CharField(max_length=100, help_text="The reference of the matter.")
    reason = models.TextField()
    placed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    placed_at = models.DateTimeField()
    lift_asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    lift_asked_at = models.DateTimeField(null=True, blank=True)
    lift_reason = models.TextField(blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(kind="run", run_id__isnull=False)
                | Q(kind="proposal", run_id__isnull=False, proposal_id__isnull=False)
                | Q(kind="person", person__isnull=False)
                | Q(kind="period", since__isnull=False, until__gt=F("since"))
                | Q(kind="tenant"),
                name="hold_says_what",
            ),
            models.CheckConstraint(condition=~Q(matter="") & ~Q(reason=""), name="hold_says_why"),
            models.CheckConstraint(
                condition=Q(lift_asked_by__isnull=True, lift_asked_at__isnull=True)
                | Q(lift_asked_by__isnull=False, lift_asked_at__isnull=False),
                name="hold_lifting_asked",
            ),
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True, lifted_by__isnull=True)
                | (
                    Q(lifted_at__isnull=False, lifted_by__isnull=False, lift_asked_by__isnull=False)
                    & ~Q(lifted_by=F("lift_asked_by"))
                ),
                name="hold_lifted_by_two",
            ),
        )
        indexes = (
            models.Index(fields=("tenant", "-id"), condition=Q(lifted_at__isnull=True), name="hold_in_force"),
            models.Index(fields=("tenant", "-id"), name="hold_newest"),
        )

    def __str__(self) -> str:
        return f"{self.matter} ({self.kind})"


class Pass(TenantModel):
    """One pass of the removal over one class of records, done in pieces. Its row is locked while a piece is done."""

    tenant = TenantForeignKey(db_index=False)
    record_class = models.CharField(max_length=10)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    position = models.CharField(max_length=80, blank=True, help_text="Where the next piece begins.")
    removed = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0, help_text="Past their period, and kept by a hold.")
    refused = models.BigIntegerField(default=0, help_text="Past their period, and not let go by the database.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "record_class"), name="pass_one_per_class"),)

    def __str__(self) -> str:
        return f"{self.record_class}: {self.removed} removed"


class Door(TenantModel):
    """One row for each tenant: whoever removes, and whoever places a hold, locks it first and waits for the other."""

    tenant = TenantForeignKey(db_index=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant",), name="door_one_per_tenant"),)

    def __str__(self) -> str:
        return "door"


__all__ = ["ChangeStatus", "Door", "Hold", "HoldKind", "Pass", "Periods"]
