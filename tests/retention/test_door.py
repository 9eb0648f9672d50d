"""The door in the triggers looks at the tables that are meant."""

import pytest
from django.db import connection

from agentops.payloads.models import Payload
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from tests.retention.conftest import old_run
from tests.retention.test_removal import hold, opened, refused, rows_of

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's triggers name tables of their own file"),
    pytest.mark.not_replayed("what its runs did is written by hand"),
]


def test_a_temporary_table_does_not_stand_in_for_the_holds(scoped: Tenant, admin: Actor) -> None:
    run = old_run(300, text="a")
    hold(admin, kind="run", run_id=run.pk)
    opened(run)
    with connection.cursor() as cursor:
        cursor.execute("create temporary table retention_hold (like retention_hold) on commit drop")
    refused(rows_of(run), "a hold covers it")
    refused(Payload.objects.all(), "a hold covers it")
