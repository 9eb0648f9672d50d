from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [enable_rls("audit_stream"), enable_rls("audit_event")]
