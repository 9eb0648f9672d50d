from django.db import migrations

from agentops.retention import guards


def ask(apps, schema_editor):
    guards.ask_the_record(schema_editor, schema_editor.connection.vendor)


def ask_no_more(apps, schema_editor):
    guards.ask_no_more(schema_editor, schema_editor.connection.vendor)


class Migration(migrations.Migration):
    dependencies = [("retention", "0005_refused"), ("tenancy", "0002_row_security")]

    operations = [migrations.RunPython(ask, ask_no_more)]
