import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("budgets", "0002_row_security"),
        ("runs", "0060_output_policy"),
        ("tenancy", "0002_row_security"),
    ]

    operations = [
        migrations.AlterField(
            model_name="reservation",
            name="kind",
            field=models.CharField(
                choices=[("plan", "plan"), ("call", "call"), ("review", "review"), ("run", "run"), ("trial", "trial")],
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="run",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="runs.run"
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "trial"), ("run__isnull", True)),
                    models.Q(models.Q(("kind", "trial"), _negated=True), ("run__isnull", False)),
                    _connector="OR",
                ),
                name="reservation_of_a_run",
            ),
        ),
    ]
