import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.audit.packing
import agentops.tenancy.scope
from agentops.audit import guards
from agentops.tenancy.rls import enable_rls


def install(apps, schema_editor):
    guards.install(schema_editor, schema_editor.connection.vendor)


def remove(apps, schema_editor):
    guards.remove(schema_editor, schema_editor.connection.vendor)


def one_key(apps, schema_editor):
    """The tenant and the id are the key: of two indexes that both find a row by its id, every step writes one."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_event drop constraint audit_event_pkey")
        # Indexes are made last, so this one is not there yet.
        later = schema_editor.deferred_sql
        later[:] = [one for one in later if '"event_by_id"' not in str(one)]
        schema_editor.execute("alter table audit_event add constraint event_by_id primary key (tenant_id, id)")


def two_indexes(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_event drop constraint event_by_id")
        schema_editor.execute("create index event_by_id on audit_event (tenant_id, id)")
        schema_editor.execute("alter table audit_event add constraint audit_event_pkey primary key (id)")


def leave_room(apps, schema_editor):
    """Heads of runs that are driven together move together: there is room for a new version of every row of a page."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_stream set (fillfactor = 30)")


def fill_up(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_stream reset (fillfactor)")


class Migration(migrations.Migration):
    replaces = [
        ("audit", "0001_initial"),
        ("audit", "0002_row_security"),
        ("audit", "0003_append_only"),
        ("audit", "0004_packed"),
        ("audit", "0005_browser"),
        ("audit", "0006_browser_row_security"),
        ("audit", "0007_hours"),
        ("audit", "0011_removed_segments"),
        ("audit", "0012_removed_segments_row_security"),
        ("audit", "0013_lean_indexes"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "format",
                    models.CharField(
                        choices=[("jsonl", "JSONL: canonical events, one a line"), ("csv", "CSV: for spreadsheets")],
                        max_length=5,
                    ),
                ),
                ("filters", models.JSONField(default=dict, help_text="What was typed into the filters.")),
                ("requested_at", models.DateTimeField()),
                ("upto", models.BigIntegerField(help_text="The newest row id when it was asked for.")),
                ("position", models.BigIntegerField(default=0, help_text="The row id that was written last.")),
                ("rows", models.BigIntegerField(default=0)),
                ("size", models.BigIntegerField(default=0, help_text="Bytes, as they will be downloaded.")),
                (
                    "cut",
                    models.BooleanField(
                        default=False, help_text="There were more; another export goes on from `position`."
                    ),
                ),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField()),
                (
                    "requested_by",
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
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="export_newest"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("format__in", ["jsonl", "csv"])), name="export_format_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ExportPiece",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("body", models.BinaryField()),
                (
                    "export",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pieces",
                        to="audit.export",
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
                    models.UniqueConstraint(fields=("export", "number"), name="export_piece_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Hour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start", models.DateTimeField()),
                ("first", models.BigIntegerField()),
                ("last", models.BigIntegerField()),
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
                    models.UniqueConstraint(fields=("tenant", "start"), name="hour_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Stream",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=64)),
                ("seq", models.BigIntegerField(default=0)),
                ("head", models.BinaryField(max_length=32)),
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
                    models.UniqueConstraint(fields=("tenant", "name"), name="stream_name_once"),
                    models.CheckConstraint(condition=models.Q(("seq__gte", 0)), name="stream_seq_not_negative"),
                ],
            },
        ),
        migrations.CreateModel(
            name="RemovedSegment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("upto", models.BigIntegerField()),
                ("events", models.BigIntegerField(help_text="How many were removed with this one.")),
                ("hash", models.BinaryField(max_length=32)),
                ("newest_at", models.DateTimeField(help_text="When the newest of them happened.")),
                ("removed_at", models.DateTimeField()),
                ("event_id", models.BigIntegerField()),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                (
                    "stream",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="audit.stream"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "stream", "upto"), name="removed_segment_once"),
                    models.CheckConstraint(condition=models.Q(("events__gt", 0)), name="removed_segment_not_empty"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seq", models.BigIntegerField()),
                ("type", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
                ("actor_kind", models.CharField(max_length=16)),
                ("actor_id", models.CharField(max_length=64)),
                ("run_id", models.UUIDField(null=True)),
                ("subject_kind", models.CharField(blank=True, max_length=32)),
                ("subject_id", models.CharField(blank=True, max_length=64)),
                ("tool", models.CharField(blank=True, max_length=128)),
                ("body", agentops.audit.packing.PackedTextField()),
                ("hash", models.BinaryField(max_length=32)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                (
                    "stream",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="audit.stream",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "id"], name="event_by_id"),
                    models.Index(fields=["tenant", "type", "id"], name="event_by_type"),
                    models.Index(
                        condition=models.Q(("actor_kind", "worker"), _negated=True),
                        fields=["tenant", "actor_kind", "actor_id", "id"],
                        name="event_by_actor",
                    ),
                    models.Index(
                        condition=models.Q(("tool", ""), _negated=True),
                        fields=["tenant", "tool", "id"],
                        name="event_by_tool",
                    ),
                    models.Index(
                        condition=models.Q(("subject_kind__in", ["", "run", "call", "step"]), _negated=True),
                        fields=["tenant", "subject_kind", "subject_id", "id"],
                        name="event_by_subject",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("stream", "seq"), name="event_seq_once"),
                    models.CheckConstraint(condition=models.Q(("seq__gte", 1)), name="event_seq_positive"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Tail",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reader", models.CharField(max_length=20)),
                ("position", models.BigIntegerField(default=0, help_text="Every event up to this row id was read.")),
                ("horizon", models.BigIntegerField(default=0, help_text="The newest row id when it was last looked.")),
                ("seen_at", models.DateTimeField(help_text="When that was, by the clock of the database.", null=True)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "reader"), name="tail_one_per_reader"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("requested_by", models.CharField(blank=True, help_text="Empty for the daily walk.", max_length=150)),
                (
                    "upto",
                    models.BigIntegerField(help_text="The newest row id when it began; what came later is pending."),
                ),
                ("stream_from", models.BigIntegerField(default=0, help_text="The stream that comes next, by row id.")),
                ("seq_from", models.BigIntegerField(default=1, help_text="The event of that stream that comes next.")),
                ("streams", models.BigIntegerField(default=0)),
                ("events", models.BigIntegerField(default=0)),
                ("removed", models.BigIntegerField(default=0, help_text="Events that retention had removed.")),
                ("broken", models.BigIntegerField(default=0)),
                (
                    "findings",
                    models.JSONField(default=list, help_text="The first bad event of each broken stream, 100 at most."),
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
                    models.Index(fields=["tenant", "-id"], name="verification_newest"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)), fields=("tenant",), name="verification_one_at_a_time"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EventTerm",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("term", models.CharField(max_length=120)),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="terms",
                        to="audit.event",
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
                "constraints": [models.UniqueConstraint(fields=("tenant", "term", "event"), name="event_term_once")],
            },
        ),
        enable_rls("audit_stream"),
        enable_rls("audit_eventterm"),
        enable_rls("audit_tail"),
        enable_rls("audit_verification"),
        enable_rls("audit_export"),
        enable_rls("audit_exportpiece"),
        enable_rls("audit_hour"),
        enable_rls("audit_removedsegment"),
        enable_rls("audit_event"),
        migrations.RunPython(install, remove),
        migrations.RunPython(one_key, two_indexes),
        migrations.RunPython(leave_room, fill_up),
    ]
