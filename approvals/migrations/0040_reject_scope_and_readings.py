import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agentops.tenancy.scope


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0031_desk_row_security"),
        ("tenancy", "0002_row_security"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="decision",
            name="retry",
            field=models.BooleanField(
                blank=True,
                help_text="Whether the agent may try again in another way, after a rejection.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="decision",
            name="scope",
            field=models.CharField(
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
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("retry__isnull", False), ("scope__in", ["call", "step", "run"]), ("verdict", "reject")),
                    models.Q(("retry__isnull", True), ("scope", "")),
                    _connector="OR",
                ),
                name="decision_scope_only_rejected",
            ),
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
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("proposal", "version", "user"), name="reading_once")],
            },
        ),
    ]
