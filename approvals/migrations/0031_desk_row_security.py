from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("approvals", "0030_desk")]

    operations = [
        enable_rls("approvals_bandrule"),
        enable_rls("approvals_viewing"),
        enable_rls("approvals_handling"),
        enable_rls("approvals_shift"),
        enable_rls("approvals_absence"),
        enable_rls("approvals_preference"),
        enable_rls("approvals_notification"),
    ]
