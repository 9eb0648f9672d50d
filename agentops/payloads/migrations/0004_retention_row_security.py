import json

from django.db import migrations

from agentops.payloads import guards
from agentops.payloads.references import references
from agentops.tenancy.rls import enable_rls

BATCH = 500


def install(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in guards.TOUCH_POSTGRESQL if postgresql else guards.TOUCH_SQLITE:
        schema_editor.execute(statement)


def remove(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in guards.TOUCH_POSTGRESQL_DROP if postgresql else guards.TOUCH_SQLITE_DROP:
        schema_editor.execute(statement)


def find_uses(apps, schema_editor):
    """Note which runs name the texts that are there already."""
    connection = schema_editor.connection
    payloads = apps.get_model("payloads", "Payload").objects
    uses = apps.get_model("payloads", "PayloadUse")
    events = apps.get_model("audit", "Event").objects
    for tenant_id in list(apps.get_model("tenancy", "Tenant").objects.values_list("pk", flat=True)):
        if connection.vendor == "postgresql":
            schema_editor.execute("select set_config('app.tenant', %s, true)", [str(tenant_id)])
        if not payloads.filter(tenant_id=tenant_id).exists():
            continue
        rows = events.filter(tenant_id=tenant_id, run_id__isnull=False).values_list("run_id", "body")
        for run_id, body in rows.iterator(BATCH):
            if '"payload":"sha256:' not in body:
                continue
            envelope = json.loads(body)
            members = envelope.get("events") or [{"data": envelope.get("data")}]
            found = {name for one in members if isinstance(one.get("data"), dict) for name in references(one["data"])}
            uses.objects.bulk_create(
                [uses(tenant_id=tenant_id, sha256=name, run_id=run_id) for name in sorted(found)], ignore_conflicts=True
            )
    if connection.vendor == "postgresql":
        schema_editor.execute("select set_config('app.tenant', '', true)")


class Migration(migrations.Migration):
    dependencies = [("payloads", "0003_retention"), ("audit", "0004_packed"), ("tenancy", "0002_row_security")]

    operations = [
        enable_rls("payloads_payloaduse"),
        enable_rls("payloads_removedtext"),
        migrations.RunPython(install, remove),
        migrations.RunPython(find_uses, migrations.RunPython.noop),
    ]
