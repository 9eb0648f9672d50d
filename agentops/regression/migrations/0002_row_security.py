from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("regression", "0001_initial")]

    operations = [
        enable_rls("regression_importedrun"),
        enable_rls("regression_case"),
        enable_rls("regression_suiterun"),
        enable_rls("regression_caseresult"),
    ]
