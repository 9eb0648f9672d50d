"""What a worker reads to take a run up does not grow with what its tenant has on record."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from agentops import clock
from agentops.runs.lease import Claimed, claim_due
from agentops.tenancy.models import Tenant
from tests.shop import open_shop, start

pytestmark = pytest.mark.django_db

OTHERS = 3_000


@pytest.fixture
def runtime(scoped: Tenant) -> str:
    """Open the shop among streams of other runs that have ended, and return the role that row-level security binds."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has neither row-level security nor these statements")
    open_shop(scoped)
    role = f"{connection.settings_dict['NAME']}_runtime"
    call_command("dbrole", role, stdout=StringIO())
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into audit_stream (tenant_id, name, seq, head)"
            " select %s, 'run:' || gen_random_uuid(), 0, '' from generate_series(1, %s)",
            [scoped.pk, OTHERS],
        )
        cursor.execute("analyze audit_stream")
    return role


def claimed(role: str) -> tuple[list[Claimed], str]:
    """Take up what is due as that role; return it and how the database went about it."""
    plans: list[str] = []

    def explained(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "skip locked" in sql and not sql.startswith("explain"):
            with connection.cursor() as cursor:
                cursor.execute(f"explain {sql}", params)
                plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.cursor() as cursor:
        cursor.execute(f'set local role "{role}"')
    with connection.execute_wrapper(explained):
        taken = claim_due(owner="w1", now=clock.now(), limit=10)
    with connection.cursor() as cursor:
        cursor.execute("reset role")
    [plan] = plans
    return taken, plan


def test_the_stream_of_a_run_is_looked_up_by_its_name(runtime: str) -> None:
    run = start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 5, "reason": "Late"})
    [one], plan = claimed(runtime)
    assert one.run.pk == run.pk
    assert one.history is not None
    assert [stamped.event.type for stamped in one.history.events] == ["run.submitted"]
    assert "Seq Scan on audit_stream" not in plan
    [found_by] = [line for line in plan.splitlines() if "Index Cond" in line and "name" in line]
    assert "stream" in found_by
