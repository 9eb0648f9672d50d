import django.db.models.deletion
import django.db.models.functions.text
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope
from agentops.memory import index
from agentops.tenancy.rls import enable_rls


def install(apps, schema_editor):
    index.install(schema_editor, schema_editor.connection.vendor)


def remove(apps, schema_editor):
    index.remove(schema_editor, schema_editor.connection.vendor)


class Migration(migrations.Migration):
    replaces = [
        ("memory", "0001_initial"),
        ("memory", "0002_row_security"),
        ("memory", "0003_search"),
        ("memory", "0004_session_note"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("runs", "0061_claimable"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Fact",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("statement", models.CharField(max_length=1000)),
                (
                    "original_statement",
                    models.CharField(
                        blank=True, help_text="What the run proposed, when a curator has changed it.", max_length=1000
                    ),
                ),
                ("words", models.TextField(editable=False)),
                ("digest", models.CharField(help_text="SHA-256 of statement and scope.", max_length=64)),
                ("source_seq", models.PositiveBigIntegerField()),
                ("source_call", models.CharField(max_length=64)),
                ("author", models.CharField(help_text="The planner whose plan proposed it.", max_length=128)),
                ("provenance", models.JSONField(help_text="Sources, integrity and readers of the statement.")),
                ("untrusted", models.BooleanField()),
                ("idempotency_key", models.CharField(max_length=64)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("proposed", "Waiting for a curator"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("revoked", "Revoked"),
                            ("expired", "Expired"),
                        ],
                        default="proposed",
                        max_length=10,
                    ),
                ),
                ("proposed_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("curated_at", models.DateTimeField(blank=True, null=True)),
                ("curator_note", models.CharField(blank=True, max_length=1000)),
                (
                    "curated_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "source_run",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="runs.run"),
                ),
                (
                    "task_type",
                    models.ForeignKey(
                        blank=True,
                        help_text="Recalled by runs of this type only; empty means by every run of the tenant.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.tasktype",
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
                    models.Index(fields=["tenant", "status", "-id"], name="fact_list"),
                    models.Index(fields=["tenant", "status", "expires_at"], name="fact_expiry"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "idempotency_key"), name="fact_once_per_call"),
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ("proposed", "approved"))),
                        fields=("tenant", "digest"),
                        name="fact_one_open_per_statement",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["proposed", "approved", "rejected", "revoked", "expired"])),
                        name="fact_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            django.db.models.lookups.GreaterThan(
                                django.db.models.functions.text.Length("statement"), 0
                            ),
                            django.db.models.lookups.LessThanOrEqual(
                                django.db.models.functions.text.Length("statement"), 1000
                            ),
                        ),
                        name="fact_statement_bounded",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("proposed_at"))),
                        name="fact_expires_after_it_began",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("curated_at__isnull", True), ("curated_by__isnull", True), ("status", "proposed")
                            ),
                            models.Q(
                                ("curated_at__isnull", False),
                                ("curated_by__isnull", False),
                                ("status__in", ("approved", "rejected", "revoked")),
                            ),
                            ("status", "expired"),
                            _connector="OR",
                        ),
                        name="fact_curated_by_somebody",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Descent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "ancestor",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="memory.fact"),
                ),
                (
                    "fact",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="memory.fact"),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("fact", "ancestor"), name="descent_once"),
                    models.CheckConstraint(
                        condition=models.Q(("fact", models.F("ancestor")), _negated=True), name="descent_from_another"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SessionNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40)),
                ("kind", models.CharField(max_length=8)),
                ("value", models.TextField(help_text="Canonical JSON.")),
                ("size", models.PositiveIntegerField(help_text="Bytes of the value.")),
                ("digest", models.CharField(help_text="SHA-256 of the value.", max_length=64)),
                ("provenance", models.JSONField(help_text="Sources, integrity and readers of the value.")),
                ("untrusted", models.BooleanField()),
                ("source_call", models.CharField(max_length=64)),
                ("idempotency_key", models.CharField(max_length=64)),
                ("written_at", models.DateTimeField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="session_notes", to="runs.run"
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
                "ordering": ("name",),
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "run", "name"), name="session_note_one_per_name"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ("text", "number", "yes_no"))), name="session_note_kind_known"
                    ),
                    models.CheckConstraint(condition=models.Q(("size__gt", 0)), name="session_note_has_a_value"),
                ],
            },
        ),
        enable_rls("memory_fact"),
        enable_rls("memory_descent"),
        enable_rls("memory_sessionnote"),
        migrations.RunPython(install, remove),
    ]
