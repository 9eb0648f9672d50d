from django.db import migrations

from agentops.retention import guards


def pin(apps, schema_editor):
    guards.pin(schema_editor, schema_editor.connection.vendor)


def unpin(apps, schema_editor):
    guards.unpin(schema_editor, schema_editor.connection.vendor)


class Migration(migrations.Migration):
    dependencies = [("retention", "0003_narrow_door")]

    operations = [migrations.RunPython(pin, unpin)]
