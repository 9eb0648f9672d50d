import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope
from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    replaces = [("budgets", "0001_initial"), ("budgets", "0002_row_security"), ("budgets", "0003_trials")]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("runs", "0061_claimable"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Budget",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "measure",
                    models.CharField(
                        choices=[
                            ("cost_micros", "Cost (millionths of a US dollar)"),
                            ("tokens", "Tokens"),
                            ("model_calls", "Model calls"),
                            ("tool_calls", "Tool calls"),
                            ("runs", "Runs"),
                            ("reviewer_s", "Reviewers' time (seconds)"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "period",
                    models.CharField(
                        choices=[
                            ("day", "Day (UTC)"),
                            ("week", "Week (from Monday, UTC)"),
                            ("month", "Month (UTC)"),
                            ("total", "Once, never renewed"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "soft",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="From here on a warning is shown and recorded; nothing stops.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="soft limit",
                    ),
                ),
                (
                    "hard",
                    models.PositiveBigIntegerField(
                        help_text="What does not fit below it is refused. USD 1 is 1,000,000 millionths; an hour is 3,600 seconds.",
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="hard limit",
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        default=True, help_text="While it is off nothing is refused, and what is spent is not counted."
                    ),
                ),
                ("note", models.CharField(blank=True, help_text="Why this budget is as it is.", max_length=300)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "task_type",
                    models.ForeignKey(
                        blank=True,
                        help_text="Counts runs of this type only; empty counts all runs of the tenant.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="budgets",
                        to="runs.tasktype",
                    ),
                ),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "updated_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("measure", "period", "pk"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("task_type__isnull", False)),
                        fields=("tenant", "task_type", "measure", "period"),
                        name="budget_once_per_task_type",
                        violation_error_message="There is such a budget for this task type already.",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("task_type__isnull", True)),
                        fields=("tenant", "measure", "period"),
                        name="budget_once_per_tenant",
                        violation_error_message="There is such a budget for the whole tenant already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "measure__in",
                                ["cost_micros", "tokens", "model_calls", "tool_calls", "runs", "reviewer_s"],
                            ),
                            ("period__in", ["day", "week", "month", "total"]),
                        ),
                        name="budget_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("hard__gte", 1),
                            models.Q(
                                ("soft__isnull", True),
                                models.Q(("soft__gte", 1), ("soft__lte", models.F("hard"))),
                                _connector="OR",
                            ),
                        ),
                        name="budget_soft_below_hard",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period_start", models.DateTimeField()),
                ("reserved", models.PositiveBigIntegerField(default=0)),
                ("spent", models.PositiveBigIntegerField(default=0)),
                ("warned", models.PositiveBigIntegerField(editable=False, null=True)),
                ("exhausted", models.PositiveBigIntegerField(editable=False, null=True)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "budget",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="accounts", to="budgets.budget"
                    ),
                ),
            ],
            options={
                "ordering": ("-period_start", "budget"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "budget", "period_start"), name="account_once_per_period"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reserved__gte", 0), ("spent__gte", 0)), name="account_not_negative"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("plan", "plan"),
                            ("call", "call"),
                            ("review", "review"),
                            ("run", "run"),
                            ("trial", "trial"),
                        ],
                        max_length=8,
                    ),
                ),
                ("purpose", models.CharField(max_length=160)),
                ("call_id", models.CharField(blank=True, max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Set aside"), ("settled", "Spent"), ("released", "Given back")],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("assumed", models.BooleanField(default=False)),
                ("fence", models.PositiveBigIntegerField(default=0)),
                ("lines", models.JSONField()),
                ("created_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.run",
                    ),
                ),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "open")), fields=["tenant", "kind", "id"], name="reservation_open"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "run", "purpose"), name="reservation_once_per_purpose"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "trial"), ("run__isnull", True)),
                            models.Q(models.Q(("kind", "trial"), _negated=True), ("run__isnull", False)),
                            _connector="OR",
                        ),
                        name="reservation_of_a_run",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", True), ("state", "open")),
                            models.Q(("ended_at__isnull", False), ("state__in", ("settled", "released"))),
                            _connector="OR",
                        ),
                        name="reservation_ended_when_closed",
                    ),
                ],
            },
        ),
        enable_rls("budgets_budget"),
        enable_rls("budgets_account"),
        enable_rls("budgets_reservation"),
    ]
