from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("tools", "0010_allowlist_changes")]

    operations = [enable_rls("tools_allowlistchange")]
