from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial"), ("tenancy", "0002_row_security")]

    operations = [enable_rls("gateway_idempotencykey")]
