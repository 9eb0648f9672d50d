"""What the API remembers about requests: the answers that a repeated request gets again."""

from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel


class IdempotencyKey(TenantModel):
    """One `Idempotency-Key` of one caller, with the request it was first sent with and the answer it got.

    The row is written in the transaction of the run it stands for, so there is never a run without its answer or an
    answer without its run. `status` and `run` are null only inside that transaction.
    """

    tenant = TenantForeignKey(db_index=False)
    actor = models.CharField(max_length=80, help_text="Kind and id of the caller, such as token:12.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and canonical body.")
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(blank=True, help_text="Canonical JSON of the answer.")
    run = models.ForeignKey("runs.Run", null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "actor", "key"), name="idempotency_key_once"),
            models.CheckConstraint(
                condition=Q(status__isnull=True, run__isnull=True, body="")
                | Q(status__isnull=False, run__isnull=False),
                name="idempotency_key_answered",
            ),
        )
        indexes = (models.Index(fields=("tenant", "expires_at"), name="idempotency_key_expiry"),)

    def __str__(self) -> str:
        return self.key
