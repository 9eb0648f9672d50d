from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("approvals", "0020_risk_weights")]

    operations = [enable_rls("approvals_riskweights")]
