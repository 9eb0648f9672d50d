import django.db.models.deletion
from django.db import migrations, models


def keep_no_log(apps, schema_editor):
    """What a card's sections were opened for stands in the event of the verdict; after a crash they are opened again."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table approvals_viewing set unlogged")


def keep_a_log(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("alter table approvals_viewing set logged")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0074_unlogged_terms")]

    operations = [
        migrations.AlterField(
            model_name="viewing",
            name="proposal",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="viewings",
                to="approvals.proposal",
            ),
        ),
        migrations.RunPython(keep_no_log, keep_a_log),
    ]
