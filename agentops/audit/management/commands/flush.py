"""Refuse to empty the database: the record is append-only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import flush
from django.core.management.sql import emit_post_migrate_signal
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from agentops.audit.guards import lifted


class Command(flush.Command):
    """What Django's flush is to its own test cases, which call it between tests; sequences go on."""

    def handle(self, **options: Any) -> None:
        """Empty a test database; say what to do instead for any other."""
        connection = connections[options["database"]]
        settings = connection.settings_dict
        if settings["NAME"] != settings["TEST"]["NAME"]:
            raise CommandError(
                "flush would erase the audit trail, which is append-only. To start over, drop the whole database."
            )
        with transaction.atomic(using=connection.alias):
            with unguarded(connection):
                empty(connection)
            if not options.get("inhibit_post_migrate", False):
                emit_post_migrate_signal(options["verbosity"], options["interactive"], connection.alias)


@contextmanager
def unguarded(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Silence every trigger in a transaction. PostgreSQL lets superusers do that, whom no policy hides rows from."""
    if connection.vendor != "postgresql":
        with lifted(connection):
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("set local session_replication_role = replica")
        yield
        cursor.execute("set local session_replication_role = origin")


def empty(connection: BaseDatabaseWrapper) -> None:
    """Delete every row; tables that have none are left alone.

    TRUNCATE would give each of a hundred tables and all their indexes new files. Like it, this waits for whoever is
    still writing.
    """
    tables = [connection.ops.quote_name(name) for name in connection.introspection.django_table_names(True)]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"lock table {', '.join(tables)} in exclusive mode")
        cursor.execute(
            " union all ".join(f"select '{name}' where exists (select 1 from {name})" for name in tables)  # noqa: S608
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"delete from {name}")  # noqa: S608
