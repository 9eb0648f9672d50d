"""The allowlist, one row per task type and tool; and how each tool is doing, one row per tool."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from agentops.changes.models import Change, two_admins
from agentops.tenancy.scope import TenantModel

from .breaker import BreakerState
from .contracts import MAX_RATE
from .network.models import AllowedHost, HostChange

__all__ = [
    "AllowedHost",
    "AllowlistChange",
    "AllowlistEntry",
    "AllowlistState",
    "HostChange",
    "PublishedContract",
    "ToolHealth",
]

_version = RegexValidator(r"\A(0|[1-9]\d{0,5})(\.(0|[1-9]\d{0,5})){2}\Z", "Use three numbers, such as 1.0.0.")


class AllowlistState(models.TextChoices):
    """What happens to a call of the tool."""

    DENIED = "denied", "Denied"
    GATED = "gated", "Needs a person"
    AUTO = "auto", "Runs by itself"


class AllowlistEntry(TenantModel):
    """Says what one task type may do with one tool. A missing row means denied.

    Written by `tools.allowing` alone, which lets nobody widen it without a second admin.
    """

    task_type = models.ForeignKey("runs.TaskType", on_delete=models.CASCADE, related_name="allowlist")
    tool = models.CharField(max_length=100, help_text="Name of a registered tool, such as shop.find_order.")
    state = models.CharField(max_length=10, choices=AllowlistState, default=AllowlistState.DENIED)
    min_version = models.CharField(max_length=20, blank=True, validators=[_version])
    max_version = models.CharField(max_length=20, blank=True, validators=[_version])
    max_calls = models.PositiveIntegerField(null=True, blank=True, help_text="Calls of this tool in one run.")
    rate_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_RATE)],
        help_text="Calls of this tool in a minute, all runs of the tenant together. Replaces the tool's own limit.",
    )
    argument_constraints = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="Canonical JSON: by name, CEL over `args` that every call has to satisfy. Empty: none.",
    )
    note = models.CharField(max_length=300, blank=True, help_text="Why this rule is as it is.")
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "allowlist entries"
        ordering = ["task_type", "tool"]
        constraints = [
            models.UniqueConstraint(fields=["task_type", "tool"], name="allowlist_one_rule_per_tool"),
            models.CheckConstraint(
                condition=models.Q(state__in=["denied", "gated", "auto"]), name="allowlist_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool}: {self.get_state_display()}"


class AllowlistChange(Change):
    """One change of the allowlist: cells that narrow, in force at once, or cells that widen, for a second admin."""

    body = models.JSONField(help_text="The cells: task type, tool, rule before and after, and what makes it wider.")
    narrows = models.BooleanField(help_text="No cell of it allows anything that it did not allow before.")

    class Meta:
        verbose_name = "allowlist change"
        constraints = [*two_admins("allowlistchange", alone=models.Q(narrows=True))]
        indexes = [
            models.Index(
                fields=["tenant", "version"],
                condition=models.Q(status="proposed"),
                name="allowlistchange_waiting",
            ),
            models.Index(fields=["tenant", "-decided_at"], name="allowlistchange_by_time"),
        ]


class ToolHealth(TenantModel):
    """The circuit breaker and the token bucket of one tool (`tools.breaker.Health`). A missing row means healthy.

    Written by compare-and-set on `revision` (`tools.health`), never otherwise.
    """

    tool = models.CharField(max_length=100, help_text="Name of a registered tool, such as shop.find_order.")
    state = models.CharField(
        max_length=10,
        choices=[
            (BreakerState.CLOSED.value, "Closed: calls pass"),
            (BreakerState.OPEN.value, "Open: calls wait"),
            (BreakerState.HALF_OPEN.value, "Half-open: one probe"),
        ],
        default=BreakerState.CLOSED.value,
    )
    window = models.CharField("latest calls", max_length=100, blank=True, help_text="x failed, . answered; latest last")
    opened_at = models.DateTimeField(null=True, blank=True)
    open_until = models.DateTimeField(null=True, blank=True)
    cool_down_s = models.PositiveIntegerField("pause (s)", default=0)
    probe = models.PositiveBigIntegerField("probes", default=0)
    probe_until = models.DateTimeField(null=True, blank=True)
    full_at = models.DateTimeField("rate limit idle at", null=True, blank=True)
    revision = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = "tool health record"
        ordering = ["tool"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "tool"], name="toolhealth_one_row_per_tool"),
            models.CheckConstraint(
                condition=models.Q(state__in=[state.value for state in BreakerState]), name="toolhealth_state_known"
            ),
        ]

    def __str__(self) -> str:
        return self.tool


class PublishedContract(models.Model):
    """One version of a contract as it was first seen here. Rows do not change (`tools.guards`); see `tools.publishing`.

    Belongs to no tenant: contracts are the same for all.
    """

    tool = models.CharField(max_length=100)
    version = models.CharField(max_length=20)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the body.")
    body = models.TextField(help_text="The contract in canonical JSON.")
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["tool", "published_at", "id"]
        constraints = [models.UniqueConstraint(fields=["tool", "version"], name="publishedcontract_once")]

    def __str__(self) -> str:
        return f"{self.tool} {self.version}"
