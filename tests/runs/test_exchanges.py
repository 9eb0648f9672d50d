"""Who may read what was said to a model: people and programs of the run's tenant."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from agentops.audit.services import NewEvent, append
from agentops.payloads.services import keep
from agentops.runs.models import Run
from agentops.tenancy.access import SYSTEM, WORKER
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import issue_token
from tests.payloads.losing import lose_texts
from tests.replaying import by_hand
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
        by_hand(run.id)
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


def test_a_program_reads_the_whole_text_and_is_told_when_it_is_gone(run: Run, acme: Tenant, globex: Tenant) -> None:
    address = f"/api/v1/runs/{run.id}/events/2/exchange"
    answer = asked_by(acme, address)
    assert answer.status_code == 200
    assert answer.json()["exchange"] == {"model": "m", "status": 200, "request": "x" * 9_000}
    assert asked_by(acme, address.replace("/2/", "/1/")).status_code == 404
    assert asked_by(globex, address).status_code == 404
    with tenant_scope(acme):
        lose_texts()
    gone = asked_by(acme, address)
    assert (gone.status_code, gone.json()["code"]) == (410, "payload_damaged")


def asked_by(tenant: Tenant, address: str) -> Any:
    _, plain = issue_token(tenant=tenant, name="ci", scopes=["run.view"], actor=SYSTEM)
    return Client().get(address, headers={"Authorization": f"Bearer {plain}"})
