"""What people said about a proposal, what they looked at before, and what else they did about it."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel
from agentops.wire.ids import uuid7
from approvals.models.proposals import Proposal


class Verdict(models.TextChoices):
    """What a person can say about a proposal. An edit approves what the person changed it to."""

    APPROVE = "approve", "Approved"
    EDIT = "edit", "Edited and approved"
    REJECT = "reject", "Rejected"


class RejectReason(models.TextChoices):
    """Why a person says no; the agent is told the label and the note."""

    WRONG_TARGET = "wrong_target", "Wrong target"
    WRONG_AMOUNT = "wrong_amount", "Wrong amount"
    NOT_PERMITTED = "not_permitted", "Not permitted"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence", "Not enough evidence"
    SUSPECTED_INJECTION = "suspected_injection", "Suspected injection"
    DUPLICATE = "duplicate", "Duplicate"
    WRONG_TIME = "wrong_time", "Wrong time"
    WRONG_TOOL = "wrong_tool", "Wrong tool"
    EXPOSES_DATA = "exposes_data", "Exposes data"
    OTHER = "other", "Other"


class RejectScope(models.TextChoices):
    """How far a rejection reaches (`engine.refusals`)."""

    CALL = "call", "This call only: the plan goes on without it"
    STEP = "step", "This step: the agent plans again"
    RUN = "run", "The run: it ends here"


class Decision(TenantModel):
    """One person's verdict on one version of a proposal, by the digest of what they saw.

    `final` is the one that closed the proposal; where several people have to approve, the earlier ones are not. One
    that was taken back stays, with the moment.
    """

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="decisions", db_index=False)
    version = models.PositiveIntegerField()
    verdict = models.CharField(max_length=10, choices=Verdict)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    reason_code = models.CharField(max_length=40, choices=RejectReason, blank=True)
    scope = models.CharField(
        max_length=4,
        choices=RejectScope,
        blank=True,
        default="",
        db_default="",
        help_text="How far a rejection reaches.",
    )
    retry = models.BooleanField(
        null=True, blank=True, help_text="Whether the agent may try again in another way, after a rejection."
    )
    note = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    patch = models.JSONField(default=list, help_text="JSON Patch (RFC 6902) from the agent's arguments to these.")
    at = models.DateTimeField()
    final = models.BooleanField(default=True, db_default=True)
    view = models.UUIDField(null=True, blank=True, help_text="The card it was given on; each card serves once.")
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("proposal",), condition=Q(final=True, undone_at__isnull=True), name="decision_once"
            ),
            models.UniqueConstraint(
                fields=("proposal", "version", "user"),
                condition=Q(undone_at__isnull=True),
                name="decision_once_each",
            ),
            models.UniqueConstraint(fields=("proposal", "view"), name="decision_one_per_card"),
            models.CheckConstraint(condition=Q(verdict__in=Verdict.values), name="decision_verdict_known"),
            models.CheckConstraint(
                condition=Q(verdict=Verdict.REJECT, reason_code__in=RejectReason.values)
                | (~Q(verdict=Verdict.REJECT) & Q(reason_code="")),
                name="decision_reason_iff_rejected",
            ),
            models.CheckConstraint(
                condition=Q(verdict=Verdict.REJECT, scope__in=RejectScope.values, retry__isnull=False)
                | Q(scope="", retry__isnull=True),
                name="decision_scope_only_rejected",
            ),
        )
        indexes = (models.Index(fields=("tenant", "user", "-at"), name="decision_by_person"),)

    def __str__(self) -> str:
        return f"{self.get_verdict_display()} ({self.proposal_id})"


class Viewing(TenantModel):
    """Which sections of one card, as it was served to one person, that person has opened: name -> when (RFC 3339).

    Needed until the verdict, whose event keeps it. PostgreSQL keeps no log of this table: after the server has crashed
    it is empty, and whoever had opened sections opens them again.
    """

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="viewings", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    version = models.PositiveIntegerField()
    opened = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.user_id} on {self.proposal_id}"


class Reading(TenantModel):
    """Somebody has looked at a version of a proposal, for the first time at `at`.

    The audit trail is told by the sweeper (`approvals.cards.readings`), at `recorded_at`.
    """

    tenant = TenantForeignKey(db_index=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="readings", db_index=False)
    version = models.PositiveIntegerField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("proposal", "version", "user"), name="reading_once"),)
        indexes = (
            models.Index(fields=("tenant", "id"), condition=Q(recorded_at__isnull=True), name="reading_to_record"),
        )

    def __str__(self) -> str:
        return f"{self.user_id} read version {self.version} of {self.proposal_id}"


class Handling(TenantModel):
    """What was done about an open proposal without deciding it. `user` is empty for what the ladder did by itself."""

    class Kind(models.TextChoices):
        """What it was."""

        ESCALATE = "escalate", "Escalated"
        EXTEND = "extend", "Deadline extended"
        EDIT = "edit", "Edited"
        REMIND = "remind", "Reminded"

    tenant = TenantForeignKey(db_index=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="handlings")
    kind = models.CharField(max_length=10, choices=Kind)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    version = models.PositiveIntegerField()
    at = models.DateTimeField()
    reason = models.TextField(blank=True)
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=("tenant", "kind", "-at"), name="handling_by_kind"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=("escalate", "extend", "edit", "remind")),
                name="handling_kind_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.proposal_id})"
