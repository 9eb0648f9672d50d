import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope
import agentops.wire.ids
from agentops.retention import guards
from agentops.tenancy.rls import enable_rls


def install(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    guards.install(schema_editor, vendor)
    guards.pin(schema_editor, vendor)
    guards.ask_the_record(schema_editor, vendor)


def remove(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    guards.ask_no_more(schema_editor, vendor)
    guards.unpin(schema_editor, vendor)
    guards.remove(schema_editor, vendor)


class Migration(migrations.Migration):
    replaces = [
        ("retention", "0001_initial"),
        ("retention", "0002_row_security"),
        ("retention", "0003_narrow_door"),
        ("retention", "0004_door_pinned"),
        ("retention", "0005_refused"),
        ("retention", "0006_ask_the_record"),
    ]

    initial = True

    dependencies = [
        ("audit", "0013_lean_indexes"),
        ("auth", "__first__"),
        ("payloads", "0004_retention_row_security"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Door",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                "constraints": [models.UniqueConstraint(fields=("tenant",), name="door_one_per_tenant")],
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("run", "One run"),
                            ("proposal", "One proposal, with its run"),
                            ("person", "Everything a person did or decided"),
                            ("period", "A span of time"),
                            ("tenant", "Everything"),
                        ],
                        max_length=10,
                    ),
                ),
                ("run_id", models.UUIDField(blank=True, null=True)),
                ("proposal_id", models.UUIDField(blank=True, null=True)),
                ("since", models.DateTimeField(blank=True, null=True)),
                ("until", models.DateTimeField(blank=True, help_text="Not included.", null=True)),
                ("matter", models.CharField(help_text="The reference of the matter.", max_length=100)),
                ("reason", models.TextField()),
                ("placed_at", models.DateTimeField()),
                ("lift_asked_at", models.DateTimeField(blank=True, null=True)),
                ("lift_reason", models.TextField(blank=True)),
                ("lifted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "lift_asked_by",
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
                    "lifted_by",
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
                    "person",
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
                    "placed_by",
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
                "indexes": [
                    models.Index(
                        condition=models.Q(("lifted_at__isnull", True)), fields=["tenant", "-id"], name="hold_in_force"
                    ),
                    models.Index(fields=["tenant", "-id"], name="hold_newest"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "run"), ("run_id__isnull", False)),
                            models.Q(("kind", "proposal"), ("proposal_id__isnull", False), ("run_id__isnull", False)),
                            models.Q(("kind", "person"), ("person__isnull", False)),
                            models.Q(("kind", "period"), ("since__isnull", False), ("until__gt", models.F("since"))),
                            ("kind", "tenant"),
                            _connector="OR",
                        ),
                        name="hold_says_what",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("matter", ""), _negated=True), models.Q(("reason", ""), _negated=True)
                        ),
                        name="hold_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lift_asked_at__isnull", True), ("lift_asked_by__isnull", True)),
                            models.Q(("lift_asked_at__isnull", False), ("lift_asked_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="hold_lifting_asked",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lifted_at__isnull", True), ("lifted_by__isnull", True)),
                            models.Q(
                                ("lift_asked_by__isnull", False),
                                ("lifted_at__isnull", False),
                                ("lifted_by__isnull", False),
                                models.Q(("lifted_by", models.F("lift_asked_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="hold_lifted_by_two",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Pass",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("record_class", models.CharField(max_length=10)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("position", models.CharField(blank=True, help_text="Where the next piece begins.", max_length=80)),
                ("removed", models.BigIntegerField(default=0)),
                ("held", models.BigIntegerField(default=0, help_text="Past their period, and kept by a hold.")),
                (
                    "refused",
                    models.BigIntegerField(default=0, help_text="Past their period, and not let go by the database."),
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
                "constraints": [models.UniqueConstraint(fields=("tenant", "record_class"), name="pass_one_per_class")],
            },
        ),
        migrations.CreateModel(
            name="Periods",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("body", models.JSONField()),
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
                ("shortens", models.BooleanField()),
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
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "version"), name="periods_version_once"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["proposed", "active", "retired", "refused", "withdrawn"])),
                        name="periods_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status__in", ("active", "retired")), _negated=True),
                            models.Q(
                                ("decided_by__isnull", False),
                                models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            ),
                            ("shortens", False),
                            _connector="OR",
                        ),
                        name="periods_in_force_by_somebody_else",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("status", "proposed")),
                            models.Q(models.Q(("status", "proposed"), _negated=True), ("decided_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="periods_decided_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "proposed")), fields=("tenant",), name="periods_one_proposed"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "active")), fields=("tenant",), name="periods_one_in_force"
                    ),
                ],
            },
        ),
        enable_rls("retention_periods"),
        enable_rls("retention_hold"),
        enable_rls("retention_pass"),
        enable_rls("retention_door"),
        migrations.RunPython(install, remove),
    ]
