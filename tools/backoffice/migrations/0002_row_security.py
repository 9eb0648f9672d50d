from django.db import migrations

from agentops.tenancy.rls import enable_rls

TABLES = (
    "colleague",
    "customer",
    "erasure",
    "inboxmessage",
    "mailbox",
    "order",
    "refund",
    "rolegrant",
    "sentmessage",
    "systemrole",
    "ticket",
)


class Migration(migrations.Migration):
    dependencies = [("backoffice", "0001_initial")]

    operations = [enable_rls(f"backoffice_{table}") for table in TABLES]
