from django.db import migrations

from agentops.audit import guards


def install(apps, schema_editor):
    guards.install(schema_editor, schema_editor.connection.vendor)


def remove(apps, schema_editor):
    guards.remove(schema_editor, schema_editor.connection.vendor)


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_row_security")]

    operations = [migrations.RunPython(install, remove)]
