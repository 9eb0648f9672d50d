import django.db.models.deletion
from django.db import migrations, models

import agentops.tenancy.scope


class Migration(migrations.Migration):
    dependencies = [("runs", "0062_lean_calls"), ("tenancy", "0002_row_security")]

    operations = [
        migrations.AlterField(
            model_name="toolcall",
            name="tenant",
            field=agentops.tenancy.scope.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenancy.tenant",
            ),
        ),
        migrations.AlterField(
            model_name="toolcall",
            name="run",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="calls",
                to="runs.run",
            ),
        ),
    ]
