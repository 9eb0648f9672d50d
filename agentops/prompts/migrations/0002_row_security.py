from django.db import migrations

from agentops.prompts import guards
from agentops.tenancy.rls import enable_rls


def install(apps, schema_editor):
    for statement in guards.POSTGRESQL if schema_editor.connection.vendor == "postgresql" else guards.SQLITE:
        schema_editor.execute(statement)


def remove(apps, schema_editor):
    drop = guards.POSTGRESQL_DROP if schema_editor.connection.vendor == "postgresql" else guards.SQLITE_DROP
    for statement in drop:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("prompts", "0001_initial")]

    operations = [enable_rls("prompts_prompt"), migrations.RunPython(install, remove)]
