from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("metrics", "0004_aside")]

    operations = [enable_rls("metrics_aside")]
