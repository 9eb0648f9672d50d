"""Long-term memory: statements that a run proposed and a curator let in; and the scratch area of a live run.

Task memory, a run's objective and artifacts, is read from the run's events. Nothing else is kept: chat and mail reach
these rows only as a proposed Fact that waits for a person, or as a note that dies with its run.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThan, LessThanOrEqual

from agentops.tenancy.scope import TenantModel

MAX_STATEMENT = 1_000
"""Characters."""

NOTE_KINDS = ("text", "number", "yes_no")


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


class SessionNote(TenantModel):
    """One named value in the scratch area of one live run (`memory.session`). Deleted when the run ends."""

    run = models.ForeignKey("runs.Run", on_delete=models.PROTECT, related_name="session_notes")
    name = models.CharField(max_length=40)
    kind = models.CharField(max_length=8)
    value = models.TextField(help_text="Canonical JSON.")
    size = models.PositiveIntegerField(help_text="Bytes of the value.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the value.")
    provenance = models.JSONField(help_text="Sources, integrity and readers of the value.")
    untrusted = models.BooleanField()
    source_call = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=64)
    written_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "run", "name"), name="session_note_one_per_name"),
            models.CheckConstraint(condition=Q(kind__in=NOTE_KINDS), name="session_note_kind_known"),
            models.CheckConstraint(condition=Q(size__gt=0), name="session_note_has_a_value"),
        )

    def __str__(self) -> str:
        return self.name
