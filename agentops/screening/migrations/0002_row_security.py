from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("screening", "0001_initial")]

    operations = [enable_rls("screening_screening")]
