import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope
import agentops.wire.ids
from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    replaces = [
        ("metrics", "0001_initial"),
        ("metrics", "0002_row_security"),
        ("metrics", "0003_watching"),
        ("metrics", "0004_aside"),
        ("metrics", "0005_aside_row_security"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("task_type", models.CharField(max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("planner", "Fewer tasks succeed, and they take more steps"),
                            ("success", "Fewer tasks succeed"),
                            ("override", "People override more"),
                            ("stamping", "Suspicious improvement: people override less, and look for less time"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("raised", "Raised"), ("acknowledged", "Acknowledged"), ("reset", "Reset")],
                        default="raised",
                        max_length=12,
                    ),
                ),
                ("raised_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(help_text="When the chart was last at zero: about when it began.")),
                ("body", models.JSONField(help_text="The figures at that moment.")),
                ("acknowledged_at", models.DateTimeField(null=True)),
                ("reset_at", models.DateTimeField(null=True)),
                ("reason", models.CharField(blank=True, max_length=24)),
                ("note", models.CharField(blank=True, max_length=500)),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "reset_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "ordering": ("-raised_at", "-id"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ("raised", "acknowledged"))),
                        fields=("tenant", "task_type", "kind"),
                        name="alarm_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["raised", "acknowledged", "reset"])),
                        name="alarm_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reset_at__isnull", False), ("status", "reset")),
                            models.Q(models.Q(("status", "reset"), _negated=True), ("reset_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="alarm_reset_says_when",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Aside",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("grain", models.CharField(max_length=4)),
                ("start", models.DateTimeField()),
                ("task_type", models.CharField(max_length=64)),
                ("kind", models.CharField(max_length=8)),
                ("key", models.CharField(blank=True, max_length=128)),
                ("counts", models.JSONField(default=dict)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "version", "grain", "kind", "start", "task_type", "key"),
                        name="aside_once_per_cell",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("kind", models.CharField(max_length=8)),
                ("task_type", models.CharField(blank=True, max_length=64)),
                ("label", models.CharField(max_length=160)),
                ("event_id", models.BigIntegerField(default=0)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "at"], name="change_by_time"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "kind", "task_type", "label", "event_id"), name="change_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DriftChart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "watched",
                    models.CharField(
                        choices=[
                            ("runs", "Runs that fail, and steps"),
                            ("more", "Proposals that are overridden"),
                            ("fewer", "Proposals that are overridden less often than expected, and read for less time"),
                        ],
                        default="runs",
                        max_length=8,
                    ),
                ),
                ("task_type", models.CharField(max_length=64)),
                ("body", models.JSONField()),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "watched", "task_type"), name="drift_chart_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Reader",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.BigIntegerField(default=0)),
                ("version", models.PositiveIntegerField(default=0)),
                ("turn", models.PositiveBigIntegerField(default=0)),
                ("read_at", models.DateTimeField(help_text="When it last read.", null=True)),
                (
                    "behind_since",
                    models.DateTimeField(help_text="When the first event was recorded that is not counted.", null=True),
                ),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant",), name="reader_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Rollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("grain", models.CharField(max_length=4)),
                ("start", models.DateTimeField()),
                ("task_type", models.CharField(max_length=64)),
                ("kind", models.CharField(max_length=8)),
                ("key", models.CharField(blank=True, max_length=128)),
                ("counts", models.JSONField(default=dict)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "grain", "kind", "start", "task_type", "key"), name="rollup_once_per_cell"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("grain__in", ("hour", "day", "all"))), name="rollup_grain_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RunFact",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("run_id", models.UUIDField()),
                ("seq", models.BigIntegerField()),
                ("task_type", models.CharField(max_length=64)),
                ("ended_at", models.DateTimeField(null=True)),
                ("outcome", models.CharField(blank=True, max_length=16)),
                ("counted", models.BooleanField(default=True)),
                ("checked", models.BooleanField(default=False)),
                ("code", models.CharField(blank=True, max_length=40)),
                ("steps", models.PositiveIntegerField(default=0)),
                ("latency_ms", models.PositiveBigIntegerField(default=0)),
                ("human_ms", models.PositiveBigIntegerField(default=0)),
                ("cost_micros", models.PositiveBigIntegerField(default=0)),
                ("tool_errors", models.PositiveIntegerField(default=0)),
                ("overrides", models.PositiveIntegerField(default=0)),
                ("watched", models.BooleanField(default=False, help_text="Has been an item of the drift charts.")),
                (
                    "judged",
                    models.PositiveIntegerField(
                        default=0, help_text="Decided proposals that were items of the drift charts."
                    ),
                ),
                (
                    "aside",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Its record is removed; the definitions of this version counted it (`Aside`).",
                    ),
                ),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "-ended_at", "-id"], name="run_fact_ended"),
                    models.Index(fields=["tenant", "task_type", "-ended_at", "-id"], name="run_fact_by_type"),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=["tenant", "task_type"],
                        name="run_fact_open",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "run_id"), name="run_fact_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Webhook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                (
                    "url",
                    models.CharField(
                        help_text="https:// and a public address; redirects are not followed.", max_length=500
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "secret_version",
                    models.PositiveIntegerField(
                        default=1, help_text="Raise it to sign with a new secret; the old one is invalid from then on."
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
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "name"), name="webhook_name_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(blank=True, max_length=200)),
                (
                    "alarm",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="deliveries", to="metrics.alarm"
                    ),
                ),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "webhook",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="metrics.webhook",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("sent_at__isnull", True)),
                        fields=["tenant", "next_at"],
                        name="delivery_waiting",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("user__isnull", False), ("webhook__isnull", True)),
                            models.Q(("user__isnull", True), ("webhook__isnull", False)),
                            _connector="OR",
                        ),
                        name="delivery_to_one",
                    ),
                ],
            },
        ),
        enable_rls("metrics_reader"),
        enable_rls("metrics_runfact"),
        enable_rls("metrics_rollup"),
        enable_rls("metrics_change"),
        enable_rls("metrics_driftchart"),
        enable_rls("metrics_alarm"),
        enable_rls("metrics_webhook"),
        enable_rls("metrics_delivery"),
        enable_rls("metrics_aside"),
    ]
