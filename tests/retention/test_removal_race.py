"""Removal against those who hold, and against those who write (PostgreSQL)."""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from agentops.audit.models import Event
from agentops.audit.verify import verify_tenant
from agentops.payloads.services import read
from agentops.retention import removal
from agentops.retention.models import Hold, Pass
from agentops.retention.services import Wanted, place_hold
from agentops.runs.recording import stream_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tests.retention.conftest import old_run, written
from tests.retention.test_removal import NOTE, shorten

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.not_replayed("what its runs did is written by hand"),
]
ROUNDS = 10


def pieces(acme: Tenant) -> int:
    with tenant_scope(acme):
        return removal.go_on(timezone.now())


def test_a_hold_comes_before_a_removal_or_after_it(acme: Tenant, admin: Actor, second: Actor) -> None:
    with tenant_scope(acme):
        shorten(admin, second)
    for _ in range(ROUNDS):
        with tenant_scope(acme):
            Pass.objects.all().delete()
            run = old_run(300, text="held")

        def hold(run_id: UUID = run.pk) -> object:
            with tenant_scope(acme):
                return place_hold(wanted=Wanted("run", run_id=run_id), matter="M", reason=NOTE, actor=admin)

        work: list[Callable[[], object]] = [lambda: pieces(acme), hold]
        _, held = at_once(work)
        assert isinstance(held, Hold)
        with tenant_scope(acme):
            there = Event.objects.filter(stream__name=stream_of(run.pk)).exists()
            for _ in range(4):
                removal.go_on(timezone.now())
            assert Event.objects.filter(stream__name=stream_of(run.pk)).exists() is there
            assert verify_tenant().findings == ()


def test_a_text_that_is_named_again_while_it_goes_is_there_afterwards(
    acme: Tenant, admin: Actor, second: Actor
) -> None:
    with tenant_scope(acme):
        shorten(admin, second)
        young = old_run(1)
    for number in range(ROUNDS):
        with tenant_scope(acme):
            Pass.objects.all().delete()
            old_run(300, text=f"again {number}")

        def write(text: str = f"again {number}") -> list[str]:
            with tenant_scope(acme):
                return written(young.pk, timezone.now(), text=text)

        _, names = at_once([lambda: [str(pieces(acme))], write])
        with tenant_scope(acme):
            assert f"again {number}" in read(names[0])
    with tenant_scope(acme):
        assert verify_tenant().findings == ()
