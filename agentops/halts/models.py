"""Stops of the line: what people said must not happen any more, since when, and until when."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantModel


class Scope(models.TextChoices):
    """What is stopped. The word of `target` for each: nothing, `token:<id>` or `user:<id>`, an id, a name, an id."""

    TENANT = "tenant", "Everything in this tenant"
    AGENT = "agent", "Everything one agent asked for"
    TASK_TYPE = "task_type", "One kind of task"
    TOOL = "tool", "One tool"
    RUN = "run", "One run"


class Halt(TenantModel):
    """One stop: from `started_at` to `lifted_at` nothing new starts in what it covers, and no deadline passes there.

    `label` is what the target was called at the time. `settled_at` is when the last deadline had been moved and the
    last run queued again; `moved` and `resumed` count them.
    """

    scope = models.CharField(max_length=10, choices=Scope)
    target = models.CharField(max_length=100, blank=True)
    label = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    started_at = models.DateTimeField()
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    lift_reason = models.CharField(max_length=500, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    moved = models.PositiveIntegerField(default=0)
    resumed = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "scope", "target"),
                condition=Q(lifted_at__isnull=True),
                name="halt_one_open_per_target",
            ),
            models.CheckConstraint(condition=Q(scope__in=Scope.values), name="halt_scope_known"),
            models.CheckConstraint(
                condition=(Q(scope=Scope.TENANT) & Q(target="")) | (~Q(scope=Scope.TENANT) & ~Q(target="")),
                name="halt_target_unless_tenant",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="halt_has_a_reason"),
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True, lifted_by__isnull=True, lift_reason="")
                | (Q(lifted_at__isnull=False, lifted_by__isnull=False) & ~Q(lift_reason="")),
                name="halt_lifted_by_somebody_with_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(settled_at__isnull=True) | Q(lifted_at__isnull=False), name="halt_settled_once_lifted"
            ),
        )
        indexes = (
            models.Index(fields=("tenant", "id"), condition=Q(settled_at__isnull=True), name="halt_unsettled"),
            models.Index(fields=("tenant", "-id"), name="halt_newest"),
        )

    def __str__(self) -> str:
        return f"{self.get_scope_display()}: {self.label}"
