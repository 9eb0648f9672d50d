"""Sixteen workers whose runs spend from one budget (PostgreSQL): as many effects as it covers, and not one more."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.db import connection

from agentops.audit.services import load as load_stream
from agentops.audit.verify import verify_tenant
from agentops.budgets.measures import Measure
from agentops.budgets.models import Reservation
from agentops.engine.events import CallDenied, CallStarted
from agentops.runs.models import Run
from agentops.runs.recording import load
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from approvals.models import Grant
from tests.approvals.threads import at_once
from tests.budgets.lab import books, budget, contract, tool
from tests.shop import start, task_type
from tools.allowlist import AllowlistState
from tools.contracts import CallContext, Effect

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]

WORKERS = 16
COST = 250
COVERED = 21
"""Payments that the budget covers, of two for every run."""


@pytest.fixture
def paid() -> Iterator[Counter[str]]:
    made: Counter[str] = Counter()

    def pay(context: CallContext, arguments: JSONObject) -> JSONObject:
        made[context.idempotency_key] += 1
        return {"receipt": "ok"}

    with tool(contract("lab.pay", Effect.UNSAFE_WRITE, COST), pay):
        yield made


def test_as_many_payments_as_the_budget_covers(acme: Tenant, paid: Counter[str]) -> None:
    with tenant_scope(acme):
        steps: list[JSONObject] = [{"id": f"s{i}", "tool": "lab.pay", "arguments": {"n": i}} for i in range(2)]
        kind = task_type(steps, {"lab.pay": AllowlistState.AUTO})
        made = budget(Measure.COST, COVERED * COST + COST // 2, task_type=kind)
        runs = [start("job", {}) for _ in range(WORKERS)]

    def work(run: Run, number: int) -> bool:
        return Driver(f"w{number}").drive(acme, run.pk)

    calls: list[Callable[[], bool]] = [partial(work, run, number) for number, run in enumerate(runs)]
    assert all(at_once(calls))

    with tenant_scope(acme):
        assert len(paid) == COVERED
        assert set(paid.values()) == {1}
        assert books(made) == (0, COVERED * COST)
        ends = Counter(Run.objects.values_list("state", "failure_code"))
        assert ends[("succeeded", "")] + ends[("failed", "budget_exceeded")] == WORKERS
        assert ends[("failed", "budget_exceeded")] > 0
        events = [stamped.event for run in runs for stamped in load(run.pk)]
        started = sum(isinstance(event, CallStarted) for event in events)
        denied = [event.code for event in events if isinstance(event, CallDenied)]
        assert started == Grant.objects.filter(consumed_at__isnull=False).count() == COVERED
        assert set(denied) == {"budget_exceeded"}
        assert len(denied) == ends[("failed", "budget_exceeded")]
        assert Reservation.objects.filter(state="settled").count() == COVERED
        assert not Reservation.objects.exclude(state="settled").exists()
        assert len([event for event in load_stream("tenant") if event.type == "budget.exhausted"]) == 1
        assert not verify_tenant().findings
