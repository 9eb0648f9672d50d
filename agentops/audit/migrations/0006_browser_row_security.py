from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("audit", "0005_browser")]

    operations = [
        enable_rls("audit_eventterm"),
        enable_rls("audit_tail"),
        enable_rls("audit_verification"),
        enable_rls("audit_export"),
        enable_rls("audit_exportpiece"),
    ]
