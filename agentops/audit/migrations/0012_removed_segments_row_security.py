from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("audit", "0011_removed_segments")]

    operations = [enable_rls("audit_removedsegment")]
