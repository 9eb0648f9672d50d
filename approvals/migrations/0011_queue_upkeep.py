from django.db import migrations

from agentops.tenancy.rls import enable_rls
from approvals.proposals import search

BATCH = 500


def install(apps, schema_editor):
    for statement in search.POSTGRESQL if schema_editor.connection.vendor == "postgresql" else search.SQLITE:
        schema_editor.execute(statement)


def remove(apps, schema_editor):
    drop = search.POSTGRESQL_DROP if schema_editor.connection.vendor == "postgresql" else search.SQLITE_DROP
    for statement in drop:
        schema_editor.execute(statement)


def find_what_waits(apps, schema_editor):
    """Give the proposals that wait already what they are found by."""
    connection = schema_editor.connection
    proposals = apps.get_model("approvals", "Proposal").objects.filter(status="pending")
    for tenant_id in list(apps.get_model("tenancy", "Tenant").objects.values_list("pk", flat=True)):
        if connection.vendor == "postgresql":
            schema_editor.execute("select set_config('app.tenant', %s, true)", [str(tenant_id)])
        for one in proposals.filter(tenant_id=tenant_id).only("arguments", "sentence", "consequence").iterator(BATCH):
            proposals.filter(pk=one.pk).update(**search.found_by(one.arguments, one.sentence, one.consequence))
    if connection.vendor == "postgresql":
        schema_editor.execute("select set_config('app.tenant', '', true)")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0010_queue")]

    operations = [
        enable_rls("approvals_proposalterm"),
        enable_rls("approvals_skip"),
        enable_rls("approvals_savedview"),
        migrations.RunPython(install, remove),
        migrations.RunPython(find_what_waits, migrations.RunPython.noop),
    ]
