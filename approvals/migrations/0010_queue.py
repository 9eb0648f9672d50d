import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0004_lean_indexes"),
        ("runs", "0009_lean_indexes"),
        ("tenancy", "0002_row_security"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
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
        migrations.RemoveIndex(
            model_name="proposal",
            name="proposal_queue",
        ),
        migrations.AddField(
            model_name="proposal",
            name="amount_e4",
            field=models.BigIntegerField(
                blank=True, help_text="Money it moves, in ten-thousandths of the unit of its currency.", null=True
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="assigned_to",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="held_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="held_note",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name="proposal",
            name="held_until",
            field=models.DateTimeField(blank=True, help_text="Until then the queue does not show it.", null=True),
        ),
        migrations.AddField(
            model_name="proposal",
            name="leased_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="leased_until",
            field=models.DateTimeField(blank=True, help_text="Until then nobody else decides it.", null=True),
        ),
        migrations.AddField(
            model_name="proposal",
            name="served_at",
            field=models.DateTimeField(blank=True, help_text="When the queue chose it for `leased_by`.", null=True),
        ),
        migrations.AddField(
            model_name="proposal",
            name="terms",
            field=models.JSONField(default=list, help_text="What it is found by (`approvals.proposals.search`)."),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["tenant", "-band_rank", "created_at", "id", "decide_by"],
                name="proposal_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["tenant", "tool", "-band_rank", "created_at", "id", "decide_by"],
                name="proposal_by_tool",
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["tenant", "task_type", "-band_rank", "created_at", "id", "decide_by"],
                name="proposal_by_task_type",
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["tenant", "tainted", "-band_rank", "created_at", "id", "decide_by"],
                name="proposal_by_taint",
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending"), ("amount_e4__isnull", False)),
                fields=["tenant", "amount_e4"],
                name="proposal_by_amount",
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending"), ("assigned_to__isnull", False)),
                fields=["tenant", "assigned_to", "-band_rank", "created_at", "id", "decide_by"],
                name="proposal_by_person",
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending"), ("leased_by__isnull", False)),
                fields=["tenant", "leased_by"],
                name="proposal_by_lease",
            ),
        ),
        migrations.AddIndex(
            model_name="proposal",
            index=models.Index(
                condition=models.Q(("status", "pending"), ("held_until__isnull", False)),
                fields=["tenant", "held_until"],
                name="proposal_by_hold",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("leased_by__isnull", True), ("leased_until__isnull", True), ("served_at__isnull", True)),
                    models.Q(("leased_by__isnull", False), ("leased_until__isnull", False)),
                    _connector="OR",
                ),
                name="proposal_leased_by_somebody",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("held_by__isnull", True), ("held_note", ""), ("held_until__isnull", True)),
                    models.Q(("held_by__isnull", False), ("held_until__isnull", False)),
                    _connector="OR",
                ),
                name="proposal_held_by_somebody",
            ),
        ),
    ]
