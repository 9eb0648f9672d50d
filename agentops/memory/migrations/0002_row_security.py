from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("memory", "0001_initial")]

    operations = [
        enable_rls("memory_fact"),
        enable_rls("memory_descent"),
    ]
