"""Rows of the budgets: what a tenant may spend, what it has spent in each period, and what is set aside right now."""

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from agentops.budgets.balance import Balance
from agentops.budgets.measures import NAMES, Measure, Period, amount_text, renews_at
from agentops.tenancy.scope import TenantModel

_PERIODS = (
    (Period.DAY.value, "Day (UTC)"),
    (Period.WEEK.value, "Week (from Monday, UTC)"),
    (Period.MONTH.value, "Month (UTC)"),
    (Period.TOTAL.value, "Once, never renewed"),
)
_MEASURES = (
    (Measure.COST.value, "Cost (millionths of a US dollar)"),
    (Measure.TOKENS.value, "Tokens"),
    (Measure.MODEL_CALLS.value, "Model calls"),
    (Measure.TOOL_CALLS.value, "Tool calls"),
    (Measure.RUNS.value, "Runs"),
    (Measure.REVIEWER.value, "Reviewers' time (seconds)"),
)


class Budget(TenantModel):
    """A limit on what all runs of a tenant, or of one of its task types, spend in a period.

    What it counts and whose spending it counts never changes: its accounts would mean something else. Limits may.
    """

    task_type = models.ForeignKey(
        "runs.TaskType",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="budgets",
        help_text="Counts runs of this type only; empty counts all runs of the tenant.",
    )
    measure = models.CharField(max_length=16, choices=_MEASURES)
    period = models.CharField(max_length=8, choices=_PERIODS)
    soft = models.PositiveBigIntegerField(
        "soft limit",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="From here on a warning is shown and recorded; nothing stops.",
    )
    hard = models.PositiveBigIntegerField(
        "hard limit",
        validators=[MinValueValidator(1)],
        help_text="What does not fit below it is refused. USD 1 is 1,000,000 millionths; an hour is 3,600 seconds.",
    )
    enabled = models.BooleanField(
        default=True, help_text="While it is off nothing is refused, and what is spent is not counted."
    )
    note = models.CharField(max_length=300, blank=True, help_text="Why this budget is as it is.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ("measure", "period", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "task_type", "measure", "period"),
                condition=Q(task_type__isnull=False),
                name="budget_once_per_task_type",
                violation_error_message="There is such a budget for this task type already.",
            ),
            models.UniqueConstraint(
                fields=("tenant", "measure", "period"),
                condition=Q(task_type__isnull=True),
                name="budget_once_per_tenant",
                violation_error_message="There is such a budget for the whole tenant already.",
            ),
            models.CheckConstraint(
                condition=Q(measure__in=[m.value for m in Measure]) & Q(period__in=[p.value for p in Period]),
                name="budget_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(hard__gte=1) & (Q(soft__isnull=True) | Q(soft__gte=1, soft__lte=F("hard"))),
                name="budget_soft_below_hard",
            ),
        )

    def __str__(self) -> str:
        whose = str(self.task_type) if self.task_type_id else "All runs"
        each = "in total" if self.period == Period.TOTAL else f"a {self.period}"
        return f"{whose}: {amount_text(self.measure, self.hard)} {_unit(self.measure)}{each}"


def _unit(measure: str) -> str:
    return "" if measure == Measure.COST else f"{NAMES[measure]} " if measure in NAMES else ""


class Account(TenantModel):
    """What one budget holds in one period: `reserved` is under way, `spent` is gone.

    Written by `services` alone, in conditional updates. `warned` and `exhausted` are the limits about which it has been
    said that they were reached: whoever changes a limit is told again.
    """

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="accounts")
    period_start = models.DateTimeField()
    reserved = models.PositiveBigIntegerField(default=0)
    spent = models.PositiveBigIntegerField(default=0)
    warned = models.PositiveBigIntegerField(null=True, editable=False)
    exhausted = models.PositiveBigIntegerField(null=True, editable=False)

    class Meta:
        ordering = ("-period_start", "budget")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "budget", "period_start"), name="account_once_per_period"),
            models.CheckConstraint(condition=Q(reserved__gte=0) & Q(spent__gte=0), name="account_not_negative"),
        )

    def __str__(self) -> str:
        return f"{self.budget} from {self.period_start:%Y-%m-%d}"

    @property
    def balance(self) -> Balance:
        """What it holds."""
        return Balance(self.reserved, self.spent)

    @property
    def renews_at(self) -> object:
        """When its budget begins again; None for one that never does. A query if the budget is not loaded."""
        return renews_at(self.budget.period, self.period_start)


class ReservationState(models.TextChoices):
    """The life of a reservation."""

    OPEN = "open", "Set aside"
    SETTLED = "settled", "Spent"
    RELEASED = "released", "Given back"


class Reservation(TenantModel):
    """What one purpose of one run set aside, and what became of it. One row per purpose, so nothing counts twice.

    A trial of a live regression suite (`kind` trial) has no run: what happens in it leaves nothing behind.

    `lines` says what of it went to which account: account id -> {"measure", "reserved", "spent"}. `assumed`: nobody
    could say what was spent, so all of it counts, until somebody can. `fence` is the claim of the run under which a
    spend happened that leaves no intent behind; 0 for those that do.
    """

    run = models.ForeignKey("runs.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=[(k, k) for k in ("plan", "call", "review", "run", "trial")])
    purpose = models.CharField(max_length=160)
    call_id = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=8, choices=ReservationState, default=ReservationState.OPEN)
    assumed = models.BooleanField(default=False)
    fence = models.PositiveBigIntegerField(default=0)
    lines = models.JSONField()
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "run", "purpose"), name="reservation_once_per_purpose"),
            models.CheckConstraint(
                condition=Q(kind="trial", run__isnull=True) | (~Q(kind="trial") & Q(run__isnull=False)),
                name="reservation_of_a_run",
            ),
            models.CheckConstraint(
                condition=Q(state="open", ended_at__isnull=True)
                | Q(state__in=("settled", "released"), ended_at__isnull=False),
                name="reservation_ended_when_closed",
            ),
        )
        indexes = (models.Index(fields=("tenant", "kind", "id"), condition=Q(state="open"), name="reservation_open"),)

    def __str__(self) -> str:
        return f"{self.purpose} ({self.state})"
