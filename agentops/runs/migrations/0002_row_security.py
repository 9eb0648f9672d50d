from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial"), ("tenancy", "0002_row_security")]

    operations = [
        enable_rls("runs_playbook"),
        enable_rls("runs_tasktype"),
        enable_rls("runs_run"),
        enable_rls("runs_toolcall"),
    ]
