from django.db import migrations

from agentops.retention import guards


def install(apps, schema_editor):
    guards.install(schema_editor, schema_editor.connection.vendor)


def remove(apps, schema_editor):
    guards.remove(schema_editor, schema_editor.connection.vendor)


class Migration(migrations.Migration):
    dependencies = [
        ("retention", "0002_row_security"),
        ("audit", "0012_removed_segments_row_security"),
        ("payloads", "0004_retention_row_security"),
    ]

    operations = [migrations.RunPython(install, remove)]
