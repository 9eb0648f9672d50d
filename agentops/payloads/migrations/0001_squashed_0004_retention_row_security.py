import django.db.models.deletion
from django.db import migrations, models

import agentops.tenancy.scope
from agentops.payloads import guards
from agentops.tenancy.rls import enable_rls


def install(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in guards.POSTGRESQL if postgresql else guards.SQLITE:
        schema_editor.execute(statement)
    for statement in guards.TOUCH_POSTGRESQL if postgresql else guards.TOUCH_SQLITE:
        schema_editor.execute(statement)


def remove(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in guards.TOUCH_POSTGRESQL_DROP if postgresql else guards.TOUCH_SQLITE_DROP:
        schema_editor.execute(statement)
    for statement in guards.POSTGRESQL_DROP if postgresql else guards.SQLITE_DROP:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    replaces = [
        ("payloads", "0001_initial"),
        ("payloads", "0002_row_security"),
        ("payloads", "0003_retention"),
        ("payloads", "0004_retention_row_security"),
    ]

    initial = True

    dependencies = [
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Payload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("body", models.BinaryField()),
                ("size", models.PositiveBigIntegerField()),
                ("created_at", models.DateTimeField()),
                (
                    "used_at",
                    models.DateTimeField(
                        help_text="When an event named it last; null where only the first did.", null=True
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
                "indexes": [models.Index(fields=["tenant", "created_at", "id"], name="payload_by_age")],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "sha256"), name="payload_once"),
                    models.CheckConstraint(condition=models.Q(("size__gt", 0)), name="payload_not_empty"),
                ],
            },
        ),
        migrations.CreateModel(
            name="PayloadUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("run_id", models.UUIDField()),
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
                    models.UniqueConstraint(fields=("tenant", "sha256", "run_id"), name="payload_use_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="RemovedText",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("payload_id", models.BigIntegerField()),
                ("size", models.PositiveBigIntegerField()),
                ("stored_at", models.DateTimeField()),
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
            ],
            options={
                "indexes": [models.Index(fields=["tenant", "sha256"], name="removed_text_by_hash")],
                "constraints": [models.UniqueConstraint(fields=("tenant", "payload_id"), name="removed_text_once")],
            },
        ),
        enable_rls("payloads_payload"),
        enable_rls("payloads_payloaduse"),
        enable_rls("payloads_removedtext"),
        migrations.RunPython(install, remove),
    ]
