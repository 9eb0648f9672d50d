from django.db import migrations

from agentops.tenancy.rls import enable_rls


class Migration(migrations.Migration):
    dependencies = [("metrics", "0001_initial")]

    operations = [
        enable_rls("metrics_reader"),
        enable_rls("metrics_runfact"),
        enable_rls("metrics_rollup"),
        enable_rls("metrics_change"),
        enable_rls("metrics_driftchart"),
        enable_rls("metrics_alarm"),
        enable_rls("metrics_webhook"),
        enable_rls("metrics_delivery"),
    ]
