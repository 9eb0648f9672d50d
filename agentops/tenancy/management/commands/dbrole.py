"""Create the PostgreSQL role that web and worker processes use."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, transaction

# What the runtime role may not do to tables it otherwise writes. TRUNCATE is never granted.
REVOKED = {
    "audit_event": ("UPDATE", "DELETE"),
    "audit_stream": ("DELETE",),
    "django_migrations": ("INSERT", "UPDATE", "DELETE"),
}

# Nearly every statement reads a few rows by an index, at most some thousands. Row security hides from the planner how
# few, so it would start parallel workers, or compile, which takes longer than the whole statement and other people's
# processors.
PLANNED = {"max_parallel_workers_per_gather": "0", "jit": "off"}


class Command(BaseCommand):
    """Create or update the runtime role: no ownership, no BYPASSRLS, no way to change an event."""

    help = (
        "Create or update the PostgreSQL role of the web and worker processes. Run it as the owner of the tables after "
        "every migrate. The password is read from the environment variable RUNTIME_ROLE_PASSWORD; without it the "
        "password stays as it is (a new role then has none)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the name of the role."""
        parser.add_argument("role", help="Name of the runtime role, for example agentops_app.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create, restrict and grant in one transaction."""
        if connection.vendor != "postgresql":
            raise CommandError("Only PostgreSQL has roles; the database in DATABASE_URL is not PostgreSQL.")
        from psycopg import sql

        name = options["role"]
        role = sql.Identifier(name)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("select current_user, current_schema()")
            owner, schema_name = cursor.fetchone()
            cursor.execute(
                "select count(*) from pg_tables where schemaname = %s and tableowner = %s", [schema_name, name]
            )
            if name == owner or cursor.fetchone()[0]:
                raise CommandError(f"{name} owns tables: row-level security needs a role that owns nothing.")
            cursor.execute(
                "select rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication or not rolcanlogin "
                "from pg_roles where rolname = %s",
                [name],
            )
            found = cursor.fetchone()
            attributes = sql.SQL("login nosuperuser nobypassrls nocreatedb nocreaterole noreplication")
            if found is None:
                create = sql.SQL("create role {} {}").format(role, attributes)
                cursor.execute("select rolsuper or rolcreaterole from pg_roles where rolname = current_user")
                if not cursor.fetchone()[0]:
                    raise CommandError(
                        f"{owner} may not create roles. As somebody who may: {create.as_string(cursor.connection)} "
                        "password '...'; then run this again, without RUNTIME_ROLE_PASSWORD."
                    )
                cursor.execute(create)
            elif found[0]:
                # Only a superuser may write these attributes at all, so they are left alone where they are right.
                cursor.execute(sql.SQL("alter role {} {}").format(role, attributes))
            if password := os.environ.get("RUNTIME_ROLE_PASSWORD"):
                cursor.execute(sql.SQL("alter role {} password {}").format(role, sql.Literal(password)))
            schema = sql.Identifier(schema_name)
            rows = sql.SQL("select, insert, update, delete")
            for statement in (
                sql.SQL("revoke create on schema {schema} from {role}, public"),
                sql.SQL("grant usage on schema {schema} to {role}"),
                sql.SQL("revoke all on all tables in schema {schema} from {role}"),
                sql.SQL("grant {rows} on all tables in schema {schema} to {role}"),
                sql.SQL("grant usage, select on all sequences in schema {schema} to {role}"),
                sql.SQL("alter default privileges in schema {schema} grant {rows} on tables to {role}"),
                sql.SQL("alter default privileges in schema {schema} grant usage, select on sequences to {role}"),
            ):
                cursor.execute(statement.format(schema=schema, role=role, rows=rows))
            for table, privileges in REVOKED.items():
                cursor.execute(
                    sql.SQL("revoke {} on {} from {}").format(
                        sql.SQL(", ".join(privileges)), sql.Identifier(table), role
                    )
                )
            plans = self._plan(cursor, name)
        self.stdout.write(f"Role {name} may use the tables of schema {schema_name}; events it can only append.")
        if plans:
            self.stderr.write(f"Statements of {name} may be planned badly. As a superuser: {'; '.join(plans)}")

    def _plan(self, cursor: Any, name: str) -> list[str]:
        """Say for this database how statements of the role are planned; return what the owner is not allowed to say."""
        from psycopg import sql

        cursor.execute(
            "select current_database(), coalesce((select setconfig from pg_db_role_setting, pg_database d, pg_roles r "
            "where d.oid = setdatabase and r.oid = setrole and datname = current_database() and rolname = %s), '{}')",
            [name],
        )
        database, known = cursor.fetchone()
        statements = [
            sql.SQL("alter role {} in database {} set {} to {}")
            .format(*map(sql.Identifier, (name, database, setting)), sql.Literal(value))
            .as_string(cursor.connection)
            for setting, value in PLANNED.items()
            if f"{setting}={value}" not in known
        ]
        try:
            with transaction.atomic():
                for statement in statements:
                    cursor.execute(statement)
        except DatabaseError:
            return statements
        return []
