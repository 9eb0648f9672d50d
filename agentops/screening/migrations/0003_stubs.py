from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("screening", "0002_row_security")]

    operations = [
        migrations.AddField(
            "screening",
            "stubs",
            models.BooleanField(
                default=True,
                help_text="Models are shown stubs in place of what was found in flagged text; people see all of it.",
                verbose_name="keep it from models",
            ),
        )
    ]
