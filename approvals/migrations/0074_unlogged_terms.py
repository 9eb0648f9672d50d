import django.db.models.deletion
from django.db import migrations, models

import agentops.tenancy.scope
from agentops.tenancy.rls import enable_rls
from approvals.proposals import search

TABLES = ("approvals_proposalterm", "approvals_termindex")

# As they were: found by the proposal, which had an index of its own.
OLD_POSTGRESQL = """create or replace function proposal_keep_terms() returns trigger language plpgsql as $$
    begin
        if tg_op = 'UPDATE' then
            delete from approvals_proposalterm where proposal_id = new.id;
        end if;
        if new.status = 'pending' then
            insert into approvals_proposalterm (tenant_id, term, proposal_id)
            select new.tenant_id, term, new.id from jsonb_array_elements_text(new.terms) as term
            on conflict do nothing;
        end if;
        return null;
    end $$"""


def by_terms(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(search.FUNCTION.replace("create function", "create or replace function", 1))


def by_proposal(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(OLD_POSTGRESQL)


def drop_triggers(apps, schema_editor):
    """SQLite alters a table by copying it, which no trigger may name meanwhile."""
    if schema_editor.connection.vendor == "sqlite":
        for statement in search.SQLITE_DROP:
            schema_editor.execute(statement.replace("drop trigger", "drop trigger if exists", 1))


def put_triggers(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for statement in search.SQLITE:
            schema_editor.execute(statement)


def keep_no_log(apps, schema_editor):
    """What is in the tables stays. No tenant's index counts as whole before the sweeper has looked."""
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"alter table {table} set unlogged")


def keep_a_log(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"alter table {table} set logged")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0073_rule_use"), ("tenancy", "0002_row_security")]

    operations = [
        migrations.CreateModel(
            name="TermIndex",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("upto_run", models.UUIDField()),
                ("upto_call", models.CharField(max_length=64)),
                ("whole", models.BooleanField()),
                (
                    "tenant",
                    agentops.tenancy.scope.TenantForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
            options={"constraints": [models.UniqueConstraint(fields=("tenant",), name="term_index_once")]},
        ),
        enable_rls("approvals_termindex"),
        migrations.RunPython(by_terms, by_proposal),
        migrations.RunPython(drop_triggers, put_triggers),
        migrations.AlterField(
            model_name="proposalterm",
            name="proposal",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="found_by",
                to="approvals.proposal",
            ),
        ),
        migrations.RunPython(put_triggers, drop_triggers),
        migrations.RunPython(keep_no_log, keep_a_log),
    ]
