"""Long-term memory: statements that a run proposed and a curator let in.

Session memory dies with its run and has no rows. Task memory, a run's objective and artifacts, is read from the run's
events. Nothing else is kept: chat and mail reach these rows only as a proposed Fact that waits for a person.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThan, LessThanOrEqual

from agentops.tenancy.scope import TenantModel

MAX_STATEMENT = 1_000
"""Characters."""


class FactStatus(models.TextChoices):
    """The life of a fact. Only approved facts are recalled; rejected, revoked and expired are final."""

    PROPOSED = "proposed", "Waiting for a curator"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    REVOKED = "revoked", "Revoked"
    EXPIRED = "expired", "Expired"


OPEN = (FactStatus.PROPOSED, FactStatus.APPROVED)
_CURATED = (FactStatus.APPROVED, FactStatus.REJECTED, FactStatus.REVOKED)


class Fact(TenantModel):
    """One statement. `source_run` and `source_seq` name the recorded event that holds it as the run wrote it.

    `untrusted` says that an attacker may have written (parts of) it; it stays set whoever edits or approves it.
    `words` is what the full-text index of either database covers (see `words.words`).
    """

    task_type = models.ForeignKey(
        "runs.TaskType",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Recalled by runs of this type only; empty means by every run of the tenant.",
    )
    statement = models.CharField(max_length=MAX_STATEMENT)
    original_statement = models.CharField(
        max_length=MAX_STATEMENT, blank=True, help_text="What the run proposed, when a curator has changed it."
    )
    words = models.TextField(editable=False)
    digest = models.CharField(max_length=64, help_text="SHA-256 of statement and scope.")
    source_run = models.ForeignKey("runs.Run", on_delete=models.PROTECT, related_name="+")
    source_seq = models.PositiveBigIntegerField()
    source_call = models.CharField(max_length=64)
    author = models.CharField(max_length=128, help_text="The planner whose plan proposed it.")
    provenance = models.JSONField(help_text="Sources, integrity and readers of the statement.")
    untrusted = models.BooleanField()
    idempotency_key = models.CharField(max_length=64)
    status = models.CharField(max_length=10, choices=FactStatus, default=FactStatus.PROPOSED)
    proposed_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    curated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    curated_at = models.DateTimeField(null=True, blank=True)
    curator_note = models.CharField(max_length=1_000, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "idempotency_key"), name="fact_once_per_call"),
            models.UniqueConstraint(
                fields=("tenant", "digest"), condition=Q(status__in=OPEN), name="fact_one_open_per_statement"
            ),
            models.CheckConstraint(condition=Q(status__in=FactStatus.values), name="fact_status_known"),
            models.CheckConstraint(
                condition=Q(GreaterThan(Length("statement"), 0))
                & Q(LessThanOrEqual(Length("statement"), MAX_STATEMENT)),
                name="fact_statement_bounded",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("proposed_at")), name="fact_expires_after_it_began"),
            models.CheckConstraint(
                condition=Q(status=FactStatus.PROPOSED, curated_by__isnull=True, curated_at__isnull=True)
                | Q(status__in=_CURATED, curated_by__isnull=False, curated_at__isnull=False)
                | Q(status=FactStatus.EXPIRED),
                name="fact_curated_by_somebody",
            ),
        )
        indexes = (
            models.Index(fields=("tenant", "status", "-id"), name="fact_list"),
            models.Index(fields=("tenant", "status", "expires_at"), name="fact_expiry"),
        )

    def __str__(self) -> str:
        return f"Fact {self.pk} ({self.status})"


class Descent(TenantModel):
    """A fact was proposed by a run that had recalled another one: when the ancestor is revoked, so is the fact."""

    fact = models.ForeignKey(Fact, on_delete=models.PROTECT, related_name="+")
    ancestor = models.ForeignKey(Fact, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("fact", "ancestor"), name="descent_once"),
            models.CheckConstraint(condition=~Q(fact=F("ancestor")), name="descent_from_another"),
        )

    def __str__(self) -> str:
        return f"{self.fact_id} from {self.ancestor_id}"
