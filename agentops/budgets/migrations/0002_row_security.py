from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("budgets", "0001_initial")]

    operations = [
        enable_rls("budgets_budget"),
        enable_rls("budgets_account"),
        enable_rls("budgets_reservation"),
    ]
