from django.db import migrations


class Migration(migrations.Migration):
    """The rows stay as they are, under another name; `webhooks.0001_initial` takes them over."""

    dependencies = [("metrics", "0006_rare_runs")]

    operations = [migrations.AlterModelTable("Webhook", "webhooks_endpoint")]
