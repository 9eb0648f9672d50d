from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("regression", "0003_rules_and_rehearsals")]

    operations = [enable_rls("regression_rules"), enable_rls("regression_rehearsal")]
