"""Who may read what was said to a model: people of the run's tenant."""

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from agentops.audit.services import NewEvent, append
from agentops.payloads.services import keep
from agentops.runs.models import Run
from agentops.tenancy.access import WORKER
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.shop import start, task_type


@pytest.fixture
def run(acme: Tenant) -> Run:
    """Return a run of acme whose second event has an exchange."""
    with tenant_scope(acme):
        task_type([], {})
        run = start("job", {})
        [data] = keep([{"planner": "model:m", "exchange": {"model": "m", "status": 200, "request": "x" * 9_000}}])
        with transaction.atomic():
            append(f"run:{run.id}", [NewEvent("plan.failed", data)], actor=WORKER, run_id=run.id)
        return run


def status(person: User, path: str) -> int:
    client = Client()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client.get(path).status_code


def test_an_operator_of_the_tenant_reads_it_and_nobody_else(run: Run, bob: User, charlie: User) -> None:
    assert status(bob, f"/t/acme/runs/{run.id}/exchanges/2") == 200
    assert status(bob, f"/t/acme/runs/{run.id}/exchanges/1") == 404
    assert status(bob, f"/t/acme/runs/{run.id}/exchanges/3") == 404
    assert status(charlie, f"/t/globex/runs/{run.id}/exchanges/2") == 404
    assert status(charlie, f"/t/acme/runs/{run.id}/exchanges/2") == 404
