"""Refuse to empty the database: the record is append-only."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import flush
from django.db import connections

from agentops.audit.guards import lifted


class Command(flush.Command):
    """Django's flush, for test databases only (Django's own test cases call it between tests)."""

    def handle(self, **options: Any) -> None:
        """Empty a test database; say what to do instead for any other."""
        connection = connections[options["database"]]
        settings = connection.settings_dict
        if settings["NAME"] != settings["TEST"]["NAME"]:
            raise CommandError(
                "flush would erase the audit trail, which is append-only. To start over, drop the whole database."
            )
        with lifted(connection):
            super().handle(**options)
