import re

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope
import agentops.wire.ids
import tools.network.models
from agentops.tenancy.rls import enable_rls
from tools import guards


def install(apps, schema_editor):
    for statement in guards.POSTGRESQL if schema_editor.connection.vendor == "postgresql" else guards.SQLITE:
        schema_editor.execute(statement)


def remove(apps, schema_editor):
    drop = guards.POSTGRESQL_DROP if schema_editor.connection.vendor == "postgresql" else guards.SQLITE_DROP
    for statement in drop:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    replaces = [
        ("tools", "0001_initial"),
        ("tools", "0002_row_security"),
        ("tools", "0003_tool_health"),
        ("tools", "0004_rate_per_minute"),
        ("tools", "0010_allowlist_changes"),
        ("tools", "0011_allowlist_changes_row_security"),
        ("tools", "0020_allowed_hosts"),
        ("tools", "0021_published_contracts"),
        ("tools", "0022_host_changes"),
        ("tools", "0023_tool_health_record"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("runs", "0061_claimable"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="PublishedContract",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tool", models.CharField(max_length=100)),
                ("version", models.CharField(max_length=20)),
                ("digest", models.CharField(help_text="SHA-256 of the body.", max_length=64)),
                ("body", models.TextField(help_text="The contract in canonical JSON.")),
                ("published_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["tool", "published_at", "id"],
                "constraints": [models.UniqueConstraint(fields=("tool", "version"), name="publishedcontract_once")],
            },
        ),
        migrations.CreateModel(
            name="AllowedHost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "host",
                    models.CharField(
                        help_text="Such as api.example.com; no address.",
                        max_length=253,
                        validators=[tools.network.models.check_host],
                    ),
                ),
                (
                    "subdomains",
                    models.BooleanField(default=False, help_text="Hosts below it as well (never with the credential)."),
                ),
                (
                    "access",
                    models.CharField(
                        choices=[("read", "Read (GET, HEAD)"), ("write", "Read and write (POST, PUT, PATCH too)")],
                        default="read",
                        max_length=5,
                    ),
                ),
                (
                    "plain_http",
                    models.BooleanField(
                        default=False, help_text="Without encryption, on port 80.", verbose_name="http as well"
                    ),
                ),
                (
                    "credential_header",
                    models.CharField(
                        blank=True,
                        help_text="Header that the desk adds for this host, such as Authorization.",
                        max_length=60,
                        validators=[
                            django.core.validators.RegexValidator(
                                re.compile("(?:Authorization|X-[A-Za-z0-9-]{1,40}|Api-Key|PRIVATE-TOKEN)\\Z"),
                                "Authorization, Api-Key, PRIVATE-TOKEN or a name that begins with X-.",
                            )
                        ],
                    ),
                ),
                ("credential", models.TextField(blank=True, editable=False)),
                ("note", models.CharField(blank=True, help_text="Why this host may be asked.", max_length=300)),
                ("updated_at", models.DateTimeField(auto_now=True)),
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
                "ordering": ["host"],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "host"), name="allowedhost_once"),
                    models.CheckConstraint(
                        condition=models.Q(("access__in", ["read", "write"])), name="allowedhost_access_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AllowlistChange",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("proposed", "Proposed"),
                            ("active", "In force"),
                            ("retired", "Replaced"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="proposed",
                        max_length=10,
                    ),
                ),
                ("note", models.TextField(help_text="Why it is proposed.")),
                ("proposed_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decision_note", models.TextField(blank=True)),
                (
                    "body",
                    models.JSONField(
                        help_text="The cells: task type, tool, rule before and after, and what makes it wider."
                    ),
                ),
                (
                    "narrows",
                    models.BooleanField(help_text="No cell of it allows anything that it did not allow before."),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "verbose_name": "allowlist change",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "proposed")),
                        fields=["tenant", "version"],
                        name="allowlistchange_waiting",
                    ),
                    models.Index(fields=["tenant", "-decided_at"], name="allowlistchange_by_time"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "version"), name="allowlistchange_version_once"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["proposed", "active", "retired", "refused", "withdrawn"])),
                        name="allowlistchange_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status__in", ("active", "retired")), _negated=True),
                            models.Q(
                                ("decided_by__isnull", False),
                                models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            ),
                            ("narrows", True),
                            _connector="OR",
                        ),
                        name="allowlistchange_in_force_by_somebody_else",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("status", "proposed")),
                            models.Q(models.Q(("status", "proposed"), _negated=True), ("decided_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="allowlistchange_decided_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AllowlistEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "tool",
                    models.CharField(help_text="Name of a registered tool, such as shop.find_order.", max_length=100),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("denied", "Denied"), ("gated", "Needs a person"), ("auto", "Runs by itself")],
                        default="denied",
                        max_length=10,
                    ),
                ),
                (
                    "min_version",
                    models.CharField(
                        blank=True,
                        max_length=20,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A(0|[1-9]\\d{0,5})(\\.(0|[1-9]\\d{0,5})){2}\\Z", "Use three numbers, such as 1.0.0."
                            )
                        ],
                    ),
                ),
                (
                    "max_version",
                    models.CharField(
                        blank=True,
                        max_length=20,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A(0|[1-9]\\d{0,5})(\\.(0|[1-9]\\d{0,5})){2}\\Z", "Use three numbers, such as 1.0.0."
                            )
                        ],
                    ),
                ),
                (
                    "max_calls",
                    models.PositiveIntegerField(blank=True, help_text="Calls of this tool in one run.", null=True),
                ),
                (
                    "rate_per_minute",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Calls of this tool in a minute, all runs of the tenant together. Replaces the tool's own limit.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(60000),
                        ],
                    ),
                ),
                (
                    "argument_constraints",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Canonical JSON: by name, CEL over `args` that every call has to satisfy. Empty: none.",
                    ),
                ),
                ("note", models.CharField(blank=True, help_text="Why this rule is as it is.", max_length=300)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "task_type",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="allowlist", to="runs.tasktype"
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
                "verbose_name_plural": "allowlist entries",
                "ordering": ["task_type", "tool"],
                "constraints": [
                    models.UniqueConstraint(fields=("task_type", "tool"), name="allowlist_one_rule_per_tool"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["denied", "gated", "auto"])), name="allowlist_state_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="HostChange",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("proposed", "Proposed"),
                            ("active", "In force"),
                            ("retired", "Replaced"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="proposed",
                        max_length=10,
                    ),
                ),
                ("note", models.TextField(help_text="Why it is proposed.")),
                ("proposed_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decision_note", models.TextField(blank=True)),
                ("body", models.JSONField(help_text="The rule before and after, and what makes it wider.")),
                ("narrows", models.BooleanField(help_text="It allows nothing that was not allowed before.")),
                (
                    "credential",
                    models.TextField(blank=True, editable=False, help_text="Sealed, while it waits; never shown."),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "verbose_name": "change of the list of hosts",
                "verbose_name_plural": "changes of the list of hosts",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "proposed")),
                        fields=["tenant", "version"],
                        name="hostchange_waiting",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "version"), name="hostchange_version_once"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["proposed", "active", "retired", "refused", "withdrawn"])),
                        name="hostchange_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status__in", ("active", "retired")), _negated=True),
                            models.Q(
                                ("decided_by__isnull", False),
                                models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            ),
                            ("narrows", True),
                            _connector="OR",
                        ),
                        name="hostchange_in_force_by_somebody_else",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("status", "proposed")),
                            models.Q(models.Q(("status", "proposed"), _negated=True), ("decided_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="hostchange_decided_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ToolHealth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "tool",
                    models.CharField(help_text="Name of a registered tool, such as shop.find_order.", max_length=100),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("closed", "Closed: calls pass"),
                            ("open", "Open: calls wait"),
                            ("half_open", "Half-open: one probe"),
                        ],
                        default="closed",
                        max_length=10,
                    ),
                ),
                (
                    "window",
                    models.CharField(
                        blank=True,
                        help_text="x failed, . answered; latest last",
                        max_length=100,
                        verbose_name="latest calls",
                    ),
                ),
                ("opened_at", models.DateTimeField(blank=True, null=True)),
                ("open_until", models.DateTimeField(blank=True, null=True)),
                ("cool_down_s", models.PositiveIntegerField(default=0, verbose_name="pause (s)")),
                ("probe", models.PositiveBigIntegerField(default=0, verbose_name="probes")),
                ("probe_until", models.DateTimeField(blank=True, null=True)),
                ("full_at", models.DateTimeField(blank=True, null=True, verbose_name="rate limit idle at")),
                ("revision", models.PositiveBigIntegerField(default=0)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "verbose_name": "tool health record",
                "ordering": ["tool"],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "tool"), name="toolhealth_one_row_per_tool"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["closed", "open", "half_open"])),
                        name="toolhealth_state_known",
                    ),
                ],
            },
        ),
        enable_rls("tools_allowlistentry"),
        enable_rls("tools_toolhealth"),
        enable_rls("tools_allowlistchange"),
        enable_rls("tools_allowedhost"),
        enable_rls("tools_hostchange"),
        migrations.RunPython(install, remove),
    ]
