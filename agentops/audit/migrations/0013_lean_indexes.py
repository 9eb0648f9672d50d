import django.db.models.deletion
from django.db import migrations

import agentops.tenancy.scope


def remove_time(apps, schema_editor):
    """The hours say between which ids the events of a time are, which is how they are looked for."""
    schema_editor.execute("drop index event_by_time")


def add_time(apps, schema_editor):
    using = "using brin (at)" if schema_editor.connection.vendor == "postgresql" else "(tenant_id, at)"
    schema_editor.execute(f"create index event_by_time on audit_event {using}")


def one_key(apps, schema_editor):
    """The tenant and the id are the key: of two indexes that both find a row by its id, every step writes one."""
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute("alter table audit_event drop constraint audit_event_pkey")
    schema_editor.execute("drop index event_by_id")
    schema_editor.execute("alter table audit_event add constraint event_by_id primary key (tenant_id, id)")


def two_indexes(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute("alter table audit_event drop constraint event_by_id")
    schema_editor.execute("create index event_by_id on audit_event (tenant_id, id)")
    schema_editor.execute("alter table audit_event add constraint audit_event_pkey primary key (id)")


def leave_room(apps, schema_editor):
    """Heads of runs that are driven together move together: there is room for a new version of every row of a page."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_stream set (fillfactor = 30)")


def as_before(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_stream set (fillfactor = 60)")


class Migration(migrations.Migration):
    dependencies = [("audit", "0012_removed_segments_row_security"), ("tenancy", "0002_row_security")]

    operations = [
        migrations.RunPython(remove_time, add_time),
        migrations.RunPython(one_key, two_indexes),
        migrations.SeparateDatabaseAndState(
            # SQLite would copy the table, and lose the triggers that keep it.
            database_operations=[
                migrations.RunSQL(
                    "drop index audit_stream_tenant_id_27161a16",
                    "create index audit_stream_tenant_id_27161a16 on audit_stream (tenant_id)",
                )
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="stream",
                    name="tenant",
                    field=agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
        ),
        migrations.RunPython(leave_room, as_before),
    ]
