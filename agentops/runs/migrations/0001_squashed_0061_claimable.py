import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.runs.models
import agentops.tenancy.scope
import agentops.wire.ids
from agentops.tenancy.rls import enable_rls


def leave_room(apps, schema_editor):
    """Runs that are driven together change together: there is room for a new version of every row of a page."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table runs_run set (fillfactor = 30)")


def fill_up(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table runs_run reset (fillfactor)")


class Migration(migrations.Migration):
    replaces = [
        ("runs", "0001_initial"),
        ("runs", "0002_row_security"),
        ("runs", "0003_under_way_index"),
        ("runs", "0004_priority"),
        ("runs", "0005_model_choice"),
        ("runs", "0006_pause_and_last_error"),
        ("runs", "0007_fallback_playbook"),
        ("runs", "0008_submission"),
        ("runs", "0009_lean_indexes"),
        ("runs", "0060_output_policy"),
        ("runs", "0061_claimable"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("halts", "0002_row_security"),
        ("prompts", "0002_row_security"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Playbook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=64)),
                ("version", models.PositiveIntegerField()),
                (
                    "body",
                    models.TextField(help_text="JSON: steps with tools, arguments, conditions (CEL) and answers."),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
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
                "ordering": ("slug", "-version"),
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "slug", "version"), name="playbook_version_unique"),
                ],
            },
        ),
        migrations.CreateModel(
            name="TaskType",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=64)),
                ("name", models.CharField(max_length=120)),
                ("description", models.TextField(blank=True, max_length=2000)),
                (
                    "planner",
                    models.CharField(
                        choices=[
                            ("playbook", "Playbook"),
                            ("model", "Model"),
                            ("auto", "Model if configured, else playbook"),
                        ],
                        default="playbook",
                        max_length=16,
                    ),
                ),
                (
                    "planning",
                    models.CharField(
                        choices=[
                            ("plan_first", "Plan first (the default wherever untrusted content is read)"),
                            ("reactive", "Reactive (one step at a time, everything after untrusted text is tainted)"),
                        ],
                        default="plan_first",
                        max_length=16,
                    ),
                ),
                (
                    "instructions",
                    models.TextField(blank=True, help_text="What the model planner is told to do.", max_length=8000),
                ),
                (
                    "model_names",
                    models.TextField(
                        blank=True,
                        help_text="One model a line, <provider>:<model>, in the order they are tried. Empty: those of the environment.",
                        max_length=1000,
                    ),
                ),
                (
                    "model_parameters",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="JSON object: temperature, top_p, seed, max_tokens, deadline_s, timeout_s.",
                    ),
                ),
                ("input_schema", models.JSONField(help_text="Strict JSON Schema 2020-12 of a task of this type.")),
                (
                    "limits",
                    models.JSONField(
                        default=agentops.runs.models.default_limits, help_text="Checked before the spend."
                    ),
                ),
                (
                    "stop_when",
                    models.TextField(
                        blank=True, help_text="CEL; the run ends well as soon as it holds.", max_length=2000
                    ),
                ),
                (
                    "success_when",
                    models.TextField(
                        blank=True, help_text="CEL; if it does not hold at the end, the run failed.", max_length=2000
                    ),
                ),
                ("decide_within_s", models.PositiveIntegerField(default=86400, help_text="Seconds; silence denies.")),
                (
                    "execute_within_s",
                    models.PositiveIntegerField(default=3600, help_text="Seconds from the decision to execution."),
                ),
                (
                    "priority",
                    models.SmallIntegerField(
                        default=0,
                        help_text="Workers take runs of higher priority first, within the tenant; -100 to 100.",
                        validators=[
                            django.core.validators.MinValueValidator(-100),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "critical",
                    models.BooleanField(
                        default=False,
                        help_text="Its runs have to come through: a fallback playbook takes over when the planner fails.",
                    ),
                ),
                (
                    "output_policy",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="JSON object: actions, personal, hosts. What may stand in answers and in what calls send out; where the tenant has rules as well, the stricter one counts.",
                    ),
                ),
                (
                    "allow_self_approval",
                    models.BooleanField(
                        default=False, help_text="May the person who submitted a task approve its proposals?"
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "fallback",
                    models.ForeignKey(
                        blank=True,
                        help_text="Takes over when a tool keeps failing, the planner gives no usable plan, or the model's budget is used up. It goes on from what is done already.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="fallback_of",
                        to="runs.playbook",
                    ),
                ),
                (
                    "playbook",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="task_types",
                        to="runs.playbook",
                    ),
                ),
                (
                    "prompt",
                    models.ForeignKey(
                        blank=True,
                        help_text="Version of the template the model is told; empty: the built-in one for the way of planning.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="task_types",
                        to="prompts.prompt",
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
                    models.UniqueConstraint(fields=("tenant", "slug"), name="task_type_slug_unique"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
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
                        default="submitted",
                        max_length=16,
                    ),
                ),
                ("title", models.CharField(blank=True, max_length=200)),
                ("input", models.TextField(help_text="Canonical JSON of the validated task.")),
                ("requested_by_token", models.CharField(blank=True, max_length=64)),
                ("created_at", models.DateTimeField()),
                (
                    "priority",
                    models.SmallIntegerField(default=0, help_text="That of its task type when it was submitted."),
                ),
                # From here to the end of the run: what changes together stands together, because what the log keeps of a row
                # that is changed goes from the first byte that differs to the last. What a task brings along stands before.
                ("fence", models.PositiveBigIntegerField(default=0)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("lease_owner", models.CharField(blank=True, max_length=64)),
                ("steps_used", models.PositiveIntegerField(default=0)),
                ("calls_used", models.PositiveIntegerField(default=0)),
                ("denied_calls", models.PositiveIntegerField(default=0)),
                (
                    "claimable",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Q(
                            ("paused_at__isnull", True), ("state__in", ["queued", "running", "waiting_retry"])
                        ),
                        output_field=models.BooleanField(),
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("running", "running"),
                            ("waiting_retry", "waiting_retry"),
                            ("awaiting_approval", "awaiting_approval"),
                            ("awaiting_reconciliation", "awaiting_reconciliation"),
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="queued",
                        max_length=24,
                    ),
                ),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("plan", "plan"),
                            ("select", "select"),
                            ("execute", "execute"),
                            ("verify", "verify"),
                            ("finalize", "finalize"),
                        ],
                        default="plan",
                        max_length=12,
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("not_before", models.DateTimeField(blank=True, null=True)),
                (
                    "rung_at",
                    models.DateTimeField(blank=True, help_text="When a worker was last told to look.", null=True),
                ),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("answer", models.TextField(blank=True)),
                ("failure_code", models.CharField(blank=True, max_length=40)),
                ("failure_message", models.TextField(blank=True)),
                (
                    "last_error",
                    models.CharField(
                        blank=True, help_text="When, what kind, where and on which worker.", max_length=300
                    ),
                ),
                (
                    "last_owner",
                    models.CharField(blank=True, help_text="Whose lease ended before this one began.", max_length=64),
                ),
                ("paused_at", models.DateTimeField(blank=True, help_text="Since when nothing new starts.", null=True)),
                (
                    "halt",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="The stop that holds it; empty for a pause of a person's own.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="halts.halt",
                    ),
                ),
                (
                    "requested_by",
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
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                (
                    "task_type",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="runs.tasktype",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "-created_at", "-id"], name="run_newest"),
                    models.Index(
                        condition=models.Q(("claimable", True)),
                        fields=["tenant", "-priority", "not_before"],
                        name="run_due",
                    ),
                    models.Index(
                        condition=models.Q(("halt__isnull", False)), fields=["tenant", "halt"], name="run_by_halt"
                    ),
                    models.Index(
                        condition=models.Q(("failure_code", "dead_letter")),
                        fields=["tenant", "-created_at", "-id"],
                        name="run_dead_letters",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "queued",
                                    "running",
                                    "waiting_retry",
                                    "awaiting_approval",
                                    "awaiting_reconciliation",
                                    "succeeded",
                                    "failed",
                                    "cancelled",
                                ],
                            )
                        ),
                        name="run_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", False), ("state__in", ["succeeded", "failed", "cancelled"])),
                            models.Q(
                                ("ended_at__isnull", True),
                                (
                                    "state__in",
                                    [
                                        "queued",
                                        "running",
                                        "waiting_retry",
                                        "awaiting_approval",
                                        "awaiting_reconciliation",
                                    ],
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="run_ended_when_terminal",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("halt__isnull", True), ("paused_at__isnull", False), _connector="OR"),
                        name="run_halted_is_paused",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Submission",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("form", models.CharField(max_length=64)),
                ("submitted_at", models.DateTimeField()),
                (
                    "run",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="runs.run"),
                ),
                (
                    "submitted_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
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
                    models.Index(fields=["tenant", "submitted_at"], name="submission_age"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "submitted_by", "form"), name="submission_once_per_form"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ToolCall",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("call_id", models.CharField(max_length=64)),
                ("step_id", models.CharField(max_length=64)),
                ("tool", models.CharField(max_length=64)),
                ("version", models.CharField(max_length=32)),
                ("effect", models.CharField(blank=True, max_length=20)),
                ("digest", models.CharField(blank=True, max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("selected", "selected"),
                            ("denied", "denied"),
                            ("proposed", "proposed"),
                            ("granted", "granted"),
                            ("rejected", "rejected"),
                            ("expired", "expired"),
                            ("withdrawn", "withdrawn"),
                            ("executing", "executing"),
                            ("retrying", "retrying"),
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("unknown", "unknown"),
                        ],
                        max_length=16,
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=40)),
                ("idempotency_key", models.CharField(blank=True, max_length=64)),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "hook_asked",
                    models.BooleanField(
                        default=False, help_text="The tool was asked what became of it, and cannot tell."
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="calls", to="runs.run"
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
                        condition=models.Q(("state", "executing")), fields=["tenant", "run"], name="tool_call_under_way"
                    ),
                    models.Index(
                        condition=models.Q(("state", "unknown")), fields=["tenant", "id"], name="tool_call_unknown"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "run", "call_id"), name="tool_call_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "selected",
                                    "denied",
                                    "proposed",
                                    "granted",
                                    "rejected",
                                    "expired",
                                    "withdrawn",
                                    "executing",
                                    "retrying",
                                    "succeeded",
                                    "failed",
                                    "unknown",
                                ],
                            )
                        ),
                        name="tool_call_state_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OutputRules",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "rules",
                    models.JSONField(blank=True, default=dict, help_text="JSON object: actions, personal, hosts."),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
            ],
            options={
                "verbose_name": "output policy",
                "verbose_name_plural": "output policy",
                "constraints": [models.UniqueConstraint(fields=("tenant",), name="output_rules_once")],
            },
        ),
        enable_rls("runs_playbook"),
        enable_rls("runs_tasktype"),
        enable_rls("runs_run"),
        enable_rls("runs_toolcall"),
        enable_rls("runs_submission"),
        enable_rls("runs_outputrules"),
        migrations.RunPython(leave_room, fill_up),
    ]
