"""Texts too long for an event, addressed by what they say."""

from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel


class Payload(TenantModel):
    """One text: canonical JSON, compressed with zlib. Rows are never changed: a trigger refuses it on both databases.

    `sha256` is that of the text in UTF-8, `size` its length in bytes.
    """

    tenant = TenantForeignKey(db_index=False)
    sha256 = models.CharField(max_length=64)
    body = models.BinaryField()
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "sha256"), name="payload_once"),
            models.CheckConstraint(condition=Q(size__gt=0), name="payload_not_empty"),
        )

    def __str__(self) -> str:
        return f"sha256:{self.sha256[:12]}"
