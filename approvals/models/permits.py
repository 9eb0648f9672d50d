"""What allows a call: once, at a rate, or for a while."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel
from agentops.wire.ids import uuid7
from approvals.models.proposals import Proposal


class GrantSource(models.TextChoices):
    """Who gave the permission."""

    POLICY = "policy", "Policy"
    PROPOSAL = "proposal", "A person"


class Grant(TenantModel):
    """The permission to execute exactly one digest for one call, once."""

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey("runs.Run", on_delete=models.PROTECT, related_name="grants", db_index=False)
    call_id = models.CharField(max_length=64)
    proposal = models.OneToOneField(Proposal, null=True, blank=True, on_delete=models.PROTECT, related_name="grant")
    source = models.CharField(max_length=10, choices=GrantSource)
    tool = models.CharField(max_length=100)
    contract_version = models.CharField(max_length=32)
    contract_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    not_before = models.DateTimeField(null=True, blank=True, help_text="Its decision can be taken back until then.")
    policy_version = models.PositiveIntegerField(
        default=0, db_default=0, help_text="The version of the policy that let it be; 0 where there was none."
    )
    policy_rule = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="The rule, or the scoped trust, behind it."
    )
    consumed_at = models.DateTimeField(null=True, blank=True)
    thawed_to = models.DateTimeField(
        null=True, blank=True, help_text="Stops and pauses up to this moment have moved `expires_at` already."
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "run", "call_id"), name="grant_once_per_call"),
            models.CheckConstraint(
                condition=Q(source=GrantSource.PROPOSAL, proposal__isnull=False)
                | Q(source=GrantSource.POLICY, proposal__isnull=True),
                name="grant_has_its_source",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tool} {self.call_id} ({self.source})"


class RuleUse(TenantModel):
    """The calls that a rule of the policy has let run lately, of those that one of its rates counts together.

    Written by `approvals.permits.rates` alone.
    """

    tenant = TenantForeignKey(db_index=False)
    key = models.CharField(max_length=64, help_text="What is counted (`approvals.gating.policy.Rate.key`).")
    uses = models.JSONField(help_text="[seconds since 1970, run and call], the oldest first.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "key"), name="rule_use_once"),)

    def __str__(self) -> str:
        return self.key


class ScopedTrust(TenantModel):
    """A senior's word that calls like an approved one need no person again: same tool, same authority arguments.

    For one run, or until a moment; ended by whoever revokes it. Nothing of it lifts what a sensitive class or a rule of
    the policy asks for.
    """

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="trusts", db_index=False)
    task_type = models.ForeignKey("runs.TaskType", on_delete=models.PROTECT, related_name="+", db_index=False)
    run = models.ForeignKey(
        "runs.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    tool = models.CharField(max_length=100)
    contract_digest = models.CharField(max_length=64)
    authority = models.TextField(help_text="Canonical JSON of the authority arguments that it covers.")
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    given_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("proposal",), name="trust_once_per_proposal"),
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("given_at")), name="trust_has_a_length"),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=True, revoked_by__isnull=True)
                | Q(revoked_at__isnull=False, revoked_by__isnull=False),
                name="trust_revoked_by_somebody",
            ),
        )
        indexes = (
            models.Index(fields=("tenant", "ends_at"), condition=Q(revoked_at__isnull=True), name="trust_in_force"),
        )

    def __str__(self) -> str:
        return f"{self.tool} until {self.ends_at:%Y-%m-%d %H:%M}"
