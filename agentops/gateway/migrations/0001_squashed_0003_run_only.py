import django.db.models.deletion
from django.db import migrations, models

import agentops.tenancy.scope
from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    replaces = [("gateway", "0001_initial"), ("gateway", "0002_row_security"), ("gateway", "0003_run_only")]

    initial = True

    dependencies = [
        ("runs", "0061_claimable"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("actor", models.CharField(help_text="Kind and id of the caller, such as token:12.", max_length=80)),
                ("key", models.CharField(max_length=255)),
                (
                    "fingerprint",
                    models.CharField(help_text="SHA-256 of method, path and canonical body.", max_length=64),
                ),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "run",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="runs.run"
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
                "indexes": [models.Index(fields=["tenant", "expires_at"], name="idempotency_key_expiry")],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "actor", "key"), name="idempotency_key_once")
                ],
            },
        ),
        enable_rls("gateway_idempotencykey"),
    ]
