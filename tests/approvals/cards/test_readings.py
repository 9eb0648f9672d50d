"""Who looked at which version of a proposal, and when: once for each, told to the audit trail by the sweeper."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client

from agentops.audit.services import TENANT_STREAM, Recorded, load
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.cards.readings import VIEWED, note_reading, record_due
from approvals.models import Proposal, Reading
from tests.approvals.conftest import NOW, Desk
from tests.approvals.threads import at_once

LATER = NOW + timedelta(minutes=3)


@pytest.fixture
def proposal(desk: Desk) -> Proposal:
    return desk.propose()


@pytest.fixture
def operator(bob: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(bob)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what is sent to the database, prepared statements as well."""
    seen: list[str] = []

    def collect(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(collect):
        yield seen


def viewed() -> list[Recorded]:
    return [one for one in load(TENANT_STREAM) if one.type == VIEWED]


def test_a_look_is_noted_once_for_each_person_and_version(
    proposal: Proposal,
    operator: Actor,
    sam: User,
    actors: Callable[[User], Actor],
) -> None:
    with statements() as seen:
        note_reading(proposal, operator, NOW)
    assert len(seen) == 1
    note_reading(proposal, operator, LATER)
    note_reading(proposal, actors(sam), LATER)
    proposal.version = 2
    note_reading(proposal, operator, LATER)
    note_reading(proposal, WORKER, LATER)
    assert record_due(LATER, 2) == 2
    assert record_due(LATER, 10) == 1
    assert record_due(LATER, 10) == 0
    told = [(one.actor["name"], one.data["version"], one.data["at"]) for one in viewed()]
    assert told == [
        ("bob", 1, NOW.isoformat()),
        ("sam", 1, LATER.isoformat()),
        ("bob", 2, LATER.isoformat()),
    ]
    assert {one.subject for one in viewed()} == {("proposal", str(proposal.pk))}
    assert {one.data["run"] for one in viewed()} == {str(proposal.run_id)}


def test_pages_that_show_a_proposal_note_it_and_those_that_show_none_do_not(
    desk: Desk, proposal: Proposal, bob: User
) -> None:
    client = Client()
    client.force_login(bob)
    client.get("/t/acme/queue")
    assert not Reading.objects.exists()
    assert client.get(f"/t/acme/proposals/{desk.tenant.pk}").status_code == 404
    for page in (
        f"proposals/{proposal.pk}",
        f"proposals/{proposal.pk}/values",
        f"runs/{proposal.run_id}/calls",
        f"queue?open={proposal.pk}",
    ):
        Reading.objects.all().delete()
        with statements() as seen:
            assert client.get(f"/t/acme/{page}").status_code in (200, 302)
        row = Reading.objects.get()
        assert (row.proposal_id, row.version, row.user_id) == (proposal.pk, 1, bob.pk)
        assert sum("approvals_reading" in one for one in seen) == 1


def test_who_has_looked_is_not_told_to_others_on_the_card(proposal: Proposal, operator: Actor, sam: User) -> None:
    note_reading(proposal, operator, NOW)
    record_due(LATER, 10)
    client = Client()
    client.force_login(sam)
    page = client.get(f"/t/acme/proposals/{proposal.pk}").content.decode()
    assert "viewed" not in page


def test_a_reading_is_one_of_its_tenant_and_one_row(proposal: Proposal, operator: Actor) -> None:
    note_reading(proposal, operator, NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Reading.objects.create(proposal=proposal, version=1, user_id=operator.user_id or 0, at=LATER)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_sweepers_tell_the_trail_once(desk: Desk, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> None:
    reader = actor_of(bob, desk.tenant)

    def sweep() -> int:
        with tenant_scope(desk.tenant):
            return record_due(LATER, 10)

    for number in range(1, 11):
        note_reading(desk.propose(), reader, NOW)
        assert sum(at_once([sweep, sweep])) == 1
        assert len(viewed()) == number
