from django.db import migrations

from agentops.memory import index


def install(apps, schema_editor):
    index.install(schema_editor, schema_editor.connection.vendor)


def remove(apps, schema_editor):
    index.remove(schema_editor, schema_editor.connection.vendor)


class Migration(migrations.Migration):
    dependencies = [("memory", "0002_row_security")]

    operations = [migrations.RunPython(install, remove)]
