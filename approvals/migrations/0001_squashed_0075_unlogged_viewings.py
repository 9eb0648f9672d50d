import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope
import agentops.wire.ids
from agentops.tenancy.rls import enable_rls
from approvals.proposals import search

UNLOGGED = ("approvals_proposalterm", "approvals_termindex", "approvals_viewing")


def install(apps, schema_editor):
    for statement in search.POSTGRESQL if schema_editor.connection.vendor == "postgresql" else search.SQLITE:
        schema_editor.execute(statement)


def remove(apps, schema_editor):
    drop = search.POSTGRESQL_DROP if schema_editor.connection.vendor == "postgresql" else search.SQLITE_DROP
    for statement in drop:
        schema_editor.execute(statement)


def leave_room(apps, schema_editor):
    """Rows change several times: room on their page lets most changes stay there, without new index entries."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table approvals_proposal set (fillfactor = 60)")


def fill_up(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table approvals_proposal reset (fillfactor)")


def keep_no_log(apps, schema_editor):
    """What is in these tables can be had again: they cost nothing in the log, and are empty after a crash."""
    if schema_editor.connection.vendor == "postgresql":
        for table in UNLOGGED:
            schema_editor.execute(f"alter table {table} set unlogged")


def keep_a_log(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in UNLOGGED:
            schema_editor.execute(f"alter table {table} set logged")


class Migration(migrations.Migration):
    replaces = [
        ("approvals", "0001_initial"),
        ("approvals", "0002_row_security"),
        ("approvals", "0003_thawed_to"),
        ("approvals", "0004_lean_indexes"),
        ("approvals", "0010_queue"),
        ("approvals", "0011_queue_upkeep"),
        ("approvals", "0020_risk_weights"),
        ("approvals", "0021_risk_weights_row_security"),
        ("approvals", "0030_desk"),
        ("approvals", "0031_desk_row_security"),
        ("approvals", "0040_reject_scope_and_readings"),
        ("approvals", "0041_readings_row_security"),
        ("approvals", "0050_policy"),
        ("approvals", "0051_policy_row_security"),
        ("approvals", "0073_rule_use"),
        ("approvals", "0074_unlogged_terms"),
        ("approvals", "0075_unlogged_viewings"),
    ]

    initial = True

    dependencies = [
        ("auth", "__first__"),
        ("runs", "0061_claimable"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Proposal",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("call_id", models.CharField(max_length=64)),
                ("step_id", models.CharField(max_length=64)),
                ("tool", models.CharField(max_length=100)),
                ("contract_version", models.CharField(max_length=32)),
                ("contract_digest", models.CharField(max_length=64)),
                ("arguments", models.TextField()),
                ("original_arguments", models.TextField()),
                ("digest", models.CharField(max_length=64)),
                ("provenance", models.JSONField(help_text="JSON pointer of an argument leaf -> where it came from.")),
                ("sentence", models.JSONField()),
                ("consequence", models.JSONField()),
                ("risk_score", models.PositiveSmallIntegerField()),
                (
                    "risk_band",
                    models.CharField(
                        choices=[("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical")],
                        max_length=10,
                    ),
                ),
                ("band_rank", models.PositiveSmallIntegerField(help_text="0 low, 1 medium, 2 high, 3 critical.")),
                ("risk", models.JSONField()),
                ("sensitivity", models.JSONField(default=list)),
                ("policy_rule", models.CharField(max_length=64)),
                (
                    "policy_version",
                    models.PositiveIntegerField(
                        db_default=0,
                        default=0,
                        help_text="The version of the policy that it was judged by; 0 where there was none.",
                    ),
                ),
                (
                    "quorum",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How many people a rule of the policy asks for; the band may ask for more.",
                    ),
                ),
                ("reasons", models.JSONField(default=list, help_text="Why a person is asked, in sentences.")),
                (
                    "attacked",
                    models.JSONField(default=list, help_text="JSON pointers of arguments that untrusted text chose."),
                ),
                ("explanation", models.TextField(blank=True, help_text="The agent's own words; untrusted.")),
                ("tainted", models.BooleanField(default=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("expired", "Expired"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("decide_by", models.DateTimeField()),
                ("execute_by", models.DateTimeField(help_text="The latest moment at which the call may start.")),
                ("created_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("closing_note", models.CharField(blank=True, help_text="Why it was withdrawn.", max_length=200)),
                (
                    "amount_e4",
                    models.BigIntegerField(
                        blank=True,
                        help_text="Money it moves, in ten-thousandths of the unit of its currency.",
                        null=True,
                    ),
                ),
                (
                    "terms",
                    models.JSONField(default=list, help_text="What it is found by (`approvals.proposals.search`)."),
                ),
                (
                    "leased_until",
                    models.DateTimeField(blank=True, help_text="Until then nobody else decides it.", null=True),
                ),
                (
                    "served_at",
                    models.DateTimeField(blank=True, help_text="When the queue chose it for `leased_by`.", null=True),
                ),
                (
                    "held_until",
                    models.DateTimeField(blank=True, help_text="Until then the queue does not show it.", null=True),
                ),
                ("held_note", models.CharField(blank=True, max_length=300)),
                (
                    "thawed_to",
                    models.DateTimeField(
                        blank=True,
                        help_text="Stops and pauses up to this moment have moved the deadlines already.",
                        null=True,
                    ),
                ),
                (
                    "release_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until this moment an approval can be taken back, and nothing starts.",
                        null=True,
                    ),
                ),
                (
                    "needs_role",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Only people with this role decide it now.",
                        max_length=16,
                    ),
                ),
                (
                    "votes",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How many verdicts were given on it, whatever became of them.",
                    ),
                ),
                (
                    "handled",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How often somebody escalated, extended, edited or asked about it.",
                    ),
                ),
                (
                    "remind_at",
                    models.DateTimeField(blank=True, help_text="When the next rung of reminders is due.", null=True),
                ),
                (
                    "reminded",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How many rungs of reminders and escalation it has been through.",
                    ),
                ),
                (
                    "assigned_to",
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
                    "held_by",
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
                    "leased_by",
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
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="proposals", to="runs.run"
                    ),
                ),
                (
                    "task_type",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.tasktype",
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
                    models.Index(fields=["tenant", "status", "decide_by"], name="proposal_deadline"),
                    models.Index(
                        condition=models.Q(("status__in", ("approved", "rejected"))),
                        fields=["tenant", "tool", "-decided_at"],
                        name="proposal_past",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["tenant", "-band_rank", "created_at", "id", "decide_by"],
                        name="proposal_queue",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["tenant", "tool", "-band_rank", "created_at", "id", "decide_by"],
                        name="proposal_by_tool",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["tenant", "task_type", "-band_rank", "created_at", "id", "decide_by"],
                        name="proposal_by_task_type",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["tenant", "tainted", "-band_rank", "created_at", "id", "decide_by"],
                        name="proposal_by_taint",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), ("amount_e4__isnull", False)),
                        fields=["tenant", "amount_e4"],
                        name="proposal_by_amount",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), ("assigned_to__isnull", False)),
                        fields=["tenant", "assigned_to", "-band_rank", "created_at", "id", "decide_by"],
                        name="proposal_by_person",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), ("leased_by__isnull", False)),
                        fields=["tenant", "leased_by"],
                        name="proposal_by_lease",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), ("held_until__isnull", False)),
                        fields=["tenant", "held_until"],
                        name="proposal_by_hold",
                    ),
                    models.Index(
                        condition=models.Q(("remind_at__isnull", False), ("status", "pending")),
                        fields=["tenant", "remind_at"],
                        name="proposal_reminder",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("tenant", "run", "call_id"),
                        name="proposal_one_open_per_call",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["pending", "approved", "rejected", "expired", "withdrawn"])),
                        name="proposal_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("band_rank", 0), ("risk_band", "low")),
                            models.Q(("band_rank", 1), ("risk_band", "medium")),
                            models.Q(("band_rank", 2), ("risk_band", "high")),
                            models.Q(("band_rank", 3), ("risk_band", "critical")),
                            _connector="OR",
                        ),
                        name="proposal_band_known",
                    ),
                    models.CheckConstraint(condition=models.Q(("risk_score__lte", 100)), name="proposal_score_bounded"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("decided_by__isnull", True), ("status", "pending")),
                            models.Q(
                                ("decided_at__isnull", False),
                                ("decided_by__isnull", False),
                                ("status__in", ("approved", "rejected")),
                            ),
                            models.Q(
                                ("decided_at__isnull", False),
                                ("decided_by__isnull", True),
                                ("status__in", ("expired", "withdrawn")),
                            ),
                            _connector="OR",
                        ),
                        name="proposal_decided_by_somebody",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("leased_by__isnull", True), ("leased_until__isnull", True), ("served_at__isnull", True)
                            ),
                            models.Q(("leased_by__isnull", False), ("leased_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="proposal_leased_by_somebody",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("held_by__isnull", True), ("held_note", ""), ("held_until__isnull", True)),
                            models.Q(("held_by__isnull", False), ("held_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="proposal_held_by_somebody",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("rung", models.PositiveSmallIntegerField()),
                ("created_at", models.DateTimeField()),
                ("taken_at", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to="approvals.proposal",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("sent_at__isnull", True)),
                        fields=["tenant", "id"],
                        name="notification_to_send",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("proposal", "user", "rung"), name="notification_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Handling",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("escalate", "Escalated"),
                            ("extend", "Deadline extended"),
                            ("edit", "Edited"),
                            ("remind", "Reminded"),
                        ],
                        max_length=10,
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                ("reason", models.TextField(blank=True)),
                ("until", models.DateTimeField(blank=True, null=True)),
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
                    "user",
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
                    "proposal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="handlings", to="approvals.proposal"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "kind", "-at"], name="handling_by_kind"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ("escalate", "extend", "edit", "remind"))),
                        name="handling_kind_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("call_id", models.CharField(max_length=64)),
                ("source", models.CharField(choices=[("policy", "Policy"), ("proposal", "A person")], max_length=10)),
                ("tool", models.CharField(max_length=100)),
                ("contract_version", models.CharField(max_length=32)),
                ("contract_digest", models.CharField(max_length=64)),
                ("digest", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "not_before",
                    models.DateTimeField(blank=True, help_text="Its decision can be taken back until then.", null=True),
                ),
                (
                    "policy_version",
                    models.PositiveIntegerField(
                        db_default=0,
                        default=0,
                        help_text="The version of the policy that let it be; 0 where there was none.",
                    ),
                ),
                (
                    "policy_rule",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The rule, or the scoped trust, behind it.",
                        max_length=64,
                    ),
                ),
                ("consumed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "thawed_to",
                    models.DateTimeField(
                        blank=True,
                        help_text="Stops and pauses up to this moment have moved `expires_at` already.",
                        null=True,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="grants",
                        to="runs.run",
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
                    "proposal",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="grant",
                        to="approvals.proposal",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "run", "call_id"), name="grant_once_per_call"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("proposal__isnull", False), ("source", "proposal")),
                            models.Q(("proposal__isnull", True), ("source", "policy")),
                            _connector="OR",
                        ),
                        name="grant_has_its_source",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Decision",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                (
                    "verdict",
                    models.CharField(
                        choices=[("approve", "Approved"), ("edit", "Edited and approved"), ("reject", "Rejected")],
                        max_length=10,
                    ),
                ),
                (
                    "reason_code",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("wrong_target", "Wrong target"),
                            ("wrong_amount", "Wrong amount"),
                            ("not_permitted", "Not permitted"),
                            ("not_enough_evidence", "Not enough evidence"),
                            ("suspected_injection", "Suspected injection"),
                            ("duplicate", "Duplicate"),
                            ("wrong_time", "Wrong time"),
                            ("wrong_tool", "Wrong tool"),
                            ("exposes_data", "Exposes data"),
                            ("other", "Other"),
                        ],
                        max_length=40,
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("call", "This call only: the plan goes on without it"),
                            ("step", "This step: the agent plans again"),
                            ("run", "The run: it ends here"),
                        ],
                        db_default="",
                        default="",
                        help_text="How far a rejection reaches.",
                        max_length=4,
                    ),
                ),
                (
                    "retry",
                    models.BooleanField(
                        blank=True,
                        help_text="Whether the agent may try again in another way, after a rejection.",
                        null=True,
                    ),
                ),
                ("note", models.TextField(blank=True)),
                ("digest", models.CharField(max_length=64)),
                (
                    "patch",
                    models.JSONField(
                        default=list, help_text="JSON Patch (RFC 6902) from the agent's arguments to these."
                    ),
                ),
                ("at", models.DateTimeField()),
                ("final", models.BooleanField(db_default=True, default=True)),
                (
                    "view",
                    models.UUIDField(
                        blank=True, help_text="The card it was given on; each card serves once.", null=True
                    ),
                ),
                ("undone_at", models.DateTimeField(blank=True, null=True)),
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
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="approvals.proposal",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "user", "-at"], name="decision_by_person"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("final", True), ("undone_at__isnull", True)),
                        fields=("proposal",),
                        name="decision_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("undone_at__isnull", True)),
                        fields=("proposal", "version", "user"),
                        name="decision_once_each",
                    ),
                    models.UniqueConstraint(fields=("proposal", "view"), name="decision_one_per_card"),
                    models.CheckConstraint(
                        condition=models.Q(("verdict__in", ["approve", "edit", "reject"])),
                        name="decision_verdict_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                (
                                    "reason_code__in",
                                    [
                                        "wrong_target",
                                        "wrong_amount",
                                        "not_permitted",
                                        "not_enough_evidence",
                                        "suspected_injection",
                                        "duplicate",
                                        "wrong_time",
                                        "wrong_tool",
                                        "exposes_data",
                                        "other",
                                    ],
                                ),
                                ("verdict", "reject"),
                            ),
                            models.Q(models.Q(("verdict", "reject"), _negated=True), ("reason_code", "")),
                            _connector="OR",
                        ),
                        name="decision_reason_iff_rejected",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("retry__isnull", False), ("scope__in", ["call", "step", "run"]), ("verdict", "reject")
                            ),
                            models.Q(("retry__isnull", True), ("scope", "")),
                            _connector="OR",
                        ),
                        name="decision_scope_only_rejected",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProposalTerm",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "tenant", "term", "proposal", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("term", models.CharField(max_length=160)),
                (
                    "proposal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="found_by",
                        to="approvals.proposal",
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
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Reading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                ("recorded_at", models.DateTimeField(blank=True, null=True)),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="readings",
                        to="approvals.proposal",
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
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("recorded_at__isnull", True)),
                        fields=["tenant", "id"],
                        name="reading_to_record",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("proposal", "version", "user"), name="reading_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="RiskWeights",
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
                ("body", models.JSONField(help_text="Weights in per cent, thresholds, working hours.")),
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
                "verbose_name_plural": "risk weights",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "version"), name="weights_version_once"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["proposed", "active", "retired", "refused", "withdrawn"])),
                        name="weights_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status__in", ("active", "retired")), _negated=True),
                            models.Q(
                                ("decided_by__isnull", False),
                                models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="weights_in_force_by_somebody_else",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("status", "proposed")),
                            models.Q(models.Q(("status", "proposed"), _negated=True), ("decided_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="weights_decided_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "proposed")), fields=("tenant",), name="weights_one_proposed"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "active")), fields=("tenant",), name="weights_one_in_force"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RuleUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(help_text="What is counted (`approvals.gating.policy.Rate.key`).", max_length=64),
                ),
                ("uses", models.JSONField(help_text="[seconds since 1970, run and call], the oldest first.")),
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
                    models.UniqueConstraint(fields=("tenant", "key"), name="rule_use_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40)),
                ("query", models.CharField(max_length=400)),
                ("created_at", models.DateTimeField()),
                (
                    "created_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
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
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "owner", "name"), name="saved_view_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("owner__isnull", True)),
                        fields=("tenant", "name"),
                        name="saved_view_once_for_all",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ScopedTrust",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=agentops.wire.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("tool", models.CharField(max_length=100)),
                ("contract_digest", models.CharField(max_length=64)),
                ("authority", models.TextField(help_text="Canonical JSON of the authority arguments that it covers.")),
                ("given_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "given_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="trusts",
                        to="approvals.proposal",
                    ),
                ),
                (
                    "revoked_by",
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
                    "run",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.run",
                    ),
                ),
                (
                    "task_type",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="runs.tasktype",
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
                        condition=models.Q(("revoked_at__isnull", True)),
                        fields=["tenant", "ends_at"],
                        name="trust_in_force",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("proposal",), name="trust_once_per_proposal"),
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("given_at"))), name="trust_has_a_length"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("revoked_at__isnull", True), ("revoked_by__isnull", True)),
                            models.Q(("revoked_at__isnull", False), ("revoked_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="trust_revoked_by_somebody",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Shift",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "on-call shift",
                "indexes": [
                    models.Index(fields=["tenant", "ends_at"], name="shift_by_end"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="shift_has_a_length"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Skip",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("not_mine", "Somebody else should judge it"),
                            ("waiting", "I am waiting for an answer"),
                            ("conflict", "I have a conflict of interest"),
                            ("other", "Other"),
                        ],
                        max_length=20,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=300)),
                ("at", models.DateTimeField()),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="skips",
                        to="approvals.proposal",
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
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("proposal", "user"), name="skip_once"),
                    models.CheckConstraint(
                        condition=models.Q(("reason__in", ["not_mine", "waiting", "conflict", "other"])),
                        name="skip_reason_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TermIndex",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("upto_run", models.UUIDField()),
                ("upto_call", models.CharField(max_length=64)),
                ("whole", models.BooleanField()),
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
                    models.UniqueConstraint(fields=("tenant",), name="term_index_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Viewing",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("version", models.PositiveIntegerField()),
                ("opened", models.JSONField(default=dict)),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="viewings",
                        to="approvals.proposal",
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
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Absence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "delegate",
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
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["tenant", "ends_at"], name="absence_by_end")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="absence_has_a_length"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("user", models.F("delegate")), _negated=True),
                        name="absence_by_somebody_else",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BandRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "band",
                    models.CharField(
                        choices=[("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical")],
                        max_length=10,
                    ),
                ),
                (
                    "release_s",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Seconds in which an approval can be taken back, 0 to 900.",
                        null=True,
                        verbose_name="release delay",
                    ),
                ),
                (
                    "reading_s",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Seconds from opening the card to the earliest approval.",
                        null=True,
                        verbose_name="reading window",
                    ),
                ),
                (
                    "rationale_chars",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Characters of a reason that an approval needs.",
                        null=True,
                        verbose_name="reason",
                    ),
                ),
                (
                    "attestations",
                    models.PositiveSmallIntegerField(
                        blank=True, help_text="How many values have to be picked out of near misses.", null=True
                    ),
                ),
                (
                    "approvers",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="How many people have to approve; none of them sees what the others said.",
                        null=True,
                    ),
                ),
                (
                    "step_up",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("never", "Never"),
                            ("recent", "When they last did more than 30 minutes ago"),
                            ("always", "For every decision"),
                        ],
                        max_length=10,
                        verbose_name="sign in again",
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
                "verbose_name": "friction of a band",
                "verbose_name_plural": "friction of bands",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "band"), name="bandrule_once"),
                    models.CheckConstraint(
                        condition=models.Q(("release_s__isnull", True), ("release_s__lte", 900), _connector="OR"),
                        name="bandrule_release_bounded",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PolicyVersion",
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
                ("body", models.JSONField(help_text="The rules, in the words of the file.")),
                ("effective_at", models.DateTimeField(help_text="From when it counts; never before it was published.")),
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
                "indexes": [
                    models.Index(
                        condition=models.Q(("status__in", ("active", "retired"))),
                        fields=["tenant", "-version"],
                        name="policy_published",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "version"), name="policy_version_once"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["proposed", "active", "retired", "refused", "withdrawn"])),
                        name="policy_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status__in", ("active", "retired")), _negated=True),
                            models.Q(
                                ("decided_by__isnull", False),
                                models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="policy_in_force_by_somebody_else",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("status", "proposed")),
                            models.Q(models.Q(("status", "proposed"), _negated=True), ("decided_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="policy_decided_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "proposed")), fields=("tenant",), name="policy_one_proposed"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Preference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "undo_s",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Seconds in which my approvals can be taken back, if that is longer than the band's.",
                    ),
                ),
                (
                    "reminders",
                    models.BooleanField(default=True, help_text="Send me e-mails about what waits too long."),
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
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "user"), name="preference_once"),
                    models.CheckConstraint(condition=models.Q(("undo_s__lte", 120)), name="preference_undo_bounded"),
                ],
            },
        ),
        enable_rls("approvals_proposal"),
        enable_rls("approvals_decision"),
        enable_rls("approvals_grant"),
        enable_rls("approvals_proposalterm"),
        enable_rls("approvals_skip"),
        enable_rls("approvals_savedview"),
        enable_rls("approvals_riskweights"),
        enable_rls("approvals_bandrule"),
        enable_rls("approvals_viewing"),
        enable_rls("approvals_handling"),
        enable_rls("approvals_shift"),
        enable_rls("approvals_absence"),
        enable_rls("approvals_preference"),
        enable_rls("approvals_notification"),
        enable_rls("approvals_reading"),
        enable_rls("approvals_policyversion"),
        enable_rls("approvals_ruleuse"),
        enable_rls("approvals_termindex"),
        enable_rls("approvals_scopedtrust"),
        migrations.RunPython(install, remove),
        migrations.RunPython(leave_room, fill_up),
        migrations.RunPython(keep_no_log, keep_a_log),
    ]
