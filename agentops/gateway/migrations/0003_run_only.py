from django.db import migrations, models


class Migration(migrations.Migration):
    """A repeated request is answered with its run as it is by then, so the first answer is not kept any more."""

    dependencies = [("gateway", "0002_row_security")]

    operations = [
        migrations.RemoveConstraint("idempotencykey", "idempotency_key_answered"),
        # The default is for the way back: every row that is there stands for a request that was accepted.
        migrations.AlterField("idempotencykey", "status", models.PositiveSmallIntegerField(null=True, default=202)),
        migrations.RemoveField("idempotencykey", "status"),
        migrations.RemoveField("idempotencykey", "body"),
    ]
