"""What a change that two admins have to agree on keeps and guarantees. Abstract: each kind has its own table."""

from collections.abc import Sequence

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel
from agentops.wire.ids import uuid7


class ChangeStatus(models.TextChoices):
    """The life of a change of rules."""

    PROPOSED = "proposed", "Proposed"
    ACTIVE = "active", "In force"
    RETIRED = "retired", "Replaced"
    REFUSED = "refused", "Refused"
    WITHDRAWN = "withdrawn", "Withdrawn"


TOOK_EFFECT = (ChangeStatus.ACTIVE, ChangeStatus.RETIRED)


class Change(TenantModel):
    """One version of some rules: proposed by one admin, decided by another. Never edited and never deleted."""

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    version = models.PositiveIntegerField()
    body = models.JSONField()
    status = models.CharField(max_length=10, choices=ChangeStatus, default=ChangeStatus.PROPOSED)
    note = models.TextField(help_text="Why it is proposed.")
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    proposed_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_note = models.TextField(blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"version {self.version} ({self.status})"


def two_admins(prefix: str, *, alone: Q | None = None) -> Sequence[models.BaseConstraint]:
    """Return the constraints of every table of changes: nobody puts in force what they proposed themselves.

    `alone` is the condition of rows that one admin may put in force, because they only take something away.
    """
    by_somebody_else = Q(decided_by__isnull=False) & ~Q(decided_by=models.F("proposed_by"))
    allowed = by_somebody_else if alone is None else by_somebody_else | alone
    return (
        models.UniqueConstraint(fields=("tenant", "version"), name=f"{prefix}_version_once"),
        models.CheckConstraint(condition=Q(status__in=ChangeStatus.values), name=f"{prefix}_status_known"),
        models.CheckConstraint(
            condition=~Q(status__in=TOOK_EFFECT) | allowed, name=f"{prefix}_in_force_by_somebody_else"
        ),
        models.CheckConstraint(
            condition=Q(status=ChangeStatus.PROPOSED, decided_at__isnull=True)
            | (~Q(status=ChangeStatus.PROPOSED) & Q(decided_at__isnull=False)),
            name=f"{prefix}_decided_once",
        ),
    )


def one_waits(prefix: str) -> models.BaseConstraint:
    """Return the constraint of rules that are changed as a whole: one version waits at a time."""
    return models.UniqueConstraint(
        fields=("tenant",), condition=Q(status=ChangeStatus.PROPOSED), name=f"{prefix}_one_proposed"
    )


def one_in_force(prefix: str) -> models.BaseConstraint:
    """Return the constraint of rules of which one version is in force, from the moment it was decided on."""
    return models.UniqueConstraint(
        fields=("tenant",), condition=Q(status=ChangeStatus.ACTIVE), name=f"{prefix}_one_in_force"
    )
