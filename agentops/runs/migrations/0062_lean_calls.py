from django.db import migrations, models


def find_unsettled(apps, schema_editor):
    """Whoever settles calls looks closer; a call too many does no harm."""
    calls = apps.get_model("runs", "ToolCall").objects.filter(state__in=("executing", "unknown"))
    postgresql = schema_editor.connection.vendor == "postgresql"
    for tenant_id in list(apps.get_model("tenancy", "Tenant").objects.values_list("pk", flat=True)):
        if postgresql:
            schema_editor.execute("select set_config('app.tenant', %s, true)", [str(tenant_id)])
        calls.filter(tenant_id=tenant_id).update(unsettled=True)
    if postgresql:
        schema_editor.execute("select set_config('app.tenant', '', true)")


def leave_room(apps, schema_editor):
    """A call that is written as an intent changes on its page until its outcome is there."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table runs_toolcall set (fillfactor = 60)")


def fill_up(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table runs_toolcall reset (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("runs", "0061_claimable"), ("tenancy", "0002_row_security")]

    operations = [
        migrations.AddField(
            model_name="toolcall",
            name="unsettled",
            field=models.BooleanField(
                default=False, help_text="No worker will find out what became of it: the sweeper has to, or a person."
            ),
        ),
        migrations.RunPython(find_unsettled, migrations.RunPython.noop),
        migrations.RemoveIndex(model_name="toolcall", name="tool_call_under_way"),
        migrations.RemoveIndex(model_name="toolcall", name="tool_call_unknown"),
        migrations.AddIndex(
            model_name="toolcall",
            index=models.Index(
                condition=models.Q(("unsettled", True)), fields=["tenant", "id"], name="tool_call_unsettled"
            ),
        ),
        migrations.RemoveField(model_name="toolcall", name="digest"),
        migrations.RemoveField(model_name="toolcall", name="idempotency_key"),
        migrations.RunPython(leave_room, fill_up),
    ]
