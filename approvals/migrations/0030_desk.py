import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0021_risk_weights_row_security"),
        ("runs", "0009_lean_indexes"),
        ("tenancy", "0002_row_security"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
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
                "indexes": [
                    models.Index(fields=["tenant", "ends_at"], name="absence_by_end"),
                ],
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
                    "proposal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="handlings", to="approvals.proposal"
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
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("rung", models.PositiveSmallIntegerField()),
                ("created_at", models.DateTimeField()),
                ("taken_at", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
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
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
            name="Viewing",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("version", models.PositiveIntegerField()),
                ("opened", models.JSONField(default=dict)),
                (
                    "proposal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="viewings", to="approvals.proposal"
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
        migrations.RemoveConstraint(
            model_name="decision",
            name="decision_once",
        ),
        migrations.AddField(
            model_name="decision",
            name="final",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name="decision",
            name="undone_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="decision",
            name="view",
            field=models.UUIDField(blank=True, help_text="The card it was given on; each card serves once.", null=True),
        ),
        migrations.AddField(
            model_name="grant",
            name="not_before",
            field=models.DateTimeField(blank=True, help_text="Its decision can be taken back until then.", null=True),
        ),
        migrations.AddField(
            model_name="proposal",
            name="handled",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="How often somebody escalated, extended, edited or asked about it."
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="needs_role",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Only people with this role decide it now.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="release_at",
            field=models.DateTimeField(
                blank=True, help_text="Until this moment an approval can be taken back, and nothing starts.", null=True
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="remind_at",
            field=models.DateTimeField(blank=True, help_text="When the next rung of reminders is due.", null=True),
        ),
        migrations.AddField(
            model_name="proposal",
            name="reminded",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="How many rungs of reminders and escalation it has been through."
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="votes",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="How many verdicts were given on it, whatever became of them."
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("remind_at__isnull", False), ("status", "pending")),
                fields=["tenant", "remind_at"],
                name="proposal_reminder",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.UniqueConstraint(
                condition=models.Q(("final", True), ("undone_at__isnull", True)),
                fields=("proposal",),
                name="decision_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.UniqueConstraint(
                condition=models.Q(("undone_at__isnull", True)),
                fields=("proposal", "version", "user"),
                name="decision_once_each",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.UniqueConstraint(fields=("proposal", "view"), name="decision_one_per_card"),
        ),
    ]
