import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tools", "0003_tool_health")]

    operations = [
        migrations.AddField(
            model_name="allowlistentry",
            name="rate_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Calls of this tool in a minute, all runs of the tenant together. Replaces the tool's own limit.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(60000),
                ],
            ),
        ),
    ]
