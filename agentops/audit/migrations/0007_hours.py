import django.db.models.deletion
from django.db import migrations, models

import agentops.tenancy.scope
from agentops.tenancy.rls import enable_rls

_FILL = (
    "insert into audit_hour (tenant_id, start, first, last) select tenant_id, {hour}, min(id), max(id) "
    "from audit_event where tenant_id = %s group by 1, 2"
)
_HOUR = {
    "postgresql": "date_trunc('hour', at at time zone 'UTC') at time zone 'UTC'",
    "sqlite": "substr(at, 1, 13) || ':00:00'",
}


def fill(apps, schema_editor):
    """Note between which row ids the hours of the record lie that is there already."""
    vendor = schema_editor.connection.vendor
    statement = _FILL.format(hour=_HOUR[vendor])
    for tenant_id in list(apps.get_model("tenancy", "Tenant").objects.values_list("pk", flat=True)):
        if vendor == "postgresql":
            schema_editor.execute("select set_config('app.tenant', %s, true)", [str(tenant_id)])
        schema_editor.execute(statement, [tenant_id])
    if vendor == "postgresql":
        schema_editor.execute("select set_config('app.tenant', '', true)")


class Migration(migrations.Migration):
    dependencies = [("audit", "0006_browser_row_security"), ("tenancy", "0002_row_security")]

    operations = [
        migrations.CreateModel(
            name="Hour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start", models.DateTimeField()),
                ("first", models.BigIntegerField()),
                ("last", models.BigIntegerField()),
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
                "constraints": [models.UniqueConstraint(fields=("tenant", "start"), name="hour_once")],
            },
        ),
        enable_rls("audit_hour"),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
