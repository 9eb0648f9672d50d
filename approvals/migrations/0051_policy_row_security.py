from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("approvals", "0050_policy")]

    operations = [enable_rls("approvals_policyversion"), enable_rls("approvals_scopedtrust")]
