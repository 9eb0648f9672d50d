from django.db import migrations


class Migration(migrations.Migration):
    """Only what pages call the rows."""

    dependencies = [("tools", "0022_host_changes")]

    operations = [
        migrations.AlterModelOptions(
            name="toolhealth", options={"ordering": ["tool"], "verbose_name": "tool health record"}
        ),
    ]
