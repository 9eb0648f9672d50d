from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0001_initial")]

    operations = [
        enable_rls("tenancy_membership", own_user_column="user_id"),
        enable_rls("tenancy_servicetoken"),
    ]
