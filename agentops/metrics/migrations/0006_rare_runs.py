from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("metrics", "0005_aside_row_security")]

    operations = [
        migrations.AddIndex(
            model_name="runfact",
            index=models.Index(
                fields=["tenant", "outcome", "-ended_at", "-id"],
                condition=Q(outcome__in=("failed", "cancelled")),
                name="run_fact_ended_badly",
            ),
        ),
        migrations.AddIndex(
            model_name="runfact",
            index=models.Index(
                fields=["tenant", "-ended_at", "-id"], condition=Q(tool_errors__gt=0), name="run_fact_tool_errors"
            ),
        ),
        migrations.AddIndex(
            model_name="runfact",
            index=models.Index(
                fields=["tenant", "task_type", "-ended_at", "-id"],
                condition=Q(overrides__gt=0),
                name="run_fact_overridden",
            ),
        ),
    ]
