import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

import agentops.tenancy.scope


def alarms():
    """Return what endpoints that are there already hear of."""
    return ["alarm.raised"]


class Migration(migrations.Migration):
    """The rows of endpoints were those of `metrics.Webhook`, with their row security."""

    initial = True

    dependencies = [("metrics", "0007_posts_move_out"), ("tenancy", "0002_row_security")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Endpoint",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        ("name", models.CharField(max_length=80)),
                        (
                            "url",
                            models.CharField(
                                help_text="https:// and a public address; redirects are not followed.", max_length=500
                            ),
                        ),
                        ("enabled", models.BooleanField(default=True)),
                        ("secret_version", models.PositiveIntegerField(default=1)),
                        (
                            "tenant",
                            agentops.tenancy.scope.TenantForeignKey(
                                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.tenant"
                            ),
                        ),
                    ],
                    options={
                        "constraints": [models.UniqueConstraint(fields=("tenant", "name"), name="webhook_name_once")],
                    },
                ),
            ],
        ),
        migrations.AddField("endpoint", "kinds", models.JSONField(default=alarms)),
        migrations.AlterField("endpoint", "kinds", models.JSONField(default=list)),
        migrations.AddField(
            "endpoint",
            "task_type",
            models.CharField(blank=True, help_text="The only kind of task it hears of, or empty.", max_length=64),
        ),
        migrations.AddField("endpoint", "disabled_why", models.CharField(blank=True, max_length=200)),
        migrations.AddField(
            "endpoint",
            "former_version",
            models.PositiveIntegerField(default=0, help_text="The oldest that signs until `former_until`."),
        ),
        migrations.AddField("endpoint", "former_until", models.DateTimeField(null=True)),
        migrations.AddField("endpoint", "from_event", models.BigIntegerField(default=0)),
        migrations.AddField("endpoint", "failures", models.PositiveIntegerField(default=0, help_text="In a row.")),
        migrations.AddField("endpoint", "resting_until", models.DateTimeField(null=True)),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                ("kind", models.CharField(max_length=32)),
                ("at", models.DateTimeField(help_text="When what it tells of happened.")),
                ("body", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("sent", "Sent"), ("given_up", "Given up")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("turn", models.PositiveIntegerField(default=0)),
                ("next_at", models.DateTimeField()),
                ("until", models.DateTimeField(help_text="When it is given up.")),
                ("ended_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(blank=True, max_length=200)),
                (
                    "endpoint",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="webhooks.endpoint",
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
                    models.UniqueConstraint(fields=("endpoint", "name"), name="message_once"),
                    models.CheckConstraint(
                        condition=Q(("state__in", ["waiting", "sent", "given_up"])), name="message_state_known"
                    ),
                    models.CheckConstraint(
                        condition=Q(
                            Q(("ended_at__isnull", True), ("state", "waiting")),
                            Q(Q(("state", "waiting"), _negated=True), ("ended_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="message_end_says_when",
                    ),
                ],
                "indexes": [
                    models.Index(
                        condition=Q(("state", "waiting")),
                        fields=["tenant", "endpoint", "next_at", "id"],
                        name="message_waiting",
                    ),
                    models.Index(
                        condition=Q(("ended_at__isnull", False)), fields=["tenant", "ended_at"], name="message_ended"
                    ),
                    models.Index(fields=["tenant", "endpoint", "-id"], name="message_newest"),
                    models.Index(fields=["tenant", "name"], name="message_by_name"),
                ],
            },
        ),
    ]
