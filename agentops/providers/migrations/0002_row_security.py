from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_initial")]

    operations = [enable_rls("providers_modelprice")]
