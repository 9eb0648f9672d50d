from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("retention", "0001_initial"), ("tenancy", "0002_row_security")]

    operations = [
        enable_rls("retention_periods"),
        enable_rls("retention_hold"),
        enable_rls("retention_pass"),
        enable_rls("retention_door"),
    ]
