"""What the API remembers about requests: the run that a repeated request is about."""

from django.db import models

from agentops.tenancy.scope import TenantForeignKey, TenantModel


class IdempotencyKey(TenantModel):
    """One `Idempotency-Key` of one caller, with the request it was first sent with and the run that made.

    The row is written in the transaction of its run, so there is never one without the other. `run` is null only
    inside that transaction.
    """

    tenant = TenantForeignKey(db_index=False)
    actor = models.CharField(max_length=80, help_text="Kind and id of the caller, such as token:12.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and canonical body.")
    run = models.ForeignKey("runs.Run", null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "actor", "key"), name="idempotency_key_once"),)
        indexes = (models.Index(fields=("tenant", "expires_at"), name="idempotency_key_expiry"),)

    def __str__(self) -> str:
        return self.key
