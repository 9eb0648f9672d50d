"""The allowlist: one row per task type and tool."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from agentops.tenancy.scope import TenantModel

_version = RegexValidator(r"\A(0|[1-9]\d{0,5})(\.(0|[1-9]\d{0,5})){2}\Z", "Use three numbers, such as 1.0.0.")


class AllowlistState(models.TextChoices):
    """What happens to a call of the tool."""

    DENIED = "denied", "Denied"
    GATED = "gated", "Needs a person"
    AUTO = "auto", "Runs by itself"


class AllowlistEntry(TenantModel):
    """Says what one task type may do with one tool. A missing row means denied."""

    task_type = models.ForeignKey("runs.TaskType", on_delete=models.CASCADE, related_name="allowlist")
    tool = models.CharField(max_length=100, help_text="Name of a registered tool, such as shop.find_order.")
    state = models.CharField(max_length=10, choices=AllowlistState, default=AllowlistState.DENIED)
    min_version = models.CharField(max_length=20, blank=True, validators=[_version])
    max_version = models.CharField(max_length=20, blank=True, validators=[_version])
    max_calls = models.PositiveIntegerField(null=True, blank=True, help_text="Calls of this tool in one run.")
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
