"""What a tenant's people agreed on: weights of risk, policy, friction."""

from django.db import models
from django.db.models import Q

from agentops.changes.models import Change, ChangeStatus, one_in_force, one_waits, two_admins
from agentops.tenancy.scope import TenantModel
from approvals.models.proposals import BANDS


class RiskWeights(Change):
    """One version of what a tenant weighs (`approvals.assessing.weights`): proposed by one admin, decided by another.

    Versions are never changed and never deleted: a proposal names the one that it was assessed with.
    """

    body = models.JSONField(help_text="Weights in per cent, thresholds, working hours.")

    class Meta:
        verbose_name_plural = "risk weights"
        constraints = (*two_admins("weights"), one_waits("weights"), one_in_force("weights"))


class PolicyVersion(Change):
    """One version of a tenant's policy (`approvals.gating.policy`): proposed by one admin, published by another.

    Of the published ones, the highest version whose moment has come is in force (`approvals.permits.policies`).
    """

    body = models.JSONField(help_text="The rules, in the words of the file.")
    effective_at = models.DateTimeField(help_text="From when it counts; never before it was published.")

    class Meta:
        constraints = (*two_admins("policy"), one_waits("policy"))
        indexes = (
            models.Index(
                fields=("tenant", "-version"),
                condition=Q(status__in=(ChangeStatus.ACTIVE, ChangeStatus.RETIRED)),
                name="policy_published",
            ),
        )


class StepUp(models.TextChoices):
    """When somebody has to say again who they are."""

    NEVER = "never", "Never"
    RECENT = "recent", "When they last did more than 30 minutes ago"
    ALWAYS = "always", "For every decision"
    FACTOR = "factor", "For every decision, with a passkey or a code"


class BandRule(TenantModel):
    """What a tenant changes about the friction of a band (`approvals.assessing.ladder`). Empty keeps the default.

    Only the release delay may be shorter than the default; everything else only gets stricter.
    """

    band = models.CharField(max_length=10, choices=BANDS)
    release_s = models.PositiveSmallIntegerField(
        "release delay", null=True, blank=True, help_text="Seconds in which an approval can be taken back, 0 to 900."
    )
    reading_s = models.PositiveSmallIntegerField(
        "reading window", null=True, blank=True, help_text="Seconds from opening the card to the earliest approval."
    )
    rationale_chars = models.PositiveSmallIntegerField(
        "reason", null=True, blank=True, help_text="Characters of a reason that an approval needs."
    )
    attestations = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="How many values have to be picked out of near misses."
    )
    approvers = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="How many people have to approve; none of them sees what the others said."
    )
    step_up = models.CharField("sign in again", max_length=10, choices=StepUp, blank=True)

    class Meta:
        verbose_name = "friction of a band"
        verbose_name_plural = "friction of bands"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "band"), name="bandrule_once"),
            models.CheckConstraint(
                condition=Q(release_s__isnull=True) | Q(release_s__lte=900), name="bandrule_release_bounded"
            ),
        )

    def __str__(self) -> str:
        return f"Friction of {self.get_band_display()}"
