"""Rows of the metrics: how far the record has been read, what was counted, alarms and whom they reach."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel
from agentops.wire.ids import uuid7


class Reader(TenantModel):
    """How far the events of the tenant have been read: everything up to `position` (an event's id) is counted.

    `version` is that of the definitions; another one starts again. `turn` changes with every write, so that of two
    readers one finds out that it was late.
    """

    position = models.BigIntegerField(default=0)
    version = models.PositiveIntegerField(default=0)
    turn = models.PositiveBigIntegerField(default=0)
    read_at = models.DateTimeField(null=True, help_text="When it last read.")
    behind_since = models.DateTimeField(null=True, help_text="When the first event was recorded that is not counted.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant",), name="reader_once"),)

    def __str__(self) -> str:
        return f"read to {self.position}"


class RunFact(TenantModel):
    """What metrics know of one run: the rows behind every point, and up to which event the run has been counted."""

    tenant = TenantForeignKey(db_index=False)
    run_id = models.UUIDField()
    seq = models.BigIntegerField()
    task_type = models.CharField(max_length=64)
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=16, blank=True)
    counted = models.BooleanField(default=True)
    checked = models.BooleanField(default=False)
    code = models.CharField(max_length=40, blank=True)
    steps = models.PositiveIntegerField(default=0)
    latency_ms = models.PositiveBigIntegerField(default=0)
    human_ms = models.PositiveBigIntegerField(default=0)
    cost_micros = models.PositiveBigIntegerField(default=0)
    tool_errors = models.PositiveIntegerField(default=0)
    overrides = models.PositiveIntegerField(default=0)
    watched = models.BooleanField(default=False, help_text="Has been an item of the drift charts.")
    judged = models.PositiveIntegerField(default=0, help_text="Decided proposals that were items of the drift charts.")
    aside = models.PositiveIntegerField(
        default=0, help_text="Its record is removed; the definitions of this version counted it (`Aside`)."
    )

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "run_id"), name="run_fact_once"),)
        indexes = (
            models.Index(fields=("tenant", "-ended_at", "-id"), name="run_fact_ended"),
            models.Index(fields=("tenant", "task_type", "-ended_at", "-id"), name="run_fact_by_type"),
            models.Index(fields=("tenant", "task_type"), condition=Q(ended_at__isnull=True), name="run_fact_open"),
            # Looked for among all others these may be far apart, or nowhere.
            models.Index(
                fields=("tenant", "outcome", "-ended_at", "-id"),
                condition=Q(outcome__in=("failed", "cancelled")),
                name="run_fact_ended_badly",
            ),
            models.Index(
                fields=("tenant", "-ended_at", "-id"), condition=Q(tool_errors__gt=0), name="run_fact_tool_errors"
            ),
            models.Index(
                fields=("tenant", "task_type", "-ended_at", "-id"),
                condition=Q(overrides__gt=0),
                name="run_fact_overridden",
            ),
        )

    def __str__(self) -> str:
        return f"{self.run_id} to {self.seq}"


class Rollup(TenantModel):
    """One cell (see `cells`): the sum of everything that units ended in its span contributed."""

    tenant = TenantForeignKey(db_index=False)
    grain = models.CharField(max_length=4)
    start = models.DateTimeField()
    task_type = models.CharField(max_length=64)
    kind = models.CharField(max_length=8)
    key = models.CharField(max_length=128, blank=True)
    counts = models.JSONField(default=dict)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "grain", "kind", "start", "task_type", "key"), name="rollup_once_per_cell"
            ),
            models.CheckConstraint(condition=Q(grain__in=("hour", "day", "all")), name="rollup_grain_known"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.key} {self.grain} {self.start:%Y-%m-%d %H:%M}"


class Aside(TenantModel):
    """What runs whose records were removed contributed to one cell, as the definitions of `version` counted it.

    It is part of the cell (`Rollup`), and what is left of it when cells are counted anew.
    """

    tenant = TenantForeignKey(db_index=False)
    version = models.PositiveIntegerField()
    grain = models.CharField(max_length=4)
    start = models.DateTimeField()
    task_type = models.CharField(max_length=64)
    kind = models.CharField(max_length=8)
    key = models.CharField(max_length=128, blank=True)
    counts = models.JSONField(default=dict)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "version", "grain", "kind", "start", "task_type", "key"), name="aside_once_per_cell"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.key} {self.grain} {self.start:%Y-%m-%d %H:%M}, version {self.version}"


class Change(TenantModel):
    """When something that may move a metric was first seen: a planner, prompt or model of runs, a contract, or a rule.

    `event_id` names the event of a rule, a policy or a release; 0 for what is first seen in a run. Kind `tool` is the
    first version of a tool that was seen, which is no change.
    """

    tenant = TenantForeignKey(db_index=False)
    at = models.DateTimeField()
    kind = models.CharField(max_length=8)
    task_type = models.CharField(max_length=64, blank=True)
    label = models.CharField(max_length=160)
    event_id = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "kind", "task_type", "label", "event_id"), name="change_once"),
        )
        indexes = (models.Index(fields=("tenant", "at"), name="change_by_time"),)

    def __str__(self) -> str:
        return f"{self.kind}: {self.label}"


class Watched(models.TextChoices):
    """What the items of a drift chart are, and which way it watches."""

    RUNS = "runs", "Runs that fail, and steps"
    OVERRIDES = "more", "Proposals that are overridden"
    RUBBER_STAMPS = "fewer", "Proposals that are overridden less often than expected, and read for less time"


class DriftChart(TenantModel):
    """The charts of one task type (see `drift`), as they stand after the last run that was counted."""

    watched = models.CharField(max_length=8, choices=Watched, default=Watched.RUNS)
    task_type = models.CharField(max_length=64)
    body = models.JSONField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "watched", "task_type"), name="drift_chart_once"),)

    def __str__(self) -> str:
        return f"{self.task_type}: {self.watched}"


class AlarmStatus(models.TextChoices):
    """The life of an alarm."""

    RAISED = "raised", "Raised"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESET = "reset", "Reset"


class AlarmKind(models.TextChoices):
    """What drifted."""

    PLANNER = "planner", "Fewer tasks succeed, and they take more steps"
    SUCCESS = "success", "Fewer tasks succeed"
    OVERRIDE = "override", "People override more"
    STAMPING = "stamping", "Suspicious improvement: people override less, and look for less time"


class Alarm(TenantModel):
    """A chart went over its threshold. One is open per task type and kind until somebody resets it with a reason."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task_type = models.CharField(max_length=64)
    kind = models.CharField(max_length=8, choices=AlarmKind)
    status = models.CharField(max_length=12, choices=AlarmStatus, default=AlarmStatus.RAISED)
    raised_at = models.DateTimeField()
    started_at = models.DateTimeField(help_text="When the chart was last at zero: about when it began.")
    body = models.JSONField(help_text="The figures at that moment.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True)
    reset_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    reset_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=24, blank=True)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-raised_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "task_type", "kind"),
                condition=Q(status__in=("raised", "acknowledged")),
                name="alarm_one_open",
            ),
            models.CheckConstraint(condition=Q(status__in=AlarmStatus.values), name="alarm_status_known"),
            models.CheckConstraint(
                condition=Q(status="reset", reset_at__isnull=False) | ~Q(status="reset") & Q(reset_at__isnull=True),
                name="alarm_reset_says_when",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.task_type}"


class Delivery(TenantModel):
    """One e-mail about one alarm to one person. The rows are the outbox."""

    alarm = models.ForeignKey(Alarm, on_delete=models.PROTECT, related_name="deliveries")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("tenant", "next_at"), condition=Q(sent_at__isnull=True), name="delivery_waiting"),
        )

    def __str__(self) -> str:
        return f"{self.alarm_id} to {self.user_id}"
