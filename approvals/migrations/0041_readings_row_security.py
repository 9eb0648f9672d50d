from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("approvals", "0040_reject_scope_and_readings")]

    operations = [enable_rls("approvals_reading")]
