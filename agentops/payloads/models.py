"""Texts too long for an event, addressed by what they say."""

from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel


class Payload(TenantModel):
    """One text: canonical JSON, compressed with zlib. Triggers on both databases let nobody change or delete a row.

    `sha256` is that of the text in UTF-8, `size` its length in bytes. Retention alone removes one, when nothing has
    named it for its period; a `RemovedText` then stands in its place.
    """

    tenant = TenantForeignKey(db_index=False)
    sha256 = models.CharField(max_length=64)
    body = models.BinaryField()
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, help_text="When an event named it last; null where only the first did.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "sha256"), name="payload_once"),
            models.CheckConstraint(condition=Q(size__gt=0), name="payload_not_empty"),
        )
        indexes = (models.Index(fields=("tenant", "created_at", "id"), name="payload_by_age"),)

    def __str__(self) -> str:
        return f"sha256:{self.sha256[:12]}"


class PayloadUse(TenantModel):
    """A run has an event that names a text."""

    tenant = TenantForeignKey(db_index=False)
    sha256 = models.CharField(max_length=64)
    run_id = models.UUIDField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "sha256", "run_id"), name="payload_use_once"),)

    def __str__(self) -> str:
        return f"sha256:{self.sha256[:12]} in {self.run_id}"


class RemovedText(TenantModel):
    """What is left of a text that retention has removed, and the one thing that lets its row be deleted.

    `event_id` is the event in the stream `retention` that tells of it. Rows are never changed or deleted.
    """

    tenant = TenantForeignKey(db_index=False)
    sha256 = models.CharField(max_length=64)
    payload_id = models.BigIntegerField()
    size = models.PositiveBigIntegerField()
    stored_at = models.DateTimeField()
    removed_at = models.DateTimeField()
    event_id = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "payload_id"), name="removed_text_once"),)
        indexes = (models.Index(fields=("tenant", "sha256"), name="removed_text_by_hash"),)

    def __str__(self) -> str:
        return f"sha256:{self.sha256[:12]}"
