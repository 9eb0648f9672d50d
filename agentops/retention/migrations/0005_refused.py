from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("retention", "0004_door_pinned")]

    operations = [
        migrations.AddField(
            model_name="pass",
            name="refused",
            field=models.BigIntegerField(default=0, help_text="Past their period, and not let go by the database."),
        )
    ]
