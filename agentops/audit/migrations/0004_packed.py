from django.db import migrations, models

import agentops.audit.packing
from agentops.audit import guards


class AlterBody(migrations.AlterField):
    """Store texts as bytes: as they are on PostgreSQL, and with the triggers out of the way where SQLite copies."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        self._alter(schema_editor, "bytea using convert_to(body, 'UTF8')", app_label, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        self._alter(schema_editor, "text using convert_from(body, 'UTF8')", app_label, from_state, to_state)

    def _alter(self, schema_editor, kind, app_label, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"alter table audit_event alter column body type {kind}")
            return
        guards.remove(schema_editor, "sqlite")
        super().database_forwards(app_label, schema_editor, from_state, to_state)
        guards.install(schema_editor, "sqlite")


def add_time(apps, schema_editor):
    """Rows arrive in the order of time: a block range index finds them and costs nearly nothing to keep."""
    using = "using brin (at)" if schema_editor.connection.vendor == "postgresql" else "(tenant_id, at)"
    schema_editor.execute(f"create index event_by_time on audit_event {using}")


def remove_time(apps, schema_editor):
    schema_editor.execute("drop index event_by_time")


def leave_room(apps, schema_editor):
    """Heads move with every step: room on the page lets them stay there, without new index entries."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_stream set (fillfactor = 60)")


def fill_up(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table audit_stream reset (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_append_only"), ("tenancy", "0002_row_security")]

    operations = [
        migrations.RemoveIndex(model_name="event", name="event_by_actor"),
        migrations.RemoveIndex(model_name="event", name="event_by_run"),
        migrations.RemoveIndex(model_name="event", name="event_by_subject"),
        migrations.RemoveIndex(model_name="event", name="event_by_time"),
        AlterBody(model_name="event", name="body", field=agentops.audit.packing.PackedTextField()),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("actor_kind", "worker"), _negated=True),
                fields=["tenant", "actor_kind", "actor_id", "id"],
                name="event_by_actor",
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("subject_kind__in", ["", "run", "call", "step"]), _negated=True),
                fields=["tenant", "subject_kind", "subject_id", "id"],
                name="event_by_subject",
            ),
        ),
        migrations.RunPython(add_time, remove_time),
        migrations.RunPython(leave_room, fill_up),
    ]
