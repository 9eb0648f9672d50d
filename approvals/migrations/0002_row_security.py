from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial")]

    operations = [
        enable_rls("approvals_proposal"),
        enable_rls("approvals_decision"),
        enable_rls("approvals_grant"),
    ]
