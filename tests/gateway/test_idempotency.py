"""One Idempotency-Key, one run: repeated, racing, reused and forgotten."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from agentops.gateway.idempotency import Claimed, claim, read_key
from agentops.gateway.models import IdempotencyKey
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.gateway.conftest import JOB, Program, program
from tests.shop import drive

Problem = Callable[..., dict[str, Any]]


def count(tenant: Tenant) -> tuple[int, int]:
    with tenant_scope(tenant):
        return Run.objects.count(), IdempotencyKey.objects.count()


def test_a_repeated_request_gets_the_first_answer(shop: Tenant, agent: Program) -> None:
    first = agent.submit(JOB, idempotency_key="order-1")
    again = agent.post("/api/v1/agent/run", raw=b'{"input":{},  "task_type":"job"}', idempotency_key='"order-1"')
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first["Location"] == again["Location"]
    assert ("Idempotent-Replayed" in first.headers, again["Idempotent-Replayed"]) == (False, "true")
    assert count(shop) == (1, 1)


def test_a_repeated_request_is_told_what_has_become_of_its_run_since(shop: Tenant, agent: Program) -> None:
    first = agent.submit(idempotency_key="order-1").json()
    assert first["status"] == "queued"
    with tenant_scope(shop):
        drive(UUID(first["run_id"]))
    again = agent.submit(idempotency_key="order-1")
    assert again.json() == first | {"status": "awaiting_approval"}
    assert (again.status_code, again["Idempotent-Replayed"]) == (202, "true")
    agent.post(first["links"]["cancel"])
    assert agent.submit(idempotency_key="order-1").json() == first | {"status": "cancelled"}
    assert count(shop) == (1, 1)


def test_without_a_key_every_request_is_new(shop: Tenant, agent: Program) -> None:
    assert agent.submit(JOB).json()["run_id"] != agent.submit(JOB).json()["run_id"]
    assert count(shop) == (2, 0)


def test_a_key_cannot_carry_another_request(shop: Tenant, agent: Program, problem: Problem) -> None:
    agent.submit(JOB, idempotency_key="k")
    problem(agent.submit({**JOB, "title": "x"}, idempotency_key="k"), 422, "idempotency_key_reused")
    assert count(shop) == (1, 1)


def test_a_key_belongs_to_its_token_and_tenant(shop: Tenant, agent: Program) -> None:
    ids = {caller.submit(JOB, idempotency_key="k").json()["run_id"] for caller in (agent, program(shop))}
    assert len(ids) == 2


def test_a_refused_request_leaves_its_key_free(shop: Tenant, agent: Program, problem: Problem) -> None:
    problem(agent.submit({**JOB, "input": {"x": 1}}, idempotency_key="k"), 422, "invalid_task")
    assert count(shop) == (0, 0)
    assert agent.submit(JOB, idempotency_key="k").status_code == 202


def test_a_key_is_forgotten_after_a_day(shop: Tenant, agent: Program) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        first = agent.submit(JOB, idempotency_key="k").json()["run_id"]
        clock.shift(timedelta(hours=23, minutes=59))
        assert agent.submit(JOB, idempotency_key="k").json()["run_id"] == first
        clock.shift(timedelta(minutes=1))
        assert agent.submit(JOB, idempotency_key="k").json()["run_id"] != first
        clock.shift(timedelta(days=2))
        agent.submit(JOB, idempotency_key="another")
    assert count(shop) == (3, 1)


@pytest.mark.parametrize("key", ["", " ", '""', "a b", "ä", "x" * 256, '"a\\x"', "tab\there"])
def test_a_bad_key_is_refused(shop: Tenant, agent: Program, problem: Problem, key: str) -> None:
    problem(agent.submit(JOB, idempotency_key=key), 400, "idempotency_key_invalid")
    assert count(shop) == (0, 0)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"a"', "a"),
        ('"a\\"\\\\b"', 'a"\\b'),
        ("x" * 255, "x" * 255),
        ('"open', None),
        ('"a b"', None),
    ],
)
def test_a_key_is_read_bare_or_quoted(header: str, key: str | None) -> None:
    assert read_key(header) == key


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(3))
def test_eight_racing_requests_make_one_run(shop: Tenant, agent: Program, settings: Any, attempt: int) -> None:
    settings.API_IDEMPOTENCY_WAIT_MS = 60_000  # seven of them wait for the first, however busy the machine is
    start, answers = threading.Barrier(8), []

    def send() -> None:
        try:
            start.wait(20)
            answers.append(agent.submit(JOB, idempotency_key="race"))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert count(shop) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_request_whose_twin_is_not_done_is_told_so(
    shop: Tenant, agent: Program, problem: Problem, settings: Any
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time; there is no second one to tell")
    settings.API_IDEMPOTENCY_WAIT_MS = 50
    answers = []
    me = Actor.token(agent.row.pk, "ci", ())

    def send() -> None:
        try:
            answers.append(agent.submit(JOB, idempotency_key="slow"))
        finally:
            connection.close()

    with tenant_scope(shop), transaction.atomic():
        taken = claim(key="slow", actor=me, fingerprint="0" * 64, now=timezone.now())
        assert isinstance(taken, Claimed)
        twin = threading.Thread(target=send)
        twin.start()
        twin.join(30)
        transaction.set_rollback(True)
    document = problem(answers[0], 409, "idempotency_in_progress")
    assert answers[0]["Retry-After"] == "1"
    assert document["errors"] == []
    assert agent.submit(JOB, idempotency_key="slow").status_code == 202
