from django.db import migrations, models
from django.db.models import Q


def leave_room(apps, schema_editor):
    """Runs that are driven together change together: there is room for a new version of every row of a page."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table runs_run set (fillfactor = 30)")


def as_before(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table runs_run set (fillfactor = 60)")


class Migration(migrations.Migration):
    dependencies = [("runs", "0060_output_policy")]

    operations = [
        migrations.RemoveIndex(model_name="run", name="run_due"),
        migrations.AddField(
            model_name="run",
            name="claimable",
            field=models.GeneratedField(
                db_persist=True,
                expression=Q(state__in=["queued", "running", "waiting_retry"], paused_at__isnull=True),
                output_field=models.BooleanField(),
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=Q(claimable=True), fields=["tenant", "-priority", "not_before"], name="run_due"
            ),
        ),
        migrations.RunPython(leave_room, as_before),
    ]
