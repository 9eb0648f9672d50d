import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.audit.packing
import agentops.tenancy.scope
import agentops.wire.ids
from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    replaces = [
        ("regression", "0001_initial"),
        ("regression", "0002_row_security"),
        ("regression", "0003_rules_and_rehearsals"),
        ("regression", "0004_rules_and_rehearsals_row_security"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Rules",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("task_type", models.SlugField(max_length=64)),
                ("policy_version", models.PositiveIntegerField(help_text="0 where no policy was published.")),
                ("policy", models.JSONField(help_text="The rules of that version, as they are stored.")),
                (
                    "allowlist_version",
                    models.PositiveIntegerField(help_text="Of the newest change of the allowlist; 0 for none."),
                ),
                ("allowlist", models.JSONField(help_text="Rule by tool.")),
                ("digest", models.CharField(help_text="SHA-256 of all that but the versions.", max_length=64)),
                ("made_at", models.DateTimeField()),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "digest", "policy_version", "allowlist_version"), name="rules_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Case",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("suite", models.SlugField(max_length=64)),
                ("slug", models.SlugField(max_length=80)),
                ("task_type", models.SlugField(max_length=64)),
                ("title", models.CharField(max_length=200)),
                ("body", models.TextField()),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("run", "Promoted from a run"),
                            ("rejection", "Made from a rejection"),
                            ("file", "Taken from a file"),
                        ],
                        max_length=12,
                    ),
                ),
                ("source_run", models.UUIDField(blank=True, null=True)),
                ("source_proposal", models.UUIDField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "retired_at",
                    models.DateTimeField(blank=True, help_text="Since when it is not run any more.", null=True),
                ),
                (
                    "quarantined_until",
                    models.DateTimeField(blank=True, help_text="Until then a failure fails nothing.", null=True),
                ),
                ("quarantine_reason", models.CharField(blank=True, max_length=300)),
                (
                    "created_by",
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
                (
                    "rules",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="What it is decided by; empty for the rules of the day.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="regression.rules",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "source_run"], name="case_by_run"),
                    models.Index(fields=["tenant", "source_proposal"], name="case_by_proposal"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "suite", "slug"), name="case_slug_once"),
                    models.CheckConstraint(
                        condition=models.Q(("source__in", ["run", "rejection", "file"])), name="case_source_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("quarantined_until__isnull", True),
                            models.Q(("quarantine_reason", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="case_quarantined_why",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SuiteRun",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("suite", models.SlugField(max_length=64)),
                ("release", models.CharField(max_length=120)),
                ("repeat", models.PositiveSmallIntegerField()),
                ("verdict", models.CharField(choices=[("passed", "Passed"), ("failed", "Failed")], max_length=8)),
                (
                    "summary",
                    models.JSONField(
                        help_text="pass^k, counts, and the comparison with the baseline (`reports.summary`)."
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                (
                    "baseline",
                    models.ForeignKey(
                        blank=True,
                        help_text="What it is compared with.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="regression.suiterun",
                    ),
                ),
                (
                    "started_by",
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
                "indexes": [
                    models.Index(fields=["tenant", "-started_at", "-id"], name="suite_run_newest"),
                    models.Index(fields=["tenant", "suite", "-started_at"], name="suite_run_by_suite"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("verdict__in", ["passed", "failed"])), name="suite_run_verdict_known"
                    ),
                    models.CheckConstraint(condition=models.Q(("repeat__gte", 1)), name="suite_run_repeats"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Rehearsal",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("suite", models.SlugField(max_length=64)),
                ("release", models.CharField(max_length=120)),
                ("repeat", models.PositiveSmallIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("cancelled", "Cancelled"),
                            ("failed", "Could not be run"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("trials", models.PositiveIntegerField(help_text="How many there are to run.")),
                ("done", models.PositiveIntegerField(default=0)),
                ("attempts", models.PositiveSmallIntegerField(default=0, help_text="How often a worker has begun.")),
                ("fence", models.PositiveIntegerField(default=0)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
                (
                    "asked_by",
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
                (
                    "suite_run",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="regression.suiterun",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "-asked_at"], name="rehearsal_newest"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "running", "done", "cancelled", "failed"])),
                        name="rehearsal_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", True), ("state__in", ("waiting", "running"))),
                            models.Q(
                                models.Q(("state__in", ("waiting", "running")), _negated=True),
                                ("ended_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="rehearsal_ended_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(models.Q(("state", "done"), _negated=True), ("suite_run__isnull", True)),
                            models.Q(("state", "done"), ("suite_run__isnull", False)),
                            _connector="OR",
                        ),
                        name="rehearsal_done_has_shown",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ("waiting", "running"))),
                        fields=("tenant", "suite"),
                        name="rehearsal_one_under_way",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CaseResult",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=80)),
                ("title", models.CharField(max_length=200)),
                ("passes", models.PositiveSmallIntegerField()),
                ("trials", models.PositiveSmallIntegerField()),
                ("quarantined", models.BooleanField(default=False)),
                (
                    "problems",
                    models.JSONField(
                        default=list, help_text="What the first failing trial did wrong: {code, message} each."
                    ),
                ),
                ("steps", models.PositiveIntegerField(default=0)),
                ("calls", models.PositiveIntegerField(default=0)),
                ("duration_ms", models.PositiveIntegerField(default=0)),
                ("record", agentops.audit.packing.PackedTextField(blank=True, default="")),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "suite_run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="results",
                        to="regression.suiterun",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "suite_run", "slug"), name="case_result_once"),
                    models.CheckConstraint(
                        condition=models.Q(("passes__lte", models.F("trials"))), name="case_result_passes_bounded"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ImportedRun",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("submitted", "Submitted in the browser"),
                            ("api", "API"),
                            ("schedule", "Schedule"),
                            ("regression", "Regression"),
                            ("replay", "Replay"),
                            ("fork", "Fork"),
                        ],
                        default="replay",
                        max_length=16,
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("title", models.CharField(blank=True, max_length=200)),
                ("task_type", models.CharField(blank=True, max_length=64)),
                (
                    "source",
                    models.CharField(blank=True, help_text="Tenant and id it claims to come from.", max_length=120),
                ),
                ("body", agentops.audit.packing.PackedTextField()),
                ("imported_at", models.DateTimeField()),
                (
                    "imported_by",
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
                "indexes": [models.Index(fields=["tenant", "-imported_at"], name="imported_run_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "digest"), name="imported_run_once"),
                    models.CheckConstraint(condition=models.Q(("origin", "replay")), name="imported_run_is_a_replay"),
                ],
            },
        ),
        enable_rls("regression_importedrun"),
        enable_rls("regression_case"),
        enable_rls("regression_suiterun"),
        enable_rls("regression_caseresult"),
        enable_rls("regression_rules"),
        enable_rls("regression_rehearsal"),
    ]
